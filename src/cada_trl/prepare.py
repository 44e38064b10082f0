"""prepare: a source of requests -> a request set, deduplicated, classified, decontaminated and split.

    python -m cada_trl.prepare                                      (the embedded twins: no hub, no file)
    python -m cada_trl.prepare data=paper file=BeaverTails.jsonl    (the paper's source, from your copy)

Written to <data_dir>/<dataset>-<hash8>/ as JSONL with a manifest of every count; the same inputs are prepared once.
"""

from __future__ import annotations

from typing import Any

from rich.table import Table

from cada_trl.config import load_config
from cada_trl.console import table_console
from cada_trl.data.prepared import PARTS, folder_of, prepare
from cada_trl.errors import run_verb
from cada_trl.statistics.paired import agreement_line


def funnel_tables(manifest: dict[str, Any]) -> list[Table]:
    """What was read, dropped and kept; and how many requests of each hazard are in each part."""
    funnel = Table("funnel", *manifest["funnel"], title=f"{manifest['name']}: rows")
    counts = manifest["funnel"].values()
    reasons = dict.fromkeys(reason for count in counts for reason in count["dropped"])
    funnel.add_row("read", *(str(count["read"]) for count in counts))
    for reason in reasons:
        funnel.add_row(f"- {reason}", *(str(count["dropped"].get(reason, 0)) for count in counts))
    funnel.add_row("kept", *(str(count["kept"]) for count in counts))
    parts = [name for name in PARTS if name != "xstest_safe_probe"]
    split = Table("hazard", *parts, title="requests")
    for hazard in manifest["inputs"]["hazards"]:
        split.add_row(hazard, *(str(manifest["split"][name]["hazards"].get(hazard, 0)) for name in parts))
    split.add_row("all", *(str(manifest["split"][name]["n"]) for name in parts))
    return [funnel, split]


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
    for table in funnel_tables(prepared.manifest):
        console.print(table)
    for line in [decontamination_line(prepared.manifest), *label_lines(prepared.manifest)]:
        console.print(line)
    print(f"{'prepared already' if known else 'prepared'}: {prepared.folder}")
    return 0


if __name__ == "__main__":
    run_verb(main)
