"""What a verb takes: each key with its default and its source in hydra_conf/, and those that others leave unread."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
                yield Key(path, value, source or " ".join(above), _file_name(file))
            above = []
        else:
            above = []


def _file_name(file: Path) -> str:
    root = next(folder for folder in file.parents if folder.name == "hydra_conf")
    return str(file.relative_to(root.parent))


def _without_defaults(lines: list[str]) -> Iterator[str]:
    inside = False
    for line in lines:
        inside = line.startswith("defaults:") or (inside and line.startswith(" "))
        if not inside:
            yield line


# What has to hold, all of it -> the keys that nothing reads then: a value that is set there would be ignored, so it is
# refused. Methods have a table of their own (algo.py).
UNREAD = {
    "data.dataset=twins|jsonl": "data.classifier data.hub_id data.hub_revision data.hub_split",
    "data.dataset=beavertails data.file!=null": "data.hub_id data.hub_revision data.hub_split",
    "data.dataset=twins data.file=null": "data.licence",
    "data.benchmarks_dir=null": "data.decontaminate_n_gram",
    "model.source=embedded|folder": "model.revision",
    "prompt.arm=none|no_cases|codes|codes_of_hazard": "prompt.cases_as prompt.n_cases prompt.cases_by",
    "prompt.arm=none|no_cases|codes": "prompt.hint",
    "prompt.arm=cases prompt.cases_by=similarity": "prompt.hint",
    "prompt.arm=cases prompt.cases_by=hazard prompt.hint=False": "prompt.cases_as prompt.n_cases",
    "prompt.arm=cases prompt.n_cases=0": "prompt.cases_as",
    "algo.targets=direct_refusal|opening algo.benign_arm=none": (
        "prompt.cases_as prompt.n_cases prompt.cases_by prompt.hint"
    ),
    "judge.kind=phrases|classifier data.classifier!=llm": (
        "judge.base_url judge.llm judge.api_key_env judge.timeout_s judge.max_retries judge.max_calls"
    ),
    "judge.kind=wildguard|llamaguard3|harmbench judge.base_url=null": (
        "judge.api_key_env judge.timeout_s judge.max_retries"
    ),
    "algo.benign_frac=0.0": "algo.benign_arm algo.benign_tok algo.benign_beta_kl",
    "algo.method=sft algo.targets=own": "algo.refusal_text",
    "algo.targets=direct_refusal|opening algo.benign_frac=0.0": "algo.keep",
    "algo.method=dpo": "peft.dropout",  # TRL's DPOTrainer trains without any
    "algo.baseline!=running": "algo.baseline_rate algo.baseline_start",
    "algo.lr_schedule=constant": "algo.warmup_frac",
    "algo.max_steps!=null": "algo.epochs",
    "rollout.backend!=vllm_server": "rollout.server_url rollout.tensor_parallel",
    "hardware.launcher=python": "hardware.accelerate_config",
    "hardware.device=cpu": "hardware.accelerator",
    "peft.adapter=none": "peft.rank peft.alpha peft.dropout peft.target_modules",
    "tracking.wandb=off tracking.local_tracker!=trackio": "tracking.wandb_project",
    "tripwires.over_refusal=off": "tripwires.over_refusal_frac",
    "tripwires.empty_analysis=off": "tripwires.empty_analysis_words tripwires.empty_analysis_frac",
    "tripwires.copied_analysis=off": "tripwires.copied_n_gram tripwires.copied_analysis_frac",
    "tripwires.length_collapse=off": "tripwires.length_collapse_frac",
    "tripwires.kl_jump=off": "tripwires.kl_jump_factor tripwires.kl_jump_nats",
    "tripwires.unscored=off": "tripwires.unscored_share_frac",
    "tripwires.sampler_gap=off": "tripwires.sampler_gap_limit_nats",
    "tripwires.reward_without_safety=off": "tripwires.reward_gain tripwires.asr_floor_frac",
    "generation.backend=transformers": "generation.n_gpu",
    "generation.backend=vllm": "generation.batch_tok",
    "attacker.attacker_llm=null": (
        "attacker.attacker_api_key_env attacker.attacker_timeout_s attacker.attacker_max_retries "
        "attacker.attacker_max_calls attacker.n_streams attacker.n_iterations"
    ),
    "attacks!=pair_adaptive": "attacker.n_streams attacker.n_iterations",
    "limit=null": "seed",
    "search=grid": "n_trials space",
    "submit=here": "slurm_args",
    "submit=slurm": "jobs",
}
_GROUPS = {"data.dataset", "judge.kind", "rollout.backend", "peft.adapter", "prompt.arm"}  # chosen as data=, judge=


def unread_keys(values: Mapping[str, Any], paths: set[str]) -> Iterator[tuple[str, str]]:
    """(key, why nothing reads it and what to do) for those of the paths; values: of every key by its dotted path."""
    for conditions, keys in UNREAD.items():
        unread = paths.intersection(keys.split())
        if unread and all(_holds(values, condition) for condition in conditions.split()):
            places = [place for place in map(_place, conditions.split()) if place in values]
            said = " ".join(f"{_typed(place)}={_text(values[place])}" for place in places)
            why = f"nothing reads it with {said}; leave it out, or change {_typed(places[0])}"
            yield from ((key, why) for key in unread)


def _holds(values: Mapping[str, Any], condition: str) -> bool:
    """A list equals each of its elements; a key that the schema does not have equals nothing."""
    value = values.get(_place(condition), [])
    texts = {_text(one) for one in (value if isinstance(value, list) else [value])}
    return texts.isdisjoint(condition.partition("=")[2].split("|")) is ("!=" in condition)


def _place(condition: str) -> str:
    return condition.partition("=")[0].rstrip("!")


def _typed(place: str) -> str:
    section, _, leaf = place.rpartition(".")
    return section if place in _GROUPS else leaf


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_text, value))
    return "null" if value is None else str(value)
