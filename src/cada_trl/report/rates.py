"""Evaluations' numbers as cells: the headline table and the rates by hazard, evaluations beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from cada_trl.evaluation.compare import Change
from cada_trl.evaluation.scores import Measure
from cada_trl.evaluation.scores import ScoredCell as Scored
from cada_trl.numbers import ABSENT, POINTS, RATE, SCORE, WITHHELD, Cell
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.names import METRICS, attack_name, benchmark_name, hazard_name, in_order, labels

# Columns that stand only where some evaluation has a number: a judge of refusals labels no harm
OPTIONAL = {"harmful": "judged harmful", "harmful_score": "harmful score"}
LEAST_N = 10  # ours: below it every Wilson interval is 30 points wide or more (0 of 9: 0 to 30 %)
Row = TypeVar("Row")


def measure_cell(measure: Measure | None) -> Cell:
    """`42.0 % (29.4 to 55.8; 21/50)`; a mean score, which has no successes, `0.42 (0.31 to 0.53; n 50)`."""
    if measure is None or measure.value is None:
        return WITHHELD if measure is not None and measure.n else ABSENT
    scale, counts = (
        (SCORE, f"n {measure.n}") if measure.successes is None else (RATE, f"{measure.successes}/{measure.n}")
    )
    return scale.cell(measure.value, measure.low, measure.high, counts)


def share_cell(value: float | None, sd: float | None = None) -> Cell:
    """`42.0 % (sd 1.5)`: sd over seeds, where there are several."""
    return RATE.cell(value, None, None, "" if sd is None else f"sd {RATE.text(sd)}")


def change_cell(change: Change, *notes: str) -> Cell:
    """`-12.0 points (-20.9 to -3.1; 50 pairs)`."""
    if change.difference is None:
        return WITHHELD if change.n_pairs else ABSENT
    unsure = "no interval: few seeds" if change.low is None else ""
    return POINTS.cell(change.difference, change.low, change.high, unsure, f"{change.n_pairs} pairs", *notes)


@dataclass(frozen=True)
class HeadlineRow:
    """One benchmark under one attack in one evaluation. optional: the OPTIONAL columns that the table has."""

    benchmark: str
    metric: str
    attack: str
    transfer: bool
    evaluation: str
    rate: Cell
    coverage: str
    missing: str
    reasoning: str
    truncated: str
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
    return HeadlineRow(
        benchmark=benchmark_name(cell.benchmark),
        metric=METRICS[cell.metric],
        attack=attack_name(cell.attack),
        transfer=transfer,
        evaluation=label,
        rate=measure_cell(headline),
        coverage=f"{headline.n}/{headline.asked}" if headline.asked else ABSENT.value,
        missing=str(cell.missing),
        reasoning=measure_cell(total.reasoning).value,
        truncated=measure_cell(total.truncated).value,
        optional={OPTIONAL[name]: measure_cell(getattr(total, name)) for name in optional},
    )


def _has(record: EvalRecord, measure: str) -> bool:
    return any(getattr(cell.total, measure).n for cell in record.scores.cells)


@dataclass(frozen=True)
class HazardTable:
    """rows: hazard -> a cell for each evaluation; folded: those in which every evaluation scored too few items."""

    title: str
    metric: str
    rows: list[tuple[str, list[Cell]]]
    folded: list[tuple[str, list[Cell]]]

    @property
    def brief(self) -> str:
        """One line that names what is folded; nothing where nothing is."""
        names = folded_names([name for name, _ in self.folded])
        return f"{self.title}, by hazard: {names}" if names else ""


def hazard_tables(records: Sequence[EvalRecord]) -> list[HazardTable]:
    """Benchmarks and attacks in the order of the evaluations, hazards by name."""
    every = in_order((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells)
    return [_hazard_table(records, benchmark, attack) for benchmark, attack in every]


def _hazard_table(records: Sequence[EvalRecord], benchmark: str, attack: str) -> HazardTable:
    cells = [record.cell(benchmark, attack) for record in records]
    present = [cell for cell in cells if cell is not None]
    hazards = sorted({hazard for cell in present for hazard in cell.by_hazard})
    shown, folded = (
        [(hazard_name(hazard), [measure_cell(_of_hazard(cell, hazard)) for cell in cells]) for hazard in some]
        for some in split_small(hazards, lambda hazard: max(_n(cell, hazard) for cell in present))
    )
    return HazardTable(f"{benchmark_name(benchmark)}, {attack_name(attack)}", present[0].metric.upper(), shown, folded)


def _of_hazard(cell: Scored | None, hazard: str) -> Measure | None:
    return cell.by_hazard[hazard].complied if cell and hazard in cell.by_hazard else None


def _n(cell: Scored, hazard: str) -> int:
    measure = _of_hazard(cell, hazard)
    return measure.n if measure else 0


def split_small(rows: Iterable[Row], n_of: Callable[[Row], int]) -> tuple[list[Row], list[Row]]:
    """(shown, folded), each in the order given. n_of: items scored; of several evaluations side by side the most."""
    listed = list(rows)
    return [row for row in listed if n_of(row) >= LEAST_N], [row for row in listed if n_of(row) < LEAST_N]


def folded_words(n_slices: int) -> str:
    """The title of the fold; nothing where there are none."""
    return f"{n_slices} slice{'' if n_slices == 1 else 's'} with n < {LEAST_N}: folded" if n_slices else ""


def folded_names(names: Sequence[str]) -> str:
    """The line of Markdown: `3 slices with n < 10: folded (hate, privacy, weapons)`."""
    return f"{folded_words(len(names))} ({', '.join(names)})" if names else ""
