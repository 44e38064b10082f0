"""The headline rate by hazard: a table for each benchmark and attack, evaluations side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.reporting.cells import Cell
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name, hazard_name, in_order
from cada_trl.reporting.evaluation.numbers import rate_cell


@dataclass(frozen=True)
class HazardTable:
    """rows: hazard -> a cell for each evaluation."""

    title: str
    metric: str
    rows: list[tuple[str, list[Cell]]]


def hazard_tables(records: Sequence[EvalRecord]) -> list[HazardTable]:
    """Benchmarks and attacks in the order of the evaluations, hazards by name."""
    every = in_order((cell.benchmark, cell.attack) for record in records for cell in record.scores.cells)
    return [_table(records, benchmark, attack) for benchmark, attack in every]


def _table(records: Sequence[EvalRecord], benchmark: str, attack: str) -> HazardTable:
    cells = [record.cell(benchmark, attack) for record in records]
    present = [cell for cell in cells if cell is not None]
    hazards = sorted({hazard for cell in present for hazard in cell.by_hazard})
    return HazardTable(
        f"{benchmark_name(benchmark)}, {attack_name(attack)}",
        present[0].metric.upper(),
        [(hazard_name(hazard), [_shown(cell, hazard) for cell in cells]) for hazard in hazards],
    )


def _shown(cell: object, hazard: str) -> Cell:
    found = getattr(cell, "by_hazard", {}).get(hazard)
    return rate_cell(found.complied if found else None)
