"""From `key=value` words to a checked configuration of any schema: Hydra composes, pydantic checks, both in one line.

A schema is a section of sections; a leaf name is unique in it, so `beta_kl=0.1` means `algo.beta_kl=0.1`. Its
groups are those that the primary file's defaults list names. Imports no torch.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cada_trl.config.keys import default_choices, describe_keys, unread_keys
from cada_trl.config.texts import NO_SECRETS, SECRET_ENDS, Addresses
from cada_trl.errors import HelpAsked, UserError
from cada_trl.storage.reading import read_yaml

HELP = frozenset({"-h", "--help"})
FLAGS = frozenset({"--dry-run", "--config"})
MANY = 40  # names are not listed beyond this
Positive = Annotated[int, Field(ge=1)]
NonNegative = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]  # numpy takes no other
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A group of keys: closed, immutable, without type coercion, empty text or infinite numbers."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, str_min_length=1, protected_namespaces=()
    )


Schema = TypeVar("Schema", bound=Section)


def compose_config(
    schema: type[Schema],
    conf_dir: Path,
    primary: str,
    overrides: Sequence[str],
    first: Sequence[str] = (),
    dropped: Collection[str] = (),
    typed: Collection[str] | None = None,
) -> Schema:
    """Compose conf_dir/<primary>.yaml with `key=value` overrides and check it against the schema.

    first: overrides in Hydra's own words that are applied before the others, unchecked. dropped: sections that a shared
    group file sets for another verb. typed: of the overrides, those whose key must be read by something; None: all.
    Errors: UserError in one line for an unknown key, group or choice (with the nearest name), a wrong type, or values
    that do not fit together; HelpAsked for --help.
    """
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not conf_dir.is_dir():
        raise UserError(f"no folder {conf_dir}; install the project again")
    if HELP.intersection(overrides):
        raise HelpAsked(describe_keys(conf_dir, primary, set(leaf_paths(schema).values())))
    choices = groups(conf_dir, primary)
    overrides = [word for text in overrides for word in _panel(text)]
    checked = [_full_override(text, schema, choices) for text in overrides]
    for group, _, name in (word.partition("=") for word in checked):
        if group in choices:  # Hydra leaves a traceback for what is no YAML, and writes out every alias
            read_yaml(conf_dir / group / f"{name}.yaml")

    def composed(words: Sequence[str]) -> dict[str, Any]:
        chosen = [word for word in words if word.partition("=")[0] in choices]
        try:
            composition = deepcopy(_of_choices(conf_dir, primary, (*first, *chosen)))
            for path, value in (_one_value(word) for word in words if word not in chosen):
                section, _, leaf = path.rpartition(".")
                if section and leaf not in (OmegaConf.select(composition, section) or {}):
                    raise UserError(f"{leaf}: the chosen {section}= has no such key; leave it out, or choose another")
                OmegaConf.update(composition, path, value)
            values: Any = OmegaConf.to_container(composition, resolve=True)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(_not_composed(words, error)) from error
        return {key: value for key, value in values.items() if key not in dropped}

    config = check_values(schema, composed(checked))
    read, words = flat(config.model_dump()), zip(overrides, checked, strict=True)
    given = {word.partition("=")[0] for text, word in words if typed is None or text in typed}
    for path, why in unread_keys(read, {path for path in given if read.get(path) is not None}):
        without = composed([word for word in checked if not word.startswith(f"{path}=")])
        if read[path] != flat(without)[path]:  # what the files say anyway, as in a recipe, is no mistake
            raise UserError(f"{path.rpartition('.')[2]}={read[path]}: {why}")
    return config


@cache
def _of_choices(conf_dir: Path, primary: str, choices: tuple[str, ...]) -> Any:
    """What Hydra composes of its files, which takes a quarter of a second; values are put on top of it, as it does."""
    from hydra import compose, initialize_config_dir

    with initialize_config_dir(str(conf_dir), version_base="1.3"):
        return compose(primary, overrides=[*choices])


def override_of(word: str, unreadable: str) -> Any:
    """The word in Hydra's grammar. Errors: UserError `unreadable`, which repeats no value: a password may be in it."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        return OverridesParser.create().parse_override(word)
    except HydraException as error:
        raise UserError(unreadable) from error


