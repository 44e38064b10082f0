"""What a verb takes: every key with its default and the source beside it in hydra_conf/, by the file that sets it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from cada_trl.storage.reading import read_yaml

_KEY = re.compile(r"^( *)(\w+):(?: +|$)([^#]*?) *(?:# ?(.*))?$")
_SOURCES_FROM = 34  # column


@dataclass(frozen=True)
class Key:
    """path: dotted, as in algo.lr. value: as written in the file, which begins with hydra_conf/."""

    path: str
    value: str
    source: str
    file: str


def default_choices(conf_dir: Path, primary: str) -> dict[str, str]:
    """Config group -> the file that the primary file's defaults list takes; `optional` ones follow from the others."""
    listed = read_yaml(conf_dir / f"{primary}.yaml")["defaults"]
    return {group: choice for entry in listed if isinstance(entry, dict) for group, choice in entry.items()}


def default_keys(conf_dir: Path, primary: str) -> dict[str, Key]:
    """Dotted path -> the key as the last file sets it that Hydra composes where no override is given."""
    choices = default_choices(conf_dir, primary)
    keys: dict[str, Key] = {}
    for group, choice in choices.items():
        chosen = re.sub(r"\$\{(\w+)\}", lambda match: str(choices[match.group(1)]), choice)
        file = conf_dir / group.removeprefix("optional ") / f"{chosen}.yaml"
        if file.is_file():
            keys |= {key.path: key for key in _keys(file, group)}
    return keys | {key.path: key for key in _keys(conf_dir / f"{primary}.yaml", "_global_")}


def describe_keys(conf_dir: Path, primary: str, paths: set[str]) -> str:
    """The keys among `paths`, a line each, under the file that sets their defaults; then the choices of files."""
    by_file: dict[str, list[Key]] = {}
    for key in default_keys(conf_dir, primary).values():
        if key.path in paths:
            by_file.setdefault(key.file, []).append(key)
    lines = []
    for file, keys in by_file.items():
        lines.append(f"\n{file}")
        for key in keys:
            given = f"  {key.path.rpartition('.')[2]}={key.value}"
            lines.append(f"{given:{_SOURCES_FROM}}{'  ' * bool(key.source)}{key.source}".rstrip())
    choices = [
        f"  {group}={choice:20}  {' | '.join(sorted(file.stem for file in (conf_dir / group).glob('*.yaml')))}"
        for group, choice in default_choices(conf_dir, primary).items()
        if " " not in group
    ]
    return "\n".join([*lines, *(["\nfiles to choose from", *choices] if choices else [])])


def _keys(file: Path, package: str) -> Iterator[Key]:
    """The file's keys, those of the files that it builds on first."""
    text = file.read_text(encoding="utf-8")
    if header := re.match(r"# @package (\S+)", text):
        package = header.group(1)
    prefix = [] if package == "_global_" else [package.removeprefix("optional ")]
    for entry in (yaml.safe_load(text) or {}).get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            yield from _keys(file.parent / f"{entry.partition('@')[0]}.yaml", package)
    above: list[str] = []  # the comment lines before a key, its source where none stands beside it
    sections: list[str] = []
    for line in _without_defaults(text.splitlines()):
        if line.startswith("#"):
            above += [] if line.startswith("# @package") else [line.lstrip("# ")]
        elif match := _KEY.match(line):
            indent, name, value, source = match.groups()
            sections = [*sections[: len(indent) // 2], name]
            if value:
                path = ".".join([*prefix, *sections])
                yield Key(path, value, source or " ".join(above), _place(file))
            above = []
        else:
            above = []


def _place(file: Path) -> str:
    root = next(folder for folder in file.parents if folder.name == "hydra_conf")
    return str(file.relative_to(root.parent))


def _without_defaults(lines: list[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        inside = line.startswith("defaults:") or (inside and line.startswith(" "))
        if not inside:
            yield line
