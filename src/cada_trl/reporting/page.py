"""One static page: HTML that loads nothing from anywhere, with a Markdown and a JSON twin beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from cada_trl.reporting.part import Part
from cada_trl.reporting.run.run_part import run_part
from cada_trl.reporting.run.run_record import RunRecord
from cada_trl.reporting.template import render
from cada_trl.tracking.run_folder import writing

Record = RunRecord


def write_report(records: Sequence[Record], out: Path) -> Path:
    """Write report.html, report.md, report.json and the pictures into `out`; returns the page's path.

    Errors: UserError when `out` cannot be written.
    """
    parts = _parts(records)
    title = "Report: " + ", ".join(name for part in parts for name in part.names)
    twin = {key: value for part in parts for key, value in part.twin.items()}
    files = {name: image for part in parts for name, image in part.images.items()} | {
        "report.json": (json.dumps(twin, indent=2, ensure_ascii=False) + "\n").encode(errors="backslashreplace"),
        "report.md": "\n\n".join([f"# {title}", *(part.markdown for part in parts)]).encode(errors="backslashreplace")
        + b"\n",
        "report.html": render("page.html", title=title, parts=parts).encode(errors="backslashreplace"),
    }
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = out / f"{name}.tmp"
            temporary.write_bytes(content)
            temporary.replace(out / name)
    return out / "report.html"


def _parts(records: Sequence[Record]) -> list[Part]:
    runs = [record for record in records if isinstance(record, RunRecord)]
    return [run_part(runs)] if runs else []
