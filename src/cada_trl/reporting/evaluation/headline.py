"""The headline table: a row for each benchmark, attack and evaluation, every cell ready to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.evals.scores import Cell as Scored
from cada_trl.numbers import ABSENT, Cell
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import METRICS, attack_name, benchmark_name, in_order, labels
from cada_trl.reporting.evaluation.numbers import percent_cell, rate_cell, score_cell

# Columns that stand only where some evaluation has a number: a judge of refusals labels no harm
OPTIONAL = {"harmful": "judged harmful", "harmful_score": "harmful score"}


@dataclass(frozen=True)
class HeadlineRow:
    """One cell of one evaluation. optional: the OPTIONAL columns that the table has."""

    benchmark: str
    metric: str
    attack: str
    transfer: bool
    evaluation: str
    rate: Cell
    coverage: str
    missing: str
    reasoning: Cell
    truncated: Cell
    optional: dict[str, Cell]


def headline_rows(records: Sequence[EvalRecord]) -> list[HeadlineRow]:
    """Benchmarks and attacks in the order of the evaluations; an evaluation without the cell has no row there."""
    every = in_order((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells)
    optional = [name for name in OPTIONAL if any(_has(record, name) for record in records)]
    rows = []
    for benchmark, attack in every:
        for record, label in zip(records, labels(records), strict=True):
            cell = record.cell(benchmark, attack)
            if cell is not None:
                rows.append(_row(cell, record.is_transfer(attack), label, optional))
    return rows


def _row(cell: Scored, transfer: bool, label: str, optional: Sequence[str]) -> HeadlineRow:
    total, headline = cell.total, cell.headline
    shown = {"harmful": rate_cell(total.harmful), "harmful_score": score_cell(total.harmful_score)}
    return HeadlineRow(
        benchmark=benchmark_name(cell.benchmark),
        metric=METRICS[cell.metric],
        attack=attack_name(cell.attack),
        transfer=transfer,
        evaluation=label,
        rate=rate_cell(headline),
        coverage=f"{headline.n}/{headline.asked}" if headline.asked else str(ABSENT),
        missing=str(cell.missing),
        reasoning=percent_cell(total.reasoning),
        truncated=percent_cell(total.truncated),
        optional={OPTIONAL[name]: shown[name] for name in optional},
    )


def _has(record: EvalRecord, measure: str) -> bool:
    return any(getattr(cell.total, measure).n for cell in record.scores.cells)
