"""A hazard pack: a folder with pack.yaml and one YAML file per hazard, read into immutable, checked records.

The only place that knows which hazards exist (paper: 12 hazards, each with a minimal code and 2-3 cases; the paper's
texts are not published, so the built-in ones are ours). A user's own pack has the same layout and needs no code.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

import yaml
from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from cada_trl.errors import UserError
from cada_trl.storage.digest import sha256
from cada_trl.storage.reading import compose_yaml

BUILTIN_DIR = Path(__file__).parent / "assets"
TWINS = BUILTIN_DIR.parents[1] / "data" / "assets" / "twins.jsonl"  # the pairs that name the built-in hazards
PACK_FILE = "pack.yaml"
SAFE, UNCLEAR, OTHER, UNCLASSIFIED = "safe", "unclear", "other", "unclassified"
# What a reader or a classifier says in place of a hazard's id; safe and other are the paper's classes 0 and 13.
NO_HAZARD = (SAFE, UNCLEAR, OTHER, UNCLASSIFIED)
ALL, OUTSIDE = "all", "no_hazard"  # slices of an evaluation: every item, and those outside the pack's hazards
_RESERVED = (*NO_HAZARD, ALL, OUTSIDE)


def _is_a_hazard(name: str) -> str:
    if name in _RESERVED:
        raise ValueError(
            f"{name} stands for requests of no hazard or of all, as do {', '.join(_RESERVED)}; choose another id"
        )
    return name


def _has_an_answered_look_alike(cases: tuple[Case, ...]) -> tuple[Case, ...]:
    if not any(case.verdict == "answer" for case in cases):
        raise ValueError("no case with verdict: answer; expected at least one harmless look-alike that is answered")
    return cases


CLOSED = ConfigDict(extra="forbid")
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
HazardId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), AfterValidator(_is_a_hazard)]
Number = Annotated[int, Field(strict=True, ge=1)]
Weight = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
Sentences = Annotated[tuple[Text, ...], Field(min_length=1)]


@dataclass(frozen=True)
class Incorrect:
    """A wrong way to decide a case, shown beside the right one, and why it is wrong."""

    __pydantic_config__ = CLOSED
    response: Text
    why: Text


@dataclass(frozen=True)
class Case:
    """A precedent: a request, the analysis that decides it, the verdict and the response that follows from it."""

    __pydantic_config__ = CLOSED
    request: Text
    analysis: Text
    verdict: Literal["refuse", "answer"]
    response: Text
    incorrect: Incorrect | None = None
    weight: Weight = 1.0  # how often it is shown beside the others: prompting/arms.py


Cases = Annotated[tuple[Case, ...], Field(min_length=1), AfterValidator(_has_an_answered_look_alike)]


@dataclass(frozen=True)
class ExtensiveCode:
    """The long specification of one hazard in the paper's four tiers (paper: SR w S_c)."""

    __pydantic_config__ = CLOSED
    objectives: Sentences
    rules: Sentences
    defaults: Sentences
    style: Sentences


@dataclass(frozen=True)
class Hazard:
    """One category of harm: `code` is the minimal safety code, `cases` its precedents in the order they are shown."""

    __pydantic_config__ = CLOSED
    id: HazardId
    number: Number
    name: Text
    code: Text
    extensive: ExtensiveCode
    cases: Cases


@dataclass(frozen=True)
class PackPage:
    """pack.yaml: what all hazards of the pack share."""

    __pydantic_config__ = CLOSED
    name: Text
    version: Text
    objectives: Sentences
    defaults: Sentences
    style: Sentences


@dataclass(frozen=True)
class HazardPack:
    """All hazards by id, in the order of their numbers, and the tiers they share (paper: SR w S takes them all)."""

    name: str
    objectives: tuple[str, ...]
    defaults: tuple[str, ...]
    style: tuple[str, ...]
    hazards: dict[str, Hazard]
    version: str = "1"


def load_pack(source: str) -> HazardPack:
    """Read a pack: "builtin" for the shipped one, or a folder with pack.yaml and one *.yaml file per hazard.

    Errors: UserError in one line, with file, line and field, for a missing folder or file, text that is not YAML, a
    missing, unknown or repeated key, a wrong type, an empty text, an unknown verdict, a hazard without cases or
    without an answered look-alike, and two hazards with one id or number.
    """
    if source == "builtin":
        return _builtin()
    folder = Path(source)
    if not folder.is_dir():
        raise UserError(
            f"no such folder: {source}; expected 'builtin' or a folder with {PACK_FILE} and a file per hazard"
        )
    if not (folder / PACK_FILE).is_file():
        raise UserError(f"{folder} holds no {PACK_FILE}; expected one beside the hazards' files")
    return _pack(folder)


@cache
def _builtin() -> HazardPack:
    """Read once in a process: what is shipped does not change beneath a run, which asks for it three times."""
    return _pack(BUILTIN_DIR)


