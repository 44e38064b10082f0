"""The training curves and the probes before and after, drawn for 900 px width and for colour-blind readers.

Colour and marker say the series, the line's dashes say the run, so that the legend needs each only once.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from cada_trl.reporting.run.labels import SETS, measure_label
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.run.summary import rate_of

Panel = Callable[[Axes, Sequence[RunRecord]], None]

# Okabe and Ito's palette
BLUE, ORANGE, VERMILION, GREY = "#0072B2", "#E69F00", "#D55E00", "#6B6B6B"
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
_DASHES: tuple[Any, ...] = ("-", "--", ":", "-.")
_STYLE: Any = {
    "font.size": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_LEGEND: Any = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.17), "ncols": 2, "frameon": False, "fontsize": 9}
_HEADLINE = {
    "harmful": ("reasoned_refusal_frac", "answered_frac"),
    "held_out": ("reasoned_refusal_frac", "answered_frac"),
    "harmless": ("answered_frac", "reasoning_frac"),
    "xstest_safe": ("answered_frac", "reasoning_frac"),
}


def curves_png(runs: Sequence[RunRecord]) -> bytes:
    """All panels as one PNG, 1800 px wide (900 px at twice the density)."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(9, 11), dpi=200, layout="constrained")
        grid = figure.add_gridspec(3, 2, height_ratios=[1, 1, 1.3])
        places = [grid[0, 0], grid[0, 1], grid[1, 0], grid[1, 1], grid[2, :]]
        for place, panel in zip(places, PANELS.values(), strict=True):
            panel(figure.add_subplot(place), runs)
        buffer = io.BytesIO()
        figure.savefig(buffer)
        return buffer.getvalue()


def panel_svg(panel: Panel, runs: Sequence[RunRecord]) -> bytes:
    """One panel alone, for a page that lays the panels out itself."""
    with matplotlib.rc_context(_STYLE | {"svg.hashsalt": "cada_trl"}):
        figure = Figure(figsize=(5.2, 4), layout="constrained")
        panel(figure.add_subplot(), runs)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()


def reward_panel(axes: Axes, runs: Sequence[RunRecord]) -> None:
    """Mean reward of each step and the baseline it was centred with."""
    _line(axes, runs, "train/reward_mean")
    _line(axes, runs, "train/baseline")
    axes.axhline(0, color="black", linewidth=0.6)
    _finish(axes, runs, "Reward of the rollouts", "reward")


def verdict_panel(axes: Axes, runs: Sequence[RunRecord]) -> None:
    """What the rollouts on harmful requests were, as shares."""
    _line(axes, runs, "train/reasoned_refusal_frac")
    _line(axes, runs, "train/direct_refusal_frac")
    _line(axes, runs, "train/comply_frac")
    _line(axes, runs, "train/unscored_frac")
    axes.set_ylim(-0.03, 1.03)
    _finish(axes, runs, "Verdicts on rollouts", "share of completions")


def kl_panel(axes: Axes, runs: Sequence[RunRecord]) -> None:
    """How far the policy is from the initial model."""
    _line(axes, runs, "train/kl_nats")
    _finish(axes, runs, "KL to the initial model", "nats a completion, as in the objective")


def length_panel(axes: Axes, runs: Sequence[RunRecord]) -> None:
    """Completion length, and on the right axis how many were cut off."""
    _line(axes, runs, "train/completion_tok")
    right = axes.twinx()
    right.grid(False)
    right.spines["right"].set_visible(True)
    _line(right, runs, "train/truncated_frac")
    right.set_ylim(-0.03, 1.03)
    right.set_ylabel("share truncated")
    _finish(axes, runs, "Completion length", "tokens", also=right)


def probe_panel(axes: Axes, runs: Sequence[RunRecord]) -> None:
    """Probe shares before and after training, with Wilson 95 % intervals."""
    present = {row.set for run in runs for row in [*run.before, *run.after]}
    rows = [(probe_set, measure) for probe_set, names in _HEADLINE.items() if probe_set in present for measure in names]
    for position, (probe_set, measure) in enumerate(rows):
        for index, run in enumerate(runs):
            y = position + (index - (len(runs) - 1) / 2) * 0.3 / len(runs)
            before, after = ([row for row in rows if row.set == probe_set] for rows in (run.before, run.after))
            _interval(axes, y - 0.2, rate_of(before, measure), "before")
            _interval(axes, y + 0.2, rate_of(after, measure), "after")
    axes.set_yticks(
        range(len(rows)), [f"{_SHORT.get(s, SETS[s])}:\n{measure_label(s, m)}" for s, m in rows], fontsize=9
    )
    axes.invert_yaxis()
    axes.set_xlim(-0.03, 1.03)
    axes.set_title("Probes before and after, 95 % intervals")
    axes.set_xlabel("share of requests")
    if rows:
        axes.legend(**_LEGEND)


_SHORT = {"held_out": "held-out hazards", "xstest_safe": "XSTest safe"}

PANELS: dict[str, Panel] = {
    "Reward and baseline by step": reward_panel,
    "Shares of verdicts on rollouts by step": verdict_panel,
    "KL to the initial model by step, in nats a completion": kl_panel,
    "Completion length in tokens and share truncated by step": length_panel,
    "Probe shares before and after training with 95 % intervals": probe_panel,
}


def _line(axes: Axes, runs: Sequence[RunRecord], name: str) -> None:
    label, colour, marker = _SERIES[name]
    for index, run in enumerate(runs):
        points = [(row["step"], row[name]) for row in run.steps if row.get(name) is not None]
        if points:
            few = len(points) <= 60 and len(runs) == 1
            style: dict[str, Any] = {"marker": marker, "markersize": 3.5} if few else {}
            shown = label if index == 0 else None
            axes.plot(*zip(*points, strict=True), color=colour, linestyle=_dashes(index), label=shown, **style)


def _interval(axes: Axes, y: float, rate: dict[str, Any], stage: str) -> None:
    if rate["rate"] is None:
        return
    style: Any = {"capsize": 2, "markersize": 5, "elinewidth": 1.2}
    style |= {"color": ORANGE, "fmt": "s"} if stage == "before" else {"color": BLUE, "fmt": "o"}
    label = stage if stage not in axes.get_legend_handles_labels()[1] else None
    errors = [[rate["rate"] - rate["low"]], [rate["high"] - rate["rate"]]]
    axes.errorbar(rate["rate"], y, xerr=errors, label=label, **style)


def _run_labels(runs: Sequence[RunRecord]) -> list[str]:
    one_configuration = len({run.config_hash for run in runs}) == 1
    return [f"seed {run.seed}" if one_configuration else run.name for run in runs]


def _dashes(index: int) -> Any:
    return _DASHES[index % len(_DASHES)]


def _finish(axes: Axes, runs: Sequence[RunRecord], title: str, unit: str, also: Axes | None = None) -> None:
    axes.set_title(title)
    axes.set_xlabel("optimiser step")
    axes.set_ylabel(unit)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [handle for one in (axes, also) if one for handle in one.get_legend_handles_labels()[0]]
    if not handles:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center")
        return
    if len(runs) > 1:
        handles += [
            Line2D([], [], color="black", linestyle=_dashes(index), label=name)
            for index, name in enumerate(_run_labels(runs))
        ]
    if len(handles) > 1:
        axes.legend(handles=handles, **_LEGEND)
