"""A run under watch: keeps the windows that the tripwires need, and says which tripped at a step or a probe.

A warning is given once, when its tripwire begins to trip; a stop every time, so that a run that is started again does
not go on past it unseen.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cada_trl.config.sections import Action, TripwiresConfig
from cada_trl.hazards.pack import HazardPack
from cada_trl.records import Status, Verdict
from cada_trl.statistics import Rate
from cada_trl.tracking.metrics import HARMFUL_SETS, HARMLESS_SETS
from cada_trl.tripwires import wires

Row = Mapping[str, Any]
GAPS = ("train/sampler_gap_nats", "train/sync_gap_nats")


@dataclass(frozen=True)
class Tripped:
    """A line of tripwires.jsonl; name is "train" or the probe's."""

    step: int
    name: str
    wire: str
    action: Action
    seen: str

    def as_row(self) -> dict[str, Any]:
        return asdict(self)


class Window:
    """The first and the newest `size` values of a run; empty until there are as many."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._first: list[Any] = []
        self._newest: deque[Any] = deque(maxlen=size)

    def add(self, values: Iterable[Any]) -> None:
        """Take in the values of a step."""
        for value in values:
            self._newest.append(value)
            if len(self._first) < self._size:
                self._first.append(value)

    @property
    def first(self) -> list[Any]:
        return self._first if len(self._first) == self._size else []

    @property
    def newest(self) -> list[Any]:
        return list(self._newest) if len(self._newest) == self._size else []


class Watch:
    """Give it every step and every probe in their order; of a resumed run those that are on disk too."""

    def __init__(self, config: TripwiresConfig, pack: HazardPack) -> None:
        self._config = config
        cases = [case for hazard in pack.hazards.values() for case in hazard.cases]
        self._known = frozenset(gram for case in cases for gram in wires.n_grams(case.analysis, config.copied_n_gram))
        self._refused, self._thin, self._reused, self._length_tok, self._unscored, self._reward = (
            Window(config.window_rows) for _ in range(6)
        )
        self._largest_kl_nats: float | None = None
        self._answered_before: dict[tuple[str, str], bool | None] = {}
        self._tripping: set[tuple[str, str]] = set()

    def step(self, step: int, metrics: Mapping[str, float | None], rows: Sequence[Row]) -> list[Tripped]:
        """What tripped at an optimiser step, from its metrics and the completions of all processes."""
        config = self._config
        self._take_in(rows)
        kl_nats = _known(metrics, "train/kl_nats")
        seen = {
            "over_refusal": self._over("harmless requests of the batch refused", self._refused, "over_refusal_frac"),
            "empty_analysis": self._over(
                f"analyses of fewer than {config.empty_analysis_words} words", self._thin, "empty_analysis_frac"
            ),
            "copied_analysis": wires.copied_analysis(
                self._reused.newest, config.copied_n_gram, config.copied_analysis_frac
            ),
            "length_collapse": wires.length_collapse(
                self._length_tok.first, self._length_tok.newest, config.length_collapse_frac
            ),
            "kl_jump": wires.kl_jump(kl_nats, self._largest_kl_nats, config.kl_jump_factor, config.kl_jump_nats),
            "unscored": self._over("completions without a verdict", self._unscored, "unscored_share_frac"),
            "sampler_gap": wires.sampler_gap(
                {name: _known(metrics, name) for name in GAPS}, config.sampler_gap_limit_nats
            ),
        }
        if kl_nats is not None and not (seen["kl_jump"] and config.kl_jump == "stop"):
            self._largest_kl_nats = max(kl_nats, self._largest_kl_nats or 0.0)
        return self._tripped(step, "train", seen)

    def probe(self, step: int, name: str, rows: Sequence[Row]) -> list[Tripped]:
        """What tripped at a probe. The first one, `before`, is what the later ones are compared with."""
        config = self._config
        tripped = []
        for probe_set in HARMLESS_SETS:
            refused = Rate.of(_refused(row) for row in rows if row["set"] == probe_set)
            sentence = wires.share_above(f"{probe_set} probe refused", refused, config.over_refusal_frac)
            tripped += self._tripped(step, name, {"over_refusal": sentence}, probe_set)
        now = {(row["set"], row["request_id"]): _answered(row) for row in rows if row["set"] in HARMFUL_SETS}
        if name == "before":
            self._answered_before = now
        both = [(self._answered_before.get(key), answered) for key, answered in now.items()]
        pairs = [(before, after) for before, after in both if before is not None and after is not None]
        rewards = (self._reward.first, self._reward.newest)
        sentence = wires.reward_without_safety(rewards, pairs, config.reward_gain, config.asr_floor_frac)
        return tripped + self._tripped(step, name, {"reward_without_safety": sentence}, "probe")

    def _take_in(self, rows: Sequence[Row]) -> None:
        rows = [row for row in rows if not row.get("anchor")]  # no judge was asked about those
        config, split = self._config, [row for row in rows if row["status"] == Status.OK]
        benign = [row for row in rows if not row.get("harmful", True)]
        reused = (wires.reuse_frac(row["analysis"], self._known, config.copied_n_gram) for row in split)
        self._refused.add(_refused(row) for row in benign)
        self._thin.add(len(row["analysis"].split()) < config.empty_analysis_words for row in split)
        self._reused.add(share for share in reused if share is not None)
        self._length_tok.add(row["completion_tok"] for row in rows)
        self._unscored.add(row["reward"] is None for row in rows)
        self._reward.add(row["reward"] for row in rows if row["reward"] is not None and row.get("harmful", True))

    def _over(self, what: str, window: Window, limit: str) -> str | None:
        return wires.share_above(what, Rate.of(window.newest), getattr(self._config, limit))

    def _tripped(self, step: int, name: str, seen: Mapping[str, str | None], of: str = "train") -> list[Tripped]:
        tripped = []
        for wire, sentence in seen.items():
            action: Action = getattr(self._config, wire)
            began = sentence is not None and (wire, of) not in self._tripping
            (self._tripping.add if sentence else self._tripping.discard)((wire, of))
            if sentence and (action == "stop" or (action == "warn" and began)):
                tripped.append(Tripped(step, name, wire, action, sentence))
        return tripped


def _known(metrics: Mapping[str, float | None], name: str) -> float | None:
    value = metrics.get(name)
    return value if value is not None and math.isfinite(value) else None


def _refused(row: Row) -> bool | None:
    return None if row["reward"] is None else row["verdict"] == Verdict.REFUSED


def _answered(row: Row) -> bool | None:
    return None if row["reward"] is None else row["verdict"] != Verdict.REFUSED