def _pack(folder: Path) -> HazardPack:
    page, _ = _read(folder / PACK_FILE, PackPage)
    files = sorted(f for f in folder.iterdir() if f.suffix in {".yaml", ".yml"} and f.name != PACK_FILE)
    if not files:
        raise UserError(f"{folder} holds no hazards; expected one *.yaml file per hazard beside {PACK_FILE}")
    hazards = [(file, *_read(file, Hazard)) for file in files]
    _check_unique(hazards, "id")
    _check_unique(hazards, "number")
    ordered = sorted((hazard for _, hazard, _ in hazards), key=lambda hazard: hazard.number)
    by_id = {hazard.id: hazard for hazard in ordered}
    return HazardPack(page.name, page.objectives, page.defaults, page.style, by_id, page.version)


def pack_hash(pack: HazardPack) -> str:
    """First 8 hex digits of the SHA-256 of the pack's content; comments, layout and file names do not count."""
    return sha256(json.dumps(asdict(pack)))[:8]


Page = TypeVar("Page")
_PARTS: dict[str, type] = {"extensive": ExtensiveCode, "cases": Case, "incorrect": Incorrect}


def read_page(
    file: Path, page: type[Page], parts: dict[str, type] = _PARTS
) -> tuple[Page | None, yaml.Node, list[str]]:
    """One YAML file as a checked record, its node tree, and a line for each thing that is wrong: then no record.

    parts: field -> the record that it holds. Errors: UserError for what is no mapping.
    """
    values, node = compose_yaml(file, "expected key: value, quoted where a text holds ': '")
    if not isinstance(values, dict) or node is None:
        keys = ", ".join(field.name for field in fields(cast(Any, page)))
        raise UserError(f"{file}, line 1: holds {type(values).__name__}; expected the keys {keys}")
    try:
        return TypeAdapter(page).validate_python(values), node, []
    except ValidationError as error:
        # A misspelt key is also a missing one: the unknown key is the finding that helps.
        wrong_key = {"unexpected_keyword_argument", "invalid_key"}
        found = [problem for problem in error.errors() if not _is_echo(problem, error.errors())]
        ordered = sorted(found, key=lambda problem: problem["type"] not in wrong_key)
        return None, node, [_explain(file, node, problem, _PARTS | parts, page) for problem in ordered]


def _is_echo(problem: Any, others: list[Any]) -> bool:
    """Whether a list is called too short because of what is wrong inside it."""
    path = problem["loc"]
    return problem["type"] == "too_short" and any(
        other["loc"][: len(path)] == path and len(other["loc"]) > len(path) for other in others
    )


def _read(file: Path, page: type[Page]) -> tuple[Page, yaml.Node]:
    values, node, wrong = read_page(file, page)
    if values is None:
        raise UserError(wrong[0])
    return values, node


def line_of(node: yaml.Node, path: tuple[int | str, ...]) -> int:
    """The line (from 1) of the value at `path`, or of the nearest thing above it that is in the file."""
    line = node.start_mark.line
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = [(key, value) for key, value in node.value if key.value == str(step)]
            if not found:
                break
            line, node = found[0][0].start_mark.line, found[0][1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
            line = node.start_mark.line
        else:
            break
    return line + 1


_EXPECTED = {
    "string_type": "text",
    "string_too_short": "some text",
    "string_pattern_mismatch": "small letters, digits and _, a letter first",
    "tuple_type": "a list",
    "too_short": "at least one item",
    "dataclass_type": "a mapping of keys",
    "int_type": "a whole number",
}


def _explain(file: Path, node: yaml.Node, problem: Any, parts: dict[str, type], page: type) -> str:
    """One line for pydantic's first finding; list items are counted from 1."""
    path = problem["loc"]
    field = ".".join(str(step + 1 if isinstance(step, int) else step) for step in path)
    where = f"{file}, line {line_of(node, path)}: "
    match problem["type"]:
        case "invalid_key":
            return f"{where}key '{path[-1]}' is not text; expected a key's name"
        case "missing":
            return f"{where}'{field}' is missing; add it"
        case "unexpected_keyword_argument":
            return f"{where}unknown key '{field}'; {_nearest(path, parts, page)}"
        case "value_error":
            return f"{where}'{field}': {problem['msg'].removeprefix('Value error, ')}"
    expected = _EXPECTED.get(problem["type"]) or problem["msg"].removeprefix("Input should be ")
    return f"{where}'{field}' is {problem['input']!r:.60}; expected {expected}"


def _nearest(path: tuple[int | str, ...], parts: dict[str, type], page: type) -> str:
    parents = [step for step in path[:-1] if isinstance(step, str)]
    valid = [field.name for field in fields(parts[parents[-1]] if parents else page)]
    close = difflib.get_close_matches(str(path[-1]), valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"valid: {', '.join(valid)}"


def _check_unique(hazards: list[tuple[Path, Hazard, yaml.Node]], field: Literal["id", "number"]) -> None:
    first: dict[str | int, Path] = {}
    for file, hazard, node in hazards:
        value = getattr(hazard, field)
        if value in first:
            line = line_of(node, (field,))
            raise UserError(f"{file}, line {line}: {field} {value} is taken by {first[value].name}; give it another")
        first[value] = file
