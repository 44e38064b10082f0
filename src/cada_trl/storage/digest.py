"""SHA-256 of texts, files and values: what folders, caches and versions are named by, and what files were when they
were written, so that what was edited or deleted since is noticed when it is read."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from cada_trl.errors import UserError
from cada_trl.storage.files import read_json
from cada_trl.storage.reading import opened, read_yaml

CONFIG, MANIFEST = "config.yaml", "manifest.json"
_OWN = "manifest_sha256"  # the manifest's key for the SHA-256 of the rest of it
_INPUTS = {
    "hazards_hash": "case pack",
    "template_hash": "chat template",
    "judge_id": "judge",
    "initial_model": "initial model",
}
_MADE_OF = ("file", "twins")  # what the request set is made of: one's own file, or the package's
Digest = Callable[[Path], str]
_WHOLE_BYTES = 2**26  # ours: larger files, which are weights, take seconds each
_END_BYTES = 2**20


def sha256(content: str | bytes) -> str:
    """64 hex digits; a text is taken as UTF-8, with half of a surrogate pair as it is."""
    return sha256_of([content.encode(errors="surrogatepass") if isinstance(content, str) else content])


def sha256_of(chunks: Iterable[bytes]) -> str:
    """The same of bytes that come in pieces."""
    digest = hashlib.sha256()
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def file_sha256(path: Path, advice: str = "get it again", max_bytes: int | None = None) -> str:
    """The same of a file, which need not fit into memory. Errors: UserError for one that is none, as opened."""
    with opened(path, advice, max_bytes) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_sha256(values: Any) -> str:
    """The same of plain values, whatever the order of their keys."""
    return sha256(json.dumps(values, sort_keys=True))


def content_hash(values: Any) -> str:
    """Its first 8 digits, for names."""
    return json_sha256(values)[:8]


def digests(folder: Path, patterns: Iterable[str], of: Digest = file_sha256) -> dict[str, str]:
    """Name in the folder -> digest, of the files that match."""
    files = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file()})
    return {str(path.relative_to(folder)): of(path) for path in files}


def change(path: Path, digest: str, of: Digest = file_sha256) -> Literal["is missing", "has changed"] | None:
    """What became of a file since its digest was recorded."""
    if not path.is_file():
        return "is missing"
    return None if of(path) == digest else "has changed"


def quick_sha256(path: Path) -> str:
    """Of a large file by its size and its two ends, within a moment; of any other by the whole."""
    size = path.stat().st_size
    if size <= _WHOLE_BYTES:
        return file_sha256(path)
    with path.open("rb") as file:
        start = file.read(_END_BYTES)
        file.seek(-_END_BYTES, os.SEEK_END)
        return sha256(f"{size} bytes".encode() + start + file.read())


def kept(folder: Path) -> dict[str, list[Any]]:
    """config.yaml, the numbers that no reader counts anew, and each JSONL file in the folder and one level below ->
    [its bytes, its SHA-256], for `files` of the manifest."""
    found = digests(folder, (CONFIG, "effects.json", "*/result.json", "*.jsonl", "*/*.jsonl"))
    return {name: [(folder / name).stat().st_size, digest] for name, digest in found.items()}


def found(path: Path, folder: str | Path) -> Path:
    """A folder that a record in the folder `path` names: relative to where the verb that wrote it was called, which
    mostly is two above it, and else to here."""
    named = Path(folder).expanduser()
    beside = path.resolve().parent.parent / named
    return beside if beside.is_dir() and not named.is_absolute() else named


def inputs_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What a run's configuration names by path alone, told by content, as far as its manifest has it."""
    made_of = ((manifest.get("data") or {}).get("inputs") or {}).get("sha256") or {}
    values = {key: manifest.get(key) for key in _INPUTS} | {key: made_of.get(key) for key in _MADE_OF}
    return {key: value for key, value in values.items() if value is not None}


def are_alike(inputs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no two of several inputs_of say different things; what one does not say is no difference."""
    said: dict[str, Any] = {}
    return all(said.setdefault(key, value) == value for one in inputs for key, value in one.items())


def check_same_inputs(folder: Path, now: Mapping[str, Any]) -> None:
    """now: a run's manifest, or what is known of it. Errors: UserError where what the run's configuration names by path
    alone is another one than when the run in the folder began."""
    before = read_json(folder / MANIFEST) if (folder / MANIFEST).is_file() else {}
    old, new = inputs_of(before), inputs_of(now)
    wrong = [what for key, what in _INPUTS.items() if key in old and old[key] != new.get(key, old[key])]
    rows = [(manifest.get("data") or {}).get("files") for manifest in (before, now)]
    if not all(rows):  # what is not prepared anew is told by the file that it is made of
        known = [key for key in _MADE_OF if key in old and key in new]
        rows = [[one[key] for key in known] for one in (old, new)]
    wrong += ["request set"] if all(rows) and rows[0] != rows[1] else []
    if wrong:
        raise UserError(
            f"the {wrong[0]} is another one than when {folder} began; restore it, or begin anew under another run_name"
        )


def sealed(folder: Path, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of what has ended, with the files that are there and the SHA-256 of itself."""
    whole = {**manifest, "files": kept(folder)}
    return {**whole, _OWN: _own_sha256(whole)}


def read_config(folder: Path) -> dict[str, Any]:
    """The mapping in a folder's config.yaml.

    Errors: as check_kept, of this file and of the manifest itself, and UserError for one that cannot be read or holds
    no mapping.
    """
    manifest = folder / MANIFEST
    check_kept(folder, read_json(manifest, "restore it") if manifest.is_file() else {}, [CONFIG])
    values = read_yaml(folder / CONFIG, "restore it")
    if not isinstance(values, dict):
        raise UserError(f"{folder / CONFIG} holds a {type(values).__name__}, expected a mapping; restore it")
    return values


def check_kept(folder: Path, manifest: Mapping[str, Any], names: Collection[str] | None = None) -> None:
    """Says in a line where an older version recorded nothing, and which file was deleted: who needs it says so, too.
    A writer that was killed may have added rows. names: the files that are looked at; None: all.

    Errors: UserError names the first file that was edited.
    """
    if manifest.get(_OWN) not in {None, _own_sha256(manifest)}:
        raise UserError(_edited(folder / MANIFEST, "it has another SHA-256 than it says itself"))
    running, files = manifest.get("exit_state") == "running", manifest.get("files")
    if files is None:
        if manifest and not running:
            _say_once(f"{folder}: written without hashes of its files, so edits of them cannot be noticed")
        return
    try:
        recorded = {folder / name: (int(n_bytes), str(digest)) for name, (n_bytes, digest) in files.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise UserError(f"{folder / MANIFEST}: `files` is of another form; restore it") from error
    for path, (n_bytes, digest) in recorded.items():
        if names is not None and path.name not in names:
            continue
        seen = change(path, digest, partial(_first_sha256, n_bytes) if running else file_sha256)
        if seen == "is missing":
            _say_once(f"{path} was deleted after it was written")
        elif seen:
            raise UserError(_edited(path, f"{MANIFEST} has another SHA-256"))


def _edited(path: Path, seen: str) -> str:
    return f"{path} was edited after it was written: {seen}; restore it, or move the folder away and make it again"


def _own_sha256(manifest: Mapping[str, Any]) -> str:
    """Of what JSON gives back, so that a manifest has one before it is written."""
    return json_sha256(json.loads(json.dumps({key: value for key, value in manifest.items() if key != _OWN})))


def _first_sha256(n_bytes: int, path: Path) -> str:
    with opened(path, "restore it") as file:
        return sha256(file.read(n_bytes))


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)
