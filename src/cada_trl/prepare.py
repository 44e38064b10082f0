"""prepare: a source of requests -> a request set, deduplicated, classified, decontaminated and split.

    python -m cada_trl.prepare                                      (the embedded twins: no hub, no file)
    python -m cada_trl.prepare data=paper file=BeaverTails.jsonl    (the paper's source, from your copy)

Written to <data_dir>/<dataset>-<hash8>/ as JSONL with a manifest of every count; the same inputs are prepared once.
"""

from __future__ import annotations

from typing import Any

from cada_trl.config import load_config
from cada_trl.console import table_console
from cada_trl.data.prepared import PARTS, folder_of, prepare
from cada_trl.data.rows import funnel_table
from cada_trl.document.blocks import Document, Section, Table
from cada_trl.document.render import show
from cada_trl.errors import run_verb
from cada_trl.statistics.paired import agreement_line


def counts(manifest: dict[str, Any]) -> Document:
    """What was read, dropped and kept; and how many requests of each hazard are in each part."""
    split = {name: manifest["split"][name] for name in PARTS if name != "xstest_safe_probe"}
    rows = [
        [hazard, *(str(part["hazards"].get(hazard, 0)) for part in split.values())]
        for hazard in manifest["inputs"]["hazards"]
    ]
    rows.append(["all", *(str(part["n"]) for part in split.values())])
    blocks = [funnel_table(manifest), Table("Requests of each part", ["hazard", *split], rows)]
    return Document("", [Section(manifest["name"], list(filter(None, blocks)))])


def decontamination_line(manifest: dict[str, Any]) -> str:
    """One sentence: what was compared, what was dropped, what was not there."""
    report = manifest["decontamination"]
    if not report["checked"]:
        return "decontamination: not done, benchmarks_dir is null"
    found = (f"{name} {sum(entry['dropped'].values())}" for name, entry in report["found"].items())
    absent = ", ".join(report["not_found"]) or "none"
    return f"decontamination, dropped by benchmark: {', '.join(found)}; not found: {absent}"


def label_lines(manifest: dict[str, Any]) -> list[str]:
    """How well the two labels of the twins agree, and of the review: and how much of it met the user's copy."""
    lines = []
    for origin in manifest["sources"]:
        if origin.get("agreement"):
            agreed = agreement_line(origin["agreement"])
            lines.append(f"twins: {origin['n_pairs']} pairs; two labels, harmful or not: {agreed}")
    if review := manifest["review"]:
        lines.append(
            f"review: {review['rows_with_a_label']} of {review['rows']} rows to classify have a label; "
            f"{review['labels_without_a_row']} of {review['labels']} labels match no row of this copy; two labels: "
            f"{agreement_line(review['agreement'])}"
        )
    return lines


def main(argv: list[str]) -> int:
    """The verb: overrides -> a prepared folder, with its funnel as tables. Returns 0. Errors: as prepare."""
    config = load_config(argv)
    known = (folder_of(config) / "manifest.json").is_file()
    prepared = prepare(config)
    console = table_console()
    show(counts(prepared.manifest), console)
    for line in [decontamination_line(prepared.manifest), *label_lines(prepared.manifest)]:
        console.print(line)
    print(f"{'prepared already' if known else 'prepared'}: {prepared.folder}")
    return 0


if __name__ == "__main__":
    run_verb(main)
