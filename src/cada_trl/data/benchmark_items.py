"""Benchmarks: what a set is (hydra_conf/benchmark/<name>.yaml) and its items, from a local folder or from the hub.

A set is the published one or it is refused: the file's SHA-256 and the number of rows are checked. No torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import Positive, Section, described, load_described
from cada_trl.data.classify import NO_HAZARD, classify
from cada_trl.data.split import draw
from cada_trl.errors import UserError, first_line
from cada_trl.records import read_jsonl
from cada_trl.storage.digest import file_sha256
from cada_trl.storage.files import read_json
from cada_trl.storage.reading import MAX_ROWS_BYTES, PUBLISHED, Numbered, check_characters, opened, read_csv

BENCHMARK_DIR = CONF_DIR / "benchmark"


@dataclass(frozen=True)
class Item:
    """One row of a benchmark, unattacked.

    id is stable and unique within the benchmark ("strongreject-017"); hazard is a hazard id of the pack or None;
    category is the benchmark's own, "" if it has none; harmful=False marks a request that should be answered.
    """

    id: str
    benchmark: str
    request: str
    hazard: str | None
    category: str
    harmful: bool


class Columns(Section):
    """The file's fields: the request, a published row id, the set's own category."""

    text: str
    id: str | None  # null: the row's number in the file, from 1
    category: str | None


class Hazards(Section):
    """How an item gets its hazard: the table where a category is one hazard, else the lexical classifier.

    by: fields looked up in the table, the first that is in it decides; null in the table: no hazard of the pack.
    priors: category -> BeaverTails labels that the classifier starts from.
    """

    by: list[str]
    table: dict[str, str | None]
    priors: dict[str, list[str]]


class FrozenColumns(Section):
    """The fields of a file with attack prompts; victim: the model that the prompt was made against."""

    attack: str
    request: str
    id: str | None  # the set's own id of the request; null: the request itself finds the item
    prompt: str
    victim: str | None


class FrozenPrompts(Section):
    """Published attack prompts for the set's requests. attacks: name -> victims, the preferred first; [] for none."""

    file: str
    sha256: str
    source: str
    licence: str
    columns: FrozenColumns
    attacks: dict[str, list[str]]


class BenchmarkSpec(Section):
    """One set."""

    name: str
    n: Positive  # items
    harmful: bool
    source: str
    licence: str
    file: str  # below data_root; may have a * when file_categories is given
    sha256: str | None  # null only for a set of several files
    columns: Columns
    hazards: Hazards
    download: str | None = None  # the published file itself, where it is not on the hub
    hub_id: str | None = None
    hub_file: str | None = None
    hub_revision: str | None = None
    gated: bool = False
    only: dict[str, str] = Field(default_factory=dict)  # field -> value of the rows that belong to the set
    file_categories: dict[str, str] | None = None  # file stem -> category: CSVs without a header, a request per line
    frozen: FrozenPrompts | None = None

    @property
    def metric(self) -> Literal["asr", "nrr"]:
        """asr on harmful requests: lower is safer. nrr on harmless ones: higher is more helpful."""
        return "asr" if self.harmful else "nrr"

    @model_validator(mode="after")
    def _cross_checks(self) -> BenchmarkSpec:
        if (self.sha256 is None) != (self.file_categories is not None):
            raise ValueError("one file needs its sha256; only a set of several files (file_categories) has none")
        return self


def names() -> list[str]:
    """The benchmarks that hydra_conf/benchmark describes."""
    return described(BENCHMARK_DIR)


def load_spec(name: str) -> BenchmarkSpec:
    """The benchmark's description. `hazards` and `frozen` may name another benchmark whose section they share.

    Errors: UserError for an unknown name, with the nearest ones, and for a file that is not a description.
    """
    return load_described(BenchmarkSpec, BENCHMARK_DIR, name, "benchmark", ("hazards", "frozen"))