def _one_value(word: str) -> tuple[str, Any]:
    """(path, value). Errors: UserError as override_of, and for several values."""
    key, quotes = word.partition("=")[0], "needs quotes of its own, as in \"file='a, b.jsonl'\""
    unreadable = f"cannot read the value of {key}; one with commas, blanks, brackets or signs {quotes}"
    override = override_of(word, f"cannot read {key}; {NO_SECRETS}" if key.endswith("_url") else unreadable)
    if override.is_sweep_override():
        raise UserError(f"{key} takes one value here; several are for a sweep, and a text with commas {quotes}")
    return override.key_or_group, override.value()


def check_values(schema: type[Schema], values: Any) -> Schema:
    """Typed configuration from plain values (a composed dict, or a folder's config.yaml). Errors: UserError."""
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        raise UserError("; ".join(_explain(problem, schema) for problem in error.errors()[:3])) from error


def load_described(schema: type[Schema], folder: Path, name: str, kind: str, shared: Collection[str]) -> Schema:
    """What folder/<name>.yaml describes; kind names it in messages. A section in `shared` may name another file there.

    Errors: UserError for an unknown name, with the nearest ones, and for a file that is not such a description.
    """
    names = described(folder)
    if name not in names:
        raise UserError(f"unknown {kind} '{name}'; {nearest(name, names)}")

    def values_of(name: str) -> dict[str, Any]:
        path = folder / f"{name}.yaml"
        values = read_yaml(path)
        if not isinstance(values, dict):
            raise UserError(f"{path} is not a {kind}; expected its fields: {', '.join(schema.model_fields)}")
        return values

    values = values_of(name)
    for section in shared:
        if isinstance(values.get(section), str):
            values[section] = values_of(values[section]).get(section)
    try:
        return check_values(schema, values)
    except UserError as error:
        raise UserError(f"{folder / name}.yaml: {error}") from error


def described(folder: Path) -> list[str]:
    """The names that the folder's YAML files describe."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def leaf_paths(schema: type[Section]) -> dict[str, str]:
    """Leaf name -> dotted path, for every key of the schema."""
    sections = _sections(schema)
    paths = {leaf: f"{name}.{leaf}" for name, section in sections.items() for leaf in section.model_fields}
    return paths | {name: name for name in schema.model_fields if name not in sections}


def groups(conf_dir: Path, primary: str) -> dict[str, list[str]]:
    """Config group -> its choices, for the groups in the primary file's defaults list that a user chooses from."""
    names = sorted(name for name in default_choices(conf_dir, primary) if not name.startswith("optional "))
    return {name: described(conf_dir / name) for name in names}


def is_text_list(schema: type[Section], path: str) -> bool:
    """Whether the key at the dotted path holds a list of texts, which may be written with commas alone."""
    section, _, leaf = path.rpartition(".")
    owner = _sections(schema).get(section) if section else schema
    field = owner.model_fields.get(leaf) if owner else None
    return field is not None and field.annotation in (list[str], Addresses)


def as_override(key: str, value: Any) -> str:
    """`key=value` in Hydra's words for any plain value: text is quoted, so that commas and blanks are its own."""
    return f"{key}={_quoted(value)}"


def _quoted(value: Any) -> str:
    from hydra.core.override_parser.types import Quote, QuotedString

    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    return QuotedString(value, Quote.double).with_quotes() if isinstance(value, str) else json.dumps(value)


def split_flags(argv: Sequence[str]) -> tuple[list[str], frozenset[str]]:
    """(the other words, which of FLAGS are among these)."""
    return [word for word in argv if word not in FLAGS], FLAGS.intersection(argv)


def config_is_all(config: Section, flags: Collection[str]) -> bool:
    """Shows every value where --config asks for it. Returns whether nothing else is asked."""
    if "--config" in flags:
        print(yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True))
    return flags == {"--config"}


def is_place(word: str) -> bool:
    """Whether it names a folder: `key=value` has no slash in its key."""
    return "=" not in word or "/" in word.partition("=")[0]


