"""A team's own safety policy in one file: its hazards, and twins. Compiled to what hazards= and data=twins read.

Nothing here knows what a policy should hold; `python -m cada_trl.policy check` says that.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from cada_trl.errors import UserError
from cada_trl.hazards.pack import (
    BUILTIN_DIR,
    CLOSED,
    PACK_FILE,
    TWINS,
    Cases,
    HazardId,
    PackPage,
    Text,
    line_of,
    load_pack,
    read_page,
)
from cada_trl.storage.digest import content_hash, json_sha256
from cada_trl.storage.files import replace
from cada_trl.storage.reading import MAX_YAML_BYTES, read_yaml

POLICIES = Path("policies")
POLICY_FILE = "policy.yaml"
BESIDE = "beside"  # the folder of what is trained on where that is more than the policy's own
NAME = re.compile(r"(?!builtin$)[a-z][a-z0-9_-]*")
SHIPPED = BUILTIN_DIR / "policies"  # complete examples
# The mark in Latin, Chinese, Arabic, Armenian, Ethiopic and Greek script, quotes and brackets behind it
_QUESTION = re.compile(r"""[?\uff1f\u061f\u055e\u1367\u037e][\s"'’”“»«›‹)\]}）］｝」』】〉》]*$""")


@dataclass(frozen=True)
class PolicyHazard:
    """A hazard of the pack without its long code."""

    __pydantic_config__ = CLOSED
    id: HazardId
    name: Text
    code: Text
    cases: Cases


@dataclass(frozen=True)
class Pair:
    """Twins."""

    __pydantic_config__ = CLOSED
    hazard: HazardId
    harmful: Text
    harmless: Text

    @property
    def id(self) -> str:
        """By content: which pairs are held out does not depend on their order."""
        return f"{self.hazard}-{json_sha256([self.harmful, self.harmless])[:12]}"


@dataclass(frozen=True)
class Policy:
    """source: where the twins come from. beside: whose hazards and twins are trained on, too."""

    __pydantic_config__ = CLOSED
    source: Text
    hazards: Annotated[tuple[PolicyHazard, ...], Field(min_length=1)]
    twins: Annotated[tuple[Pair, ...], Field(min_length=1)]
    licence: Text = "unknown"
    beside: Literal["builtin"] | None = None


@dataclass(frozen=True)
class PolicyFile:
    """A policy as read, or a line for each thing that is wrong with it."""

    file: Path
    policy: Policy | None
    node: yaml.Node
    wrong: list[str]

    def at(self, *path: str | int) -> str:
        """Line and field, list items counted from 1."""
        field = ".".join(str(step + 1 if isinstance(step, int) else step) for step in path)
        return f"line {line_of(self.node, path)}: '{field}'"


@dataclass(frozen=True)
class Compiled:
    """What the loaders read. train_pack and train_twins hold what stands beside the policy's own, too."""

    pack: Path
    twins: Path
    train_pack: Path
    train_twins: Path
    licence: str


def policy_folder(name: str) -> Path:
    """Of policies/<name>, or of a folder that is given as a path."""
    return Path(name) if "/" in name else POLICIES / name


def policy_file(name: str) -> Path:
    """The user's own; where it is not there, the shipped example of that name."""
    own, shipped = policy_folder(name) / POLICY_FILE, SHIPPED / f"{name}.yaml"
    return shipped if "/" not in name and shipped.is_file() and not own.is_file() else own


