"""Models against the first one, in pairs: the difference on the same prompts, with its interval and its test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cada_trl.errors import UserError
from cada_trl.evals.compare import ComparedCell, Comparison, compare
from cada_trl.evals.scores import Metric
from cada_trl.numbers import ABSENT, Cell
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import METRICS, attack_name, benchmark_name
from cada_trl.reporting.evaluation.numbers import difference_cell, p_cell, reading, share_cell
from cada_trl.reporting.evaluation.sides import Side, sides
from cada_trl.reporting.pooled_words import pooled_words
from cada_trl.statistics import PooledSpread


@dataclass(frozen=True)
class PairedRow:
    """One benchmark under one attack (or all of them), before and after on the shared prompts."""

    benchmark: str
    metric: str
    attack: str
    before: Cell
    after: Cell
    difference: Cell
    changed: str
    p: str
    reading: str
    reasoning: Cell
    withheld: str | None


@dataclass(frozen=True)
class SideBySide:
    """Two sides; comparison is None, and `reason` says why, where their verdicts are of two judges."""

    before: str
    after: str
    comparison: Comparison | None
    reason: str | None
    rows: list[PairedRow]
    pooled: list[PairedRow]

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
        return SideBySide(first.label, other.label, None, reason, [], [])
    before, after = ([record.evaluated for record in side.records] for side in (first, other))
    among = [
        [record.evaluated for record in side.records]
        for side in every
        if side.trained and all(record.scores.judge_id == judges[0] for record in side.records)
    ]
    coverage = max(record.scores.min_coverage for record in records)
    found = compare(before, after, coverage, among, (first.trained, other.trained))
    metrics = {cell.benchmark: cell.metric for record in records for cell in record.scores.cells}
    return SideBySide(
        first.label,
        other.label,
        found,
        None,
        [_row(cell, metrics[cell.benchmark]) for cell in found.cells if cell.shared],
        [_row(cell, metrics[cell.benchmark]) for cell in found.pooled if cell.shared],
    )


def _row(cell: ComparedCell, metric: Metric) -> PairedRow:
    change = cell.complied
    only = f"{change.only_before} / {change.only_after}" if change.only_before is not None else str(ABSENT)
    return PairedRow(
        benchmark=benchmark_name(cell.benchmark),
        metric=METRICS[metric],
        attack=attack_name(cell.attack),
        before=share_cell(change.before, change.sd_before),
        after=share_cell(change.after, change.sd_after),
        difference=difference_cell(change),
        changed=only,
        p=_p(change.p, change.p_holm),
        reading=reading(change, metric),
        reasoning=difference_cell(cell.reasoning),
        withheld=change.withheld,
    )


def _p(p: float | None, p_holm: float | None) -> str:
    return p_cell(p) if p_holm is None else f"{p_cell(p)} ({p_cell(p_holm)})"
