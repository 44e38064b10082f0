"""prepare: a source of requests -> a request set, deduplicated, classified, decontaminated and split.

    python -m cada_trl.prepare                                      (the embedded twins: no hub, no file)
    python -m cada_trl.prepare data=paper file=BeaverTails.jsonl    (the paper's source, from your copy)

Written to <data_dir>/<dataset>-<hash8>/ as JSONL with a manifest of every count; the same inputs are prepared once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.table import Table

from cada_trl.config import Config, load_config
from cada_trl.console import table_console
from cada_trl.data.benchmarks import benchmarks_digest
from cada_trl.data.held_out import check_no_leak
from cada_trl.data.lexical import LEXICON
from cada_trl.data.llm_classifier import instruction
from cada_trl.data.request_set import RequestSet, build_request_set
from cada_trl.data.reviewed import REVIEWED
from cada_trl.data.twins import TWINS
from cada_trl.errors import UserError, run_verb
from cada_trl.hazards.pack import HazardPack, load_pack
from cada_trl.records import Request, read_requests, write_jsonl, write_requests
from cada_trl.statistics import agreement_line
from cada_trl.storage.digest import file_sha256, json_sha256
from cada_trl.storage.files import held, read_json, replace_json, whole, writing

PARTS = ("train", "probe", "held_out", "benign_train", "harmless_probe", "twins_probe", "xstest_safe_probe")


@dataclass(frozen=True)
class PreparedData:
    """A request set on disk and in memory. No trained text is in a probe; parts beside train and probe may be empty.

    twins_probe: both rows of every pair that is probed, side by side; the other probes hold some of them too.
    """

    folder: Path
    train: list[Request]
    probe: list[Request]
    held_out: list[Request]
    benign_train: list[Request]
    harmless_probe: list[Request]
    twins_probe: list[Request]
    xstest_safe_probe: list[Request]
    manifest: dict[str, Any]


def prepare(config: Config, count_tok: Callable[[str], int] | None = None) -> PreparedData:
    """The request set of a configuration: read back if it was prepared already, else built and written.

    count_tok: text -> tokens; None loads the model's tokenizer (only when there is something to build).
    Errors: UserError for bad rows, an unreachable hub, filters that leave too little, an unwritable folder.
    """
    pack = load_pack(config.hazards)
    inputs = _inputs(config, pack)
    folder = _folder(config, inputs)
    if not (folder / "manifest.json").is_file():
        made = build_request_set(config, pack, count_tok or _model_token_counter(config))
        _write(folder, made, {"name": folder.name, "hash": _digest(inputs), "inputs": inputs, **made.facts})
    return read_prepared(folder)


def read_prepared(folder: Path) -> PreparedData:
    """Read a folder that `prepare` wrote. Errors: UserError for a folder that is not one, or was edited by hand."""
    try:
        manifest = read_json(folder / "manifest.json")
        sizes = {name: int(manifest["split"][name]["n"]) for name in PARTS}
    except (UserError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no readable manifest.json; delete the folder and prepare again") from error
    parts = {name: read_requests(folder / f"{name}.jsonl") if sizes[name] else [] for name in PARTS}
    for name, part in parts.items():
        if len(part) != sizes[name]:
            raise UserError(
                f"{folder / name}.jsonl holds {len(part)} rows, its manifest says {sizes[name]}; "
                "delete the folder and prepare again"
            )
    check_no_leak(parts, manifest["inputs"]["data"]["held_out_hazards"], folder)
    return PreparedData(folder, manifest=manifest, **parts)


def _inputs(config: Config, pack: HazardPack) -> dict[str, Any]:
    """Everything that decides the request set; files by their SHA-256, so that a move changes nothing."""
    data = config.data
    files = {"twins": TWINS, "lexicon": LEXICON, "reviewed": REVIEWED} | (
        {"file": Path(data.file)} if data.file else {}
    )
    tokenizer = {"path": config.model.path, "revision": config.model.revision}
    return {
        "data": data.model_dump(exclude={"file", "benchmarks_dir"}),
        "seed": config.seed,
        "hazards": {hazard.id: hazard.name for hazard in pack.hazards.values()},
        "tokenizer": tokenizer,
        "llm": {"name": config.judge.llm, "instruction": instruction(pack)} if data.classifier == "llm" else None,
        "sha256": {name: _sha256(path) for name, path in files.items()},
        "benchmarks": benchmarks_digest(Path(data.benchmarks_dir)) if data.benchmarks_dir else None,
        "version": version("cada_trl"),
    }


def _digest(inputs: dict[str, Any]) -> str:
    return json_sha256(inputs)


def _folder(config: Config, inputs: dict[str, Any]) -> Path:
    return Path(config.data_dir) / f"{config.data.dataset}-{_digest(inputs)[:8]}"


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise UserError(
            f"cannot read {path}: {error.strerror}; expected a JSONL file, as in file=requests.jsonl"
        ) from error


def _model_token_counter(config: Config) -> Callable[[str], int]:
    from cada_trl.models.load import load_tokenizer

    tokenizer = load_tokenizer(config.model)
    return lambda text: len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _write(folder: Path, made: RequestSet, manifest: dict[str, Any]) -> None:
    advice = "free space or choose another data_dir"
    with held(Path(f"{folder}.lock"), None, advice):
        if (folder / "manifest.json").is_file():  # another process was faster with the same inputs
            return
        with writing(folder, advice), whole(folder, locked=True) as partial:
            for name in PARTS:
                write_requests(partial / f"{name}.jsonl", made.parts[name])
            write_jsonl(partial / "classified.jsonl", made.decisions)
            replace_json(partial / "manifest.json", manifest)
            if folder.exists():  # an incomplete folder: nothing of ours, since ours appear whole
                shutil.rmtree(folder)


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
    known = (_folder(config, _inputs(config, load_pack(config.hazards))) / "manifest.json").is_file()
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