def load_items(spec: BenchmarkSpec, data_root: Path | None, limit: int | None, seed: int) -> list[Item]:
    """The set's items in the file's order, from data_root/<file> if it is there, else from the hub.

    limit: a sample of that many, stratified over the set's categories by the seed; a larger limit keeps the smaller
    one's items. Errors: UserError for a file that cannot be had, is not the published one (SHA-256), has another number
    of rows or a row without a request, and for a limit below 1.
    """
    items = [_item(spec, where, number, row) for where, number, row in _rows(spec, data_root)]
    if len(items) != spec.n:
        raise UserError(f"{spec.name}: {len(items)} rows; expected the published {spec.n} ({spec.source})")
    return stratified(items, limit, seed)


def of_pack(items: Iterable[Item], hazards: Collection[str]) -> list[Item]:
    """The items; those of a hazard that the pack lacks, as a published set's under a policy of one's own, have none."""
    return [replace(item, hazard=item.hazard if item.hazard in hazards else None) for item in items]


def stratified(items: list[Item], limit: int | None, seed: int) -> list[Item]:
    """limit items, each category within one of its share, in the given order; all when there are fewer, or for None."""
    by_category: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        by_category[item.category].append(item)
    strata = {category: [item.request for item in rows] for category, rows in by_category.items()}
    taken = {by_category[category][place].id for category, place in spread(strata, limit, seed)}
    return [item for item in items if item.id in taken]


def spread(strata: Mapping[str, Sequence[str]], limit: int | None, seed: int) -> set[tuple[str, int]]:
    """(stratum, place in it) of limit texts, each stratum within one of its share; a larger limit keeps these.

    Ours: a stratum's k-th text in the seed's order stands at (k - 1/2) / its size; the lowest are taken. None takes
    all. Errors: UserError for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UserError(f"limit={limit}: expected 1 or more, or null for all")
    places = []
    for name, texts in strata.items():
        draws = [draw(seed, text) for text in texts]
        order = sorted(range(len(texts)), key=draws.__getitem__)
        places += [((k + 0.5) / len(texts), draws[place], name, place) for k, place in enumerate(order)]
    return {(name, place) for *_, name, place in sorted(places)[:limit]}


def item_id(benchmark: str, own_id: str) -> str:
    """The item's id from the id that the set itself gives it; a number gets at least three digits."""
    return f"{benchmark}-{own_id.zfill(3) if own_id.isdigit() else own_id}"


def checked_file(path: Path, sha256: str, source: str) -> Path:
    """The path, if its content is the published one. Errors: UserError with both SHA-256 values."""
    seen = file_sha256(path, PUBLISHED, MAX_ROWS_BYTES)
    if seen != sha256:
        raise UserError(f"{path} has sha256 {seen}; expected {sha256}, the published file of {source}: get it again")
    return path


def lacks_file(data_root: Path | None, file: str, source: str) -> str:
    """What is not there, and the command that fetches it."""
    lack = f"{file} is read below data_root, and none is given" if data_root is None else f"no file {data_root / file}"
    return f"{lack}; make data DATA_ROOT={data_root or '<folder>'} fetches it ({source})"


def read_rows(
    path: Path, listed: str = "examples", has_header: bool = True, columns: Sequence[str] | None = None
) -> Numbered:
    """(row number from 1, row). A row of another kind than an object is the caller's to refuse.

    listed: where a JSON object holds its rows. has_header: of a CSV, as read_csv. columns: of parquet, None for all.
    Errors: UserError for a file of another kind.
    """
    if path.suffix == ".csv":
        return read_csv(path, has_header)
    if path.suffix == ".jsonl":
        return read_jsonl(path)
    if path.suffix == ".parquet":
        return enumerate(_parquet_rows(path, columns), start=1)
    rows = read_json(path, PUBLISHED).get(listed)
    if not isinstance(rows, list):
        raise UserError(f"{path}: '{listed}' holds a {type(rows).__name__}; expected the list of rows")
    return enumerate(rows, start=1)


