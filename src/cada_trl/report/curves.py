"""The training curves and the probes before and after, drawn for 900 px width and for colour-blind readers.

Colour and marker say the series, the line's dashes say the run, so that the legend needs each only once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cada_trl.report.drawing import (
    BLUE,
    DASHES,
    GREY,
    ORANGE,
    PANEL_SIZE,
    VERMILION,
    bars,
    drawn,
    key,
    legend_below,
    saved,
    shares,
    turn,
)
from cada_trl.report.names import SETS, measure_label
from cada_trl.report.run_record import RunRecord
from cada_trl.report.summary import rate_of

_SERIES = {  # metric -> label, colour, marker
    "train/reward_mean": ("mean reward", BLUE, "o"),
    "train/baseline": ("baseline", GREY, "s"),
    "train/reasoned_refusal_frac": ("reasoned refusal", BLUE, "o"),
    "train/direct_refusal_frac": ("direct refusal", ORANGE, "s"),
    "train/comply_frac": ("complied", VERMILION, "^"),
    "train/unscored_frac": ("unscored", GREY, "x"),
    "train/kl_nats": ("in the objective", BLUE, "o"),
    "train/completion_tok": ("length", BLUE, "o"),
    "train/truncated_frac": ("truncated", VERMILION, "^"),
}
METRICS = frozenset(_SERIES)  # what stands here stands on a page once
_HEADLINE = {
    "harmful": ("reasoned_refusal_frac", "answered_frac"),
    "held_out": ("reasoned_refusal_frac", "answered_frac"),
    "harmless": ("answered_frac", "reasoning_frac"),
    "xstest_safe": ("answered_frac", "reasoning_frac"),
}
_SHORT = {"held_out": "held-out hazards", "xstest_safe": "XSTest safe"}


class Curves(NamedTuple):
    """Metrics by step on one axis; `right`: a share on the axis at the right."""

    title: str
    unit: str
    metrics: tuple[str, ...]
    right: str = ""


REWARD = Curves("Reward of the rollouts", "reward", ("train/reward_mean", "train/baseline"))
VERDICTS = Curves(
    "Verdicts on rollouts",
    "share of completions",
    tuple(f"train/{name}_frac" for name in ("reasoned_refusal", "direct_refusal", "comply", "unscored")),
)
KL = Curves("KL to the initial model", "nats per completion, as in the objective", ("train/kl_nats",))
LENGTH = Curves("Completion length", "tokens", ("train/completion_tok",), "train/truncated_frac")
_CAPTIONS = {
    "Reward and baseline by step": REWARD,
    "Shares of verdicts on rollouts by step": VERDICTS,
    "KL to the initial model by step, in nats per completion": KL,
    "Completion length in tokens and share truncated by step": LENGTH,
}


def curves_png(runs: Sequence[RunRecord]) -> bytes:
    """All panels as one PNG, 1800 px wide (900 px at twice the density)."""
    with drawn((9, 11), dpi=200) as figure:
        grid = figure.add_gridspec(3, 2, height_ratios=[1, 1, 1.3])
        for place, curves in enumerate(_CAPTIONS.values()):
            draw_curves(figure.add_subplot(grid[place // 2, place % 2]), runs, curves)
        draw_probes(figure.add_subplot(grid[2, :]), runs)
        return saved(figure, "png")


def curves_svg(runs: Sequence[RunRecord]) -> list[tuple[str, bytes]]:
    """Caption and picture of each panel, for a page that lays them out itself."""
    pictures = []
    for caption, curves in [*_CAPTIONS.items(), ("Probe shares before and after training with 95 % intervals", None)]:
        with drawn(PANEL_SIZE) as figure:
            axes = figure.add_subplot()
            draw_curves(axes, runs, curves) if curves else draw_probes(axes, runs)
            pictures.append((caption, saved(figure, "svg")))
    return pictures


def draw_curves(axes: Axes, runs: Sequence[RunRecord], curves: Curves) -> None:
    """Every run's own line for each metric; a step without a value is a gap."""
    for name in curves.metrics:
        _line(axes, runs, name)
    if curves is REWARD:
        axes.axhline(0, color="black", linewidth=0.6)
    if curves is VERDICTS:
        shares(axes, "y")
    handles = axes.get_legend_handles_labels()[0]
    if curves.right:
        right = axes.twinx()
        right.grid(False)
        right.spines["right"].set_visible(True)
        _line(right, runs, curves.right)
        shares(right, "y")
        right.set_ylabel("share truncated")
        handles += right.get_legend_handles_labels()[0]
    axes.set_title(curves.title)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(curves.unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not handles:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
    elif len(runs) > 1:
        handles += [
            key(name, color="black", linestyle=turn(DASHES, index)) for index, name in enumerate(_run_labels(runs))
        ]
    legend_below(axes, handles if len(handles) > 1 else [])


def draw_probes(axes: Axes, runs: Sequence[RunRecord]) -> None:
    """Probe shares before and after training, with Wilson 95 % intervals."""
    present = {row.set for run in runs for row in [*run.before, *run.after]}
    rows = [(probe_set, measure) for probe_set, names in _HEADLINE.items() if probe_set in present for measure in names]
    for position, (probe_set, measure) in enumerate(rows):
        for index, run in enumerate(runs):
            y = position + (index - (len(runs) - 1) / 2) * 0.3 / len(runs)
            before, after = ([row for row in rows if row.set == probe_set] for rows in (run.before, run.after))
            _interval(axes, y - 0.2, rate_of(before, measure), "before")
            _interval(axes, y + 0.2, rate_of(after, measure), "after")
    names = [f"{_SHORT.get(probe_set, SETS[probe_set])}:\n{measure_label(probe_set, one)}" for probe_set, one in rows]
    axes.set_yticks(range(len(rows)), names, fontsize=9)
    axes.invert_yaxis()
    shares(axes, "x")
    axes.set_title("Probes before and after, 95 % intervals")
    axes.set_xlabel("share of requests")
    legend_below(axes, axes.get_legend_handles_labels()[0])


def _line(axes: Axes, runs: Sequence[RunRecord], name: str) -> None:
    label, colour, marker = _SERIES[name]
    for index, run in enumerate(runs):
        points = [(row["step"], row[name]) for row in run.steps if row.get(name) is not None]
        if points:
            few = len(points) <= 60 and len(runs) == 1
            style: dict[str, Any] = {"marker": marker, "markersize": 3.5} if few else {}
            shown = label if index == 0 else None
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=turn(DASHES, index), label=shown, **style)


def _interval(axes: Axes, y: float, rate: dict[str, Any], stage: str) -> None:
    if rate["rate"] is None:
        return
    style: Any = {"color": ORANGE, "fmt": "s"} if stage == "before" else {"color": BLUE, "fmt": "o"}
    style |= {"capsize": 2, "markersize": 5, "elinewidth": 1.2}
    label = stage if stage not in axes.get_legend_handles_labels()[1] else None
    axes.errorbar(rate["rate"], y, xerr=bars(rate["rate"], (rate["low"], rate["high"])), label=label, **style)


def _run_labels(runs: Sequence[RunRecord]) -> list[str]:
    one_configuration = len({run.config_hash for run in runs}) == 1
    return [f"seed {run.seed}" if one_configuration else run.name for run in runs]
