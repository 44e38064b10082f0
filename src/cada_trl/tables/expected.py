"""What the paper reports for a trained model, as the comment lines at the head of its recipe. No torch."""

from __future__ import annotations

from cada_trl.report.names import benchmark_name
from cada_trl.report.paper import PaperRow, paper_tables
from cada_trl.tables.layout import load_layout
from cada_trl.tables.show import MEASURES

TABLES = (1, 2, 3, 4)


def expected_lines(model: str, recipe: str) -> list[str]:
    """A line for each of the paper's rows, from its data file; one line where it has none."""
    methods = {row.method for table in TABLES for row in load_layout(table, (), ()).rows if row.recipe == recipe}
    rows = [row for row in paper_tables().rows if row.model == model and row.method in methods]
    if not rows:
        return ["# Expected: the paper reports no such training."]
    return ["# Expected, as the paper reports it:", *map(_line, rows)]


def _line(row: PaperRow) -> str:
    shown = {attack: " ± ".join(f"{number:g}" for number in numbers) for attack, numbers in row.values.items()}
    numbers = ", ".join(f"{attack} {value}" if len(shown) > 1 else value for attack, value in shown.items())
    return f"#   Table {row.table}, {benchmark_name(row.benchmark)}, {MEASURES[row.measure]}: {numbers}"