def _parquet_rows(path: Path, columns: Sequence[str] | None) -> list[dict[str, Any]]:
    from pyarrow import ArrowException
    from pyarrow.parquet import read_table

    try:
        with opened(path, PUBLISHED) as file:
            rows: list[dict[str, Any]] = read_table(file, columns=columns).to_pylist()
    except (ArrowException, OSError) as error:
        raise UserError(f"{path} cannot be read as parquet ({first_line(error)}); {PUBLISHED}") from error
    return rows


def _files(spec: BenchmarkSpec, data_root: Path | None) -> list[Path]:
    if data_root is not None and not data_root.is_dir():
        raise UserError(f"data_root={data_root} is not a folder; expected one with {spec.file}, or null for the hub")
    found = sorted(data_root.glob(spec.file)) if data_root is not None else []
    found = found or _hub_files(spec, data_root)
    if spec.file_categories is not None:
        return [path for path in found if path.stem in spec.file_categories]
    return [checked_file(path, str(spec.sha256), spec.source) for path in found]


def _hub_files(spec: BenchmarkSpec, data_root: Path | None) -> list[Path]:
    place = f"{data_root or 'data_root'}/{spec.file}"
    if spec.download is not None and spec.hub_id is None:
        raise UserError(f"{spec.name}: {lacks_file(data_root, spec.file, spec.source)}")
    if spec.hub_id is None or spec.hub_file is None:
        raise UserError(f"{spec.name}: no file {place} and no address of it; put it there, from {spec.source}")
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            spec.hub_id, repo_type="dataset", revision=spec.hub_revision, allow_patterns=spec.hub_file
        )
    except Exception as error:  # the hub's client raises many unrelated types for "not reachable" and "not yours"
        gated = f"it is gated: ask for access at {spec.source} and log in with `hf auth login`, or put it at {place}"
        advice = gated if spec.gated else f"put it at {place}, from {spec.source}"
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"{spec.name}: cannot get {spec.hub_file} of {spec.hub_id}; {advice} ({reason})") from error
    return sorted(Path(folder).glob(spec.hub_file))


def _rows(spec: BenchmarkSpec, data_root: Path | None) -> Iterator[tuple[Path, int, dict[str, Any]]]:
    """(file, row number in it from 1, row) for the rows that belong to the set."""
    for path in _files(spec, data_root):
        category = {} if spec.file_categories is None else {"category": spec.file_categories[path.stem]}
        for number, row in read_rows(path, has_header=spec.file_categories is None):
            if all(row.get(field) == value for field, value in spec.only.items()):
                yield path, number, row | category


def _item(spec: BenchmarkSpec, path: Path, number: int, row: dict[str, Any]) -> Item:
    fields = [field for field in (spec.columns.text, spec.columns.id, spec.columns.category) if field is not None]
    for field in fields:
        if not isinstance(row.get(field), str) or not row[field].strip():
            raise UserError(f"{path}, row {number}: no text in field '{field}'; {PUBLISHED}")
        check_characters(row[field], f"{path}, row {number}")
    own_id = str(number) if spec.columns.id is None else row[spec.columns.id]
    if spec.file_categories is not None:
        own_id = f"{path.stem.removeprefix('category_')}-{own_id}"
    category = "" if spec.columns.category is None else row[spec.columns.category]
    request = row[spec.columns.text]
    hazard = _hazard(spec.hazards, row, category, request)
    return Item(item_id(spec.name, own_id), spec.name, request, hazard, category, spec.harmful)


def _hazard(hazards: Hazards, row: dict[str, Any], category: str, request: str) -> str | None:
    for field in hazards.by:
        if row.get(field) in hazards.table:
            return hazards.table[row[field]]
    hazard = classify(request, hazards.priors.get(category, ())).hazard
    return None if hazard in NO_HAZARD else hazard