def run_words(argv: list[str], schema: type[Schema]) -> Schema:
    """`RUN key=value ...` as the schema, which has a field `run`.

    Errors: UserError without one run, for a wrong key, or for one that is given twice.
    """
    if HELP.intersection(argv):
        defaults = (f"  {name}={field.default}" for name, field in schema.model_fields.items() if name != "run")
        raise HelpAsked("\n".join(["", "keys, with their defaults (None: left out)", *defaults]))
    runs = [word for word in argv if is_place(word)]
    if len(runs) != 1 or runs[0].startswith("-"):
        raise UserError(f"got {' '.join(argv) or 'nothing'}; expected one run folder and key=value, as in runs/NAME")
    words = [f"run={runs[0]}", *(word for word in argv if word not in runs)]
    values = dict(word.split("=", 1) for word in words)
    if len(values) < len(words):
        raise UserError(f"got {' '.join(argv)}; expected one run folder and each key once, as in runs/NAME to=FOLDER")
    return check_values(schema, values)


def nearest(name: str, valid: Collection[str]) -> str:
    """A mistaken name's nearest valid ones as a question, or all of them where none is near."""
    close = difflib.get_close_matches(name, list(valid), n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"valid: {', '.join(sorted(valid))}" if len(valid) <= MANY else "no name is near it; --help lists them all"


def _sections(schema: type[Section]) -> dict[str, type[Section]]:
    fields = {name: field.annotation for name, field in schema.model_fields.items()}
    return {name: kind for name, kind in fields.items() if isinstance(kind, type) and issubclass(kind, Section)}


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted path -> value, of nested mappings; an empty mapping has none."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        found |= flat(value, f"{path}.") if isinstance(value, Mapping) else {path: value}
    return found


def _not_composed(words: Sequence[str], error: Exception) -> str:
    keys = [word.partition("=")[0] for word in words]
    if pointing := [key for key, word in zip(keys, words, strict=True) if "${" in word]:
        return f"cannot read the value of {pointing[0]}; write the value itself in place of ${{...}}"
    return f"cannot read {', '.join(keys)}: {str(error).splitlines()[0]}"


def _panel(text: str) -> list[str]:
    """judge=[phrases,classifier] in the two words that it stands for."""
    members = text.removeprefix("judge=")
    return ["judge=panel", f"members={members}"] if text != members and members.startswith("[") else [text]


def _full_override(text: str, schema: type[Section], choices: dict[str, list[str]]) -> str:
    """`beta_kl=0.1` -> `algo.beta_kl=0.1`; group choices stay; unknown names raise with the nearest valid one."""
    if text.startswith(("--local_rank", "--local-rank")):
        raise UserError(
            f"{text} comes from the deepspeed launcher, which is not used here; start the verb with python -m, and it "
            "starts its ranks itself (docs/running.md)"
        )
    if text.startswith("-"):
        raise UserError(f"no option '{text}' here; expected key=value, as in model=llama3; --help lists what there is")
    if "=" not in text:
        raise UserError(f"'{text}' is not an override; expected key=value, as in model=llama3")
    key, value = text.split("=", 1)
    if key in choices:
        if value not in choices[key]:
            is_own = key == "model" and ("/" in value or Path(value).is_dir())
            advice = "; your own: source=folder path=FOLDER name=mine, or source=hub path=ORG/NAME" if is_own else ""
            raise UserError(f"{key}={value}: no such choice; {nearest(value, choices[key])}{advice}")
        return text
    paths = leaf_paths(schema)
    path = paths.get(key, key)
    if path not in paths.values():
        raise UserError(f"unknown key '{key}'; {nearest(key, [*paths.values()] if '.' in key else [*paths, *choices])}")
    if value not in {"", "null"} and value[0] not in "['\"" and is_text_list(schema, path):
        return as_override(path, [word.strip() for word in value.split(",")])
    if value[:1] not in "'\"[{" and not value.isascii() and value.isprintable():
        return as_override(path, value)  # Hydra reads such letters in quotes alone
    return f"{path}={value}"


def _explain(problem: Any, schema: type[Section]) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return f"unknown key '{where}'; {nearest(where.rsplit('.', 1)[-1], leaf_paths(schema))}"
    is_secret = where.rstrip(".0123456789").endswith(SECRET_ENDS)
    is_absent = problem["type"] == "missing"  # its input is all that stands around it
    shown = where if is_secret or is_absent else f"{where}={problem['input']!r:.100}"
    if problem["type"] == "string_type" and isinstance(problem["input"], int | float):  # bool, too
        name = where.rpartition(".")[2]
        message += f"; a text that reads as a number has quotes of its own, as in \"{name}='2024'\""
    return f"{shown}: {message}" if where else message
