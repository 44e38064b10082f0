"""A request set on disk: prepared once for the same inputs, read back and checked afterwards."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cada_trl.config import Config
from cada_trl.console import Console
from cada_trl.data.benchmarks import benchmarks_digest
from cada_trl.data.classify import LEXICON, REVIEWED, instruction
from cada_trl.data.request_set import Decision, build_request_set, check_readable
from cada_trl.data.split import Parts, check_fills_a_step, check_no_leak
from cada_trl.errors import UserError
from cada_trl.hazards.pack import TWINS, HazardPack, load_pack, pack_hash
from cada_trl.models.load import load_tokenizer
from cada_trl.models.named import model_fingerprint
from cada_trl.records import Request, read_requests, write_jsonl
from cada_trl.storage.digest import check_kept, check_same_inputs, content_hash, digests, file_sha256, json_sha256, kept
from cada_trl.storage.files import held, read_json, replace_json, whole, writing
from cada_trl.storage.reading import MAX_ROWS_BYTES

PARTS = ("train", "probe", "held_out", "benign_train", "harmless_probe", "twins_probe", "xstest_safe_probe")
TOKENIZER_FILES = (
    "tokenizer*",
    "special_*.json",
    "added_tokens.json",
    "vocab*",
    "merges.txt",
    "*.model",
    "tekken.json",
)


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


def prepare(config: Config) -> PreparedData:
    """The request set of a configuration: read back if it was prepared already, else built and written.

    Errors: UserError as build_request_set and read_prepared, for a folder that cannot be written, and for a file that
    changed while it was read: it would stand under the hash of what it was.
    """
    pack = load_pack(config.hazards)
    folder, inputs = _place(config, pack)
    if not (folder / "manifest.json").is_file():
        Console(stderr=True).print(f"requests: building {folder}", highlight=False, soft_wrap=True, markup=False)
        parts, decisions, facts = build_request_set(config, pack, cache(lambda: load_tokenizer(config.model)))
        if folder_of(config) != folder:
            raise UserError("a file of the request set changed while it was read; the same command reads it again")
        manifest = {"name": folder.name, "hash": json_sha256(inputs), "inputs": inputs, **facts}
        _write(folder, parts, decisions, manifest)
    return read_prepared(folder)


def read_prepared(folder: Path) -> PreparedData:
    """Read a folder that `prepare` wrote. Errors: UserError for a folder that is not one, or was edited by hand."""
    try:
        manifest = read_json(folder / "manifest.json")
        sizes = {name: int(manifest["split"][name]["n"]) for name in PARTS}
    except (UserError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder} holds no readable manifest.json; delete the folder and prepare again") from error
    check_kept(folder, manifest)
    parts = {name: read_requests(folder / f"{name}.jsonl") if sizes[name] else [] for name in PARTS}
    for name, part in parts.items():
        if len(part) != sizes[name]:
            raise UserError(
                f"{folder / name}.jsonl holds {len(part)} rows, its manifest says {sizes[name]}; "
                "delete the folder and prepare again"
            )
    check_no_leak(parts, manifest["inputs"]["data"]["held_out_hazards"], folder)
    return PreparedData(folder, manifest=manifest, **parts)


def _place(config: Config, pack: HazardPack) -> tuple[Path, dict[str, Any]]:
    """The request set's folder, and all that decides it; files by their SHA-256, so that a move changes nothing."""
    data = config.data
    files = {"twins": TWINS, "lexicon": LEXICON, "reviewed": REVIEWED}
    files |= {"file": Path(data.file)} if data.file else {}
    model, llm = config.model, None
    if data.classifier == "llm":
        llm = {"base_url": config.judge.base_url, "name": config.judge.llm, "instruction": instruction(pack)}
    tokenizer: dict[str, Any] = {"path": model.path, "revision": model.revision}
    if model.source == "folder":  # its files can change under one path
        tokenizer["files"] = digests(Path(model.path).expanduser(), TOKENIZER_FILES)
    inputs = {
        "data": data.model_dump(exclude={"file", "benchmarks_dir"}),
        "seed": config.seed,
        "hazards": {hazard.id: hazard.name for hazard in pack.hazards.values()},
        "tokenizer": tokenizer,
        "llm": llm,
        "sha256": {
            name: file_sha256(path, "expected a JSONL file, as in file=requests.jsonl", MAX_ROWS_BYTES)
            for name, path in files.items()
        },
        "benchmarks": benchmarks_digest(Path(data.benchmarks_dir)) if data.benchmarks_dir else None,
        "version": version("cada_trl"),
    }
    return Path(config.data_dir) / f"{data.dataset}-{content_hash(inputs)}", inputs


def look(config: Config) -> str:
    """What `prepare` would read, a sentence, in seconds and without a tokenizer. Errors: UserError as prepare."""
    pack = load_pack(config.hazards)
    folder, _ = _place(config, pack)
    if (folder / "manifest.json").is_file():
        data = read_prepared(folder)
        check_fills_a_step(config, len(data.train), len(data.benign_train))
        return f"{len(data.train)} requests to train on, prepared in {folder}"
    n_rows = check_readable(config, pack)
    return f"{n_rows} rows to read, before the filters" if n_rows else f"rows of {config.data.hub_id}, not fetched yet"


def folder_of(config: Config) -> Path:
    """Where the request set of a configuration is kept, whether it was prepared already or not."""
    return _place(config, load_pack(config.hazards))[0]


def check_same_files(folder: Path, config: Config) -> None:
    """That a finished run's case pack, and its requests file and model folder where they still are, are those that it
    was trained on.

    Errors: UserError as check_same_inputs, load_pack and model_fingerprint.
    """
    file, model = Path(config.data.file or ""), config.model
    sha256 = {"file": file_sha256(file)} if file.is_file() else {}
    now: dict[str, Any] = {"hazards_hash": pack_hash(load_pack(config.hazards)), "data": {"inputs": {"sha256": sha256}}}
    if model.source == "folder" and (Path(model.path).expanduser() / "config.json").is_file():
        now["initial_model"] = model_fingerprint(model)
    check_same_inputs(folder, now)


def _write(folder: Path, parts: Parts, decisions: list[Decision], manifest: dict[str, Any]) -> None:
    advice = "free space or choose another data_dir"
    with held(Path(f"{folder}.lock"), None, advice):
        if (folder / "manifest.json").is_file():  # another process was faster with the same inputs
            return
        with writing(folder, advice), whole(folder, locked=True) as partial:
            for name in PARTS:
                write_jsonl(partial / f"{name}.jsonl", map(asdict, parts[name]))
            write_jsonl(partial / "classified.jsonl", decisions)
            replace_json(partial / "manifest.json", manifest | {"files": kept(partial)})
            if folder.exists():  # an incomplete folder: nothing of ours, since ours appear whole
                shutil.rmtree(folder)