def read_policy(name: str) -> PolicyFile:
    """Errors: UserError for no such file and for one that is no YAML."""
    file = policy_file(name)
    if not file.is_file():
        if Path(name).is_file():
            is_it = Path(name).name == POLICY_FILE
            todo = (
                f"give its folder, policy={Path(name).parent}/" if is_it else f"put it into a folder, as {POLICY_FILE}"
            )
            raise UserError(f"policy={name}: it is a file; {todo}")
        own = [found.parent.name for found in POLICIES.glob(f"*/{POLICY_FILE}")]
        known = ", ".join(sorted({*own, *(found.stem for found in SHIPPED.glob("*.yaml"))}))
        new = f"; python -m cada_trl.policy new {name} writes one" if NAME.fullmatch(file.parent.name) else ""
        raise UserError(f"policy={name}: no file {file}; there are: {known}{new}")
    if file.stat().st_size > MAX_YAML_BYTES:
        raise UserError(
            f"{file}: {file.stat().st_size:,} bytes, more than the {MAX_YAML_BYTES:,} that are read; give the "
            "hazards as a pack and the twins as rows: hazards=<folder> data=twins file=<jsonl> licence=<theirs>"
        )
    policy, node, wrong = read_page(file, Policy, {"hazards": PolicyHazard, "twins": Pair})
    read = PolicyFile(file, policy, node, wrong)
    taken = load_pack("builtin").hazards if policy and policy.beside else {}
    clashes = [
        f"{file}, {read.at('hazards', i, 'id')}: {hazard.id} is a built-in hazard's, and beside: builtin trains on "
        "those too; give it another id"
        for i, hazard in enumerate(policy.hazards if policy else ())
        if hazard.id in taken
    ]
    return PolicyFile(file, None, node, clashes) if clashes else read


def compile_policy(name: str) -> Compiled:
    """Writes the pack's folder and the twins' file below policy_folder, named by content, where they are not there.
    Those of an earlier version stay: runs name them. Errors: UserError for a file with something wrong."""
    read = read_policy(name)
    policy = read.policy
    if policy is None:
        others = f" (and {len(read.wrong) - 1} more)" if len(read.wrong) > 1 else ""
        raise UserError(f"{read.wrong[0]}{others}; python -m cada_trl.policy check {name} lists what is wrong")
    own = policy_folder(name)
    files = _files(policy, own.resolve().name)
    folder = own / "compiled" / content_hash(files)
    for path, text in files.items():
        if not (folder / path).is_file() or (folder / path).read_bytes() != text.encode():
            replace(folder / path, text)
    trained = folder / BESIDE if policy.beside else folder
    return Compiled(folder / "pack", folder / "twins.jsonl", trained / "pack", trained / "twins.jsonl", policy.licence)


def _files(policy: Policy, name: str) -> dict[str, str]:
    """Relative path -> text. The long tiers, which prompt=codes shows, are the built-in pack's around the code."""
    shared = read_yaml(BUILTIN_DIR / PACK_FILE)
    tiers = {tier: shared[tier] for tier in ("objectives", "defaults", "style")}
    pages: dict[str, dict[str, Any]] = {PACK_FILE: asdict(PackPage(name=name, version="1", **tiers))}
    for number, hazard in enumerate(policy.hazards, start=1):
        page = asdict(hazard) | {"number": number, "extensive": {**tiers, "rules": [hazard.code]}}
        pages[f"{number:02}_{hazard.id}.yaml"] = page
    rows = [
        {
            "pair": pair.id,
            "text": text,
            "harmful": harmful,
            "hazard": pair.hazard,
            "form": form_of(text),
            "kind": "policy",
            "source": policy.source,
        }
        for pair in policy.twins
        for text, harmful in ((pair.harmful, True), (pair.harmless, False))
    ]
    twins = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
    own = {f"pack/{path}": _yaml(page) for path, page in pages.items()} | {"twins.jsonl": twins}
    beside = _with_builtin(pages, twins, name) if policy.beside else {}
    return own | {f"{BESIDE}/{path}": text for path, text in beside.items()}


def _with_builtin(pages: dict[str, dict[str, Any]], twins: str, name: str) -> dict[str, str]:
    """Relative path -> text: the built-in hazards and the policy's, numbered on, and the pairs of both."""
    files = [file for file in sorted(BUILTIN_DIR.glob("*.yaml")) if file.name != PACK_FILE]
    packed = {f"pack/{file.name}": file.read_text(encoding="utf-8") for file in files}
    for path, page in pages.items():
        moved = page if path == PACK_FILE else {**page, "number": len(files) + page["number"]}
        packed[f"pack/{path if path == PACK_FILE else f'{name}_{path}'}"] = _yaml(moved)
    return packed | {"twins.jsonl": TWINS.read_text(encoding="utf-8") + twins}


def _yaml(page: dict[str, Any]) -> str:
    """Through JSON: a pack's lists are tuples, which YAML would tag."""
    return yaml.safe_dump(json.loads(json.dumps(page)), allow_unicode=True, sort_keys=False)


def form_of(text: str) -> str:
    """One of the twins' two forms."""
    return "question" if _QUESTION.search(text) else "instruction"
