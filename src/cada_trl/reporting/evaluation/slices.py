"""The headline rate by hazard: a table for each benchmark and attack, evaluations side by side, small ones apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.evals.scores import Cell as Scored
from cada_trl.numbers import Cell
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name, hazard_name, in_order
from cada_trl.reporting.evaluation.numbers import rate_cell
from cada_trl.reporting.small_slices import folded_names, split_small


@dataclass(frozen=True)
class HazardTable:
    """rows: hazard -> a cell for each evaluation; folded: those in which every evaluation scored too few items."""

    title: str
    metric: str
    rows: list[tuple[str, list[Cell]]]
    folded: list[tuple[str, list[Cell]]]


def hazard_tables(records: Sequence[EvalRecord]) -> list[HazardTable]:
    """Benchmarks and attacks in the order of the evaluations, hazards by name."""
    every = in_order((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells)
    return [_table(records, benchmark, attack) for benchmark, attack in every]


def folded_lines(tables: Sequence[HazardTable]) -> list[str]:
    """One line for each table that folds slices away, which names them."""
    return [
        f"{table.title}, by hazard: {folded_names([name for name, _ in table.folded])}"
        for table in tables
        if table.folded
    ]


def _table(records: Sequence[EvalRecord], benchmark: str, attack: str) -> HazardTable:
    cells = [record.cell(benchmark, attack) for record in records]
    present = [cell for cell in cells if cell is not None]
    hazards = sorted({hazard for cell in present for hazard in cell.by_hazard})
    shown, folded = (
        [(hazard_name(hazard), [_shown(cell, hazard) for cell in cells]) for hazard in some]
        for some in split_small(hazards, lambda hazard: max(_n(cell, hazard) for cell in present))
    )
    return HazardTable(f"{benchmark_name(benchmark)}, {attack_name(attack)}", present[0].metric.upper(), shown, folded)


def _n(cell: Scored, hazard: str) -> int:
    found = cell.by_hazard.get(hazard)
    return found.complied.n if found else 0


def _shown(cell: Scored | None, hazard: str) -> Cell:
    found = cell.by_hazard.get(hazard) if cell else None
    return rate_cell(found.complied if found else None)
