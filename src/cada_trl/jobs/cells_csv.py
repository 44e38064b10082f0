"""cells.csv of a sweep: a row for each metric of each cell, for pandas, R or a spreadsheet."""

from __future__ import annotations

import csv
import io
from typing import Any

_OF_A_METRIC = ("metric", "n", "asked", "value", "low", "high")


def cells_csv(record: dict[str, Any]) -> str:
    """The record of sweep.json as a tidy table; a cell without numbers has one row, whose metric is empty."""
    axes = [axis for axis in record["axes"] if axis != "seed"]
    columns = dict.fromkeys(("id", "model", *axes, "seed", "state", "wall_s", *_OF_A_METRIC))
    text = io.StringIO()
    table = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    for row in [*record["initial"], *record["cells"]]:
        for name, measure in (row["metrics"] or {"": {}}).items():
            table.writerow({**row, **row.get("axes", {}), "metric": name, **measure})
    return text.getvalue()
