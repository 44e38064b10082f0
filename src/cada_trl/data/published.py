"""The published files that are read below data_root: where each is to be had, and how it is made of what lies there.

The benchmarks' own files are described by hydra_conf/benchmark, all others by hydra_conf/published. No torch.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import Section, described, load_described
from cada_trl.data.benchmark_items import BenchmarkSpec, load_spec, names
from cada_trl.storage.reading import parse_json, parse_object

PUBLISHED_DIR = CONF_DIR / "published"
HUB = "https://huggingface.co"
Form = Literal["as_published", "artifacts", "beavertails", "judge_comparison", "rubric_evaluations"]
_Rows = Iterator[dict[str, Any]]


class FileSpec(Section):
    """One file below data_root. download: below the set's base; null: the file's own name there.

    sha256: of the file below data_root; null: that of the benchmark that reads it, or what the first download had.
    """

    file: str
    download: list[str] | None = None
    download_sha256: str | None = None  # of what is downloaded, where the file is made of it
    sha256: str | None
    form: Form = "as_published"


class SetSpec(Section):
    """Files from one place. base: what their addresses begin with; null: no address is known."""

    source: str
    licence: str
    base: str | None
    files: list[FileSpec]


@dataclass(frozen=True)
class PublishedFile:
    """file: below data_root. urls: what it is made of, in this order; none: not to be had by an address.

    sha256: of the file; url_sha256: of what the one address sends; None: not known. source: its page.
    """

    file: str
    urls: tuple[str, ...]
    sha256: str | None
    source: str
    licence: str
    gated: bool = False
    form: Form = "as_published"
    url_sha256: str | None = None


def published_files() -> list[PublishedFile]:
    """Every file, each once, those of the benchmarks first. Errors: UserError for a broken description."""
    specs = [load_spec(name) for name in names()]
    found = {file.file: file for spec in specs for file in _of_benchmark(spec)}
    known = {spec.frozen.file: spec.frozen.sha256 for spec in specs if spec.frozen}
    for name in described(PUBLISHED_DIR):
        described_set = load_described(SetSpec, PUBLISHED_DIR, name, "set of published files", ())
        for file in described_set.files:
            found[file.file] = _of_set(described_set, file, file.sha256 or known.get(file.file))
    return list(found.values())


def _of_benchmark(spec: BenchmarkSpec) -> Iterator[PublishedFile]:
    on_hub = f"{HUB}/datasets/{spec.hub_id}/resolve/{spec.hub_revision}/{spec.hub_file}" if spec.hub_id else None
    url, pattern = spec.download or on_hub, PurePosixPath(spec.file).stem
    for stem in spec.file_categories or [pattern]:
        urls = (url.replace(pattern, stem),) if url else ()
        file = spec.file.replace(pattern, stem)
        yield PublishedFile(file, urls, spec.sha256, spec.source, spec.licence, spec.gated, url_sha256=spec.sha256)


def _of_set(spec: SetSpec, file: FileSpec, sha256: str | None) -> PublishedFile:
    parts = file.download or [PurePosixPath(file.file).name]
    urls = tuple(spec.base + part for part in parts) if spec.base else ()
    url_sha256 = file.download_sha256 if file.form != "as_published" else sha256
    return PublishedFile(file.file, urls, sha256, spec.source, spec.licence, False, file.form, url_sha256)


def made(file: PublishedFile, parts: Sequence[bytes]) -> bytes:
    """The file's content from what its addresses sent. Errors: ValueError where that is not in the published form."""
    try:
        if file.form == "artifacts":
            return _lines(_artifacts(file.urls, parts))
        (part,) = parts
        return part if file.form == "as_published" else _lines(_ROWS[file.form](part))
    except (LookupError, TypeError, AttributeError, ValueError, EOFError, OSError, csv.Error) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _lines(rows: _Rows) -> bytes:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()


def _artifacts(urls: Sequence[str], parts: Sequence[bytes]) -> _Rows:
    """JailbreakBench's .../<attack>/<attack_type>/<target_model>.json."""
    fields = ("index", "goal", "behavior", "category", "prompt", "response", "jailbroken", "jailbroken_llama_guard1")
    for url, part in zip(urls, parts, strict=True):
        attack, attack_type, name = url.split("/")[-3:]
        made_by = {"attack": attack, "attack_type": attack_type, "target_model": name.removesuffix(".json")}
        for row in parse_object(part)["jailbreaks"]:
            yield made_by | {field: row[field] for field in fields}


def _rubric_evaluations(part: bytes) -> _Rows:
    """An evaluation's list of answers -> the prompts alone, without the answers."""
    answers = parse_json(part, finite=False)  # a score may be NaN
    for attack, jailbreak in (("pair", "pair"), ("pap", "pap_misrepresentation")):
        for answer in answers:
            if answer["jailbreak"] == jailbreak:
                request, prompt = answer["forbidden_prompt"], answer["jailbroken_prompt"]
                yield {"attack": attack, "request": request, "attack_prompt": prompt}


def _judge_comparison(part: bytes) -> _Rows:
    """A CSV in Mac Roman; the labels are numbers."""
    texts = ("goal", "prompt", "target_response")
    for row in csv.DictReader(io.StringIO(part.decode("mac_roman").replace("\r\n", "\n"), newline="")):
        yield {name.lower(): value if name in texts else int(value) for name, value in row.items()}


def _beavertails(part: bytes) -> _Rows:
    """Prompts and labels: no response, and no row labelled child_abuse, which no verb reads."""
    for row in map(parse_object, gzip.decompress(part).splitlines()):
        labels = [name for name, flag in row["category"].items() if flag]
        if "child_abuse" not in labels:
            yield {"prompt": row["prompt"], "is_safe": row["is_safe"], "categories": labels}


_ROWS: dict[Form, Callable[[bytes], _Rows]] = {
    "beavertails": _beavertails,
    "judge_comparison": _judge_comparison,
    "rubric_evaluations": _rubric_evaluations,
}
