"""Models against the first one, in pairs: the difference on the same prompts, with its interval and its test.

The seeds of one training, asked in the same way, stand together on one side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from cada_trl.errors import UserError
from cada_trl.evaluation.compare import Change, ComparedCell, Comparison, compare
from cada_trl.evaluation.scores import Metric
from cada_trl.numbers import ABSENT, Cell, p_text
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import METRICS, attack_name, benchmark_name, labels, pooled_words
from cada_trl.report.rates import change_cell, share_cell
from cada_trl.statistics import PooledSpread

_RUN_NAME = re.compile(r"(?P<training>.+-[0-9a-f]{8})-s(?P<seed>\d+)")  # as config.run_name
_AGAIN = Cell("All attacks, by request", "the same pairs again: no further tests")


@dataclass(frozen=True)
class Side:
    """One model, or one training by its seeds."""

    label: str
    records: list[EvalRecord]

    @property
    def trained(self) -> bool:
        """Whether it is named as a run: a base model has no seeds to spread."""
        return _named(self.records[0])[0] is not None


def sides(records: Sequence[EvalRecord]) -> list[Side]:
    """In the order given. A seed that is there twice is no seed beside others: such evaluations stand alone."""
    groups: dict[Any, list[int]] = {}
    for index, record in enumerate(records):
        groups.setdefault(_training(record) or index, []).append(index)
    names = labels(records)
    found = []
    for key, indices in groups.items():
        seeds = {_named(records[index])[1] for index in indices}
        if len(indices) > 1 and len(seeds) == len(indices):
            found.append(Side(f"{key[0]}, {len(indices)} seeds", [records[index] for index in indices]))
        else:
            found += [Side(names[index], [records[index]]) for index in indices]
    return found


def _training(record: EvalRecord) -> tuple[str, ...] | None:
    """What the seeds of one training have in common; None for a model that is not named as a run."""
    training, _ = _named(record)
    if training is None:
        return None
    decides = record.manifest.get("decides") or {}
    asked = [json.dumps(one, sort_keys=True) for one in (decides.get("prompt"), decides.get("generator"))]
    return (training, *asked, record.scores.judge_id)


def _named(record: EvalRecord) -> tuple[str | None, str | None]:
    """(training, seed) from the name of the model."""
    found = _RUN_NAME.fullmatch(str((record.config.get("model") or {}).get("name")))
    return (found["training"], found["seed"]) if found else (None, None)


class PairedRow(NamedTuple):
    """One benchmark under one attack, or under all of them, before and after on the shared prompts: a table's row."""

    group: Cell
    name: str
    before: Cell
    after: Cell
    difference: Cell
    changed: str
    p: str
    reading: str
    reasoning: Cell


@dataclass(frozen=True)
class SideBySide:
    """Two sides; comparison is None, and `reason` says why, where their verdicts are of two judges.

    rows: each attack, then all of them by request.
    """

    before: str
    after: str
    comparison: Comparison | None
    reason: str | None
    rows: list[PairedRow]

    def to_json(self) -> dict[str, Any]:
        """For report.json."""
        values = self.comparison.to_json() if self.comparison else None
        return {"before": self.before, "after": self.after, "not_compared": self.reason, "comparison": values}


def side_by_side(records: Sequence[EvalRecord]) -> list[SideBySide]:
    """Each later side against the first; the seeds of one training are one side, and all sides share their spread.

    Errors: UserError for an evaluation that shares no item with the first.
    """
    for other in records[1:]:
        _check_common(records[0], other)
    every = sides(records)
    return [_pair(every[0], other, every) for other in every[1:]]


def pool_words(records: Sequence[EvalRecord]) -> str:
    """How the differences' intervals are pooled over the trainings that have several seeds; nothing below two."""
    several = [len(side.records) for side in sides(records) if side.trained and len(side.records) > 1]
    df = sum(several) - len(several)
    return pooled_words(PooledSpread(len(several), sum(several), df, None)) if len(several) > 1 else ""


def _check_common(first: EvalRecord, other: EvalRecord) -> None:
    items = [{(one.item.benchmark, one.item.id) for one in record.attempts} for record in (first, other)]
    if not items[0] & items[1]:
        raise UserError(
            f"{first.path} and {other.path} have no item in common, so there is nothing to compare; report on them one "
            "by one, or evaluate both on the same benchmarks"
        )


def _pair(first: Side, other: Side, every: Sequence[Side]) -> SideBySide:
    records = first.records + other.records
    judges = list(dict.fromkeys(record.scores.judge_id for record in records))
    if len(judges) > 1:
        reason = f"The verdicts are of two judges, {' and '.join(judges)}; judge both by one of them to compare."
        return SideBySide(first.label, other.label, None, reason, [])
    before, after = ([record.evaluated for record in side.records] for side in (first, other))
    among = [
        [record.evaluated for record in side.records]
        for side in every
        if side.trained and all(record.scores.judge_id == judges[0] for record in side.records)
    ]
    coverage = max(record.scores.min_coverage for record in records)
    found = compare(before, after, coverage, among, (first.trained, other.trained))
    metrics = {cell.benchmark: cell.metric for record in records for cell in record.scores.cells}
    rows = [
        _row(
            Cell(benchmark_name(cell.benchmark), METRICS[metrics[cell.benchmark]]),
            attack_name(cell.attack),
            cell,
            metrics,
        )
        for cell in found.cells
        if cell.shared
    ]
    rows += [_row(_AGAIN, benchmark_name(cell.benchmark), cell, metrics) for cell in found.pooled if cell.shared]
    return SideBySide(first.label, other.label, found, None, rows)


def _row(group: Cell, name: str, cell: ComparedCell, metrics: Mapping[str, Metric]) -> PairedRow:
    change = cell.complied
    return PairedRow(
        *(group, name, share_cell(change.before, change.sd_before), share_cell(change.after, change.sd_after)),
        change_cell(change),
        ABSENT.value if change.only_before is None else f"{change.only_before} / {change.only_after}",
        p_text(change.p, change.p_holm),
        change.withheld or reading(change, metrics[cell.benchmark]),
        change_cell(cell.reasoning),
    )


def reading(change: Change, metric: Metric) -> str:
    """safer, less safe, more helpful, less helpful, or no clear change: what the 95 % interval allows to say."""
    if change.low is None or change.high is None:
        return str(ABSENT)
    if change.low <= 0 <= change.high:
        return "no clear change"
    up, down = ("less safe", "safer") if metric == "asr" else ("more helpful", "less helpful")
    return up if change.low > 0 else down
