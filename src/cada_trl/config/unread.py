"""Keys that other choices leave unread: a value that is set there would be ignored, so it is refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# What has to hold, all of it -> the keys that nothing reads then. Methods have a table of their own (algo.py).
UNREAD = {
    "data.dataset=twins|jsonl": "data.classifier data.hub_id data.hub_revision data.hub_split",
    "data.dataset=beavertails data.file!=null": "data.hub_id data.hub_revision data.hub_split",
    "data.dataset=twins data.file=null": "data.licence",
    "data.benchmarks_dir=null": "data.decontaminate_n_gram",
    "model.source=embedded|folder": "model.revision",
    "prompt.arm=none|no_cases|codes|codes_of_hazard": "prompt.cases_as prompt.n_cases prompt.cases_by",
    "prompt.arm=none|no_cases|codes": "prompt.hint",
    "prompt.arm=cases prompt.cases_by=similarity": "prompt.hint",
    "judge.kind=phrases|classifier data.classifier!=llm": (
        "judge.base_url judge.llm judge.api_key_env judge.timeout_s judge.max_retries judge.max_calls"
    ),
    "judge.kind=wildguard|llamaguard3|harmbench judge.base_url=null": (
        "judge.api_key_env judge.timeout_s judge.max_retries"
    ),
    "algo.benign_frac=0.0": "algo.benign_arm algo.benign_tok algo.benign_beta_kl",
    "algo.baseline!=running": "algo.baseline_rate algo.baseline_start",
    "algo.lr_schedule=constant": "algo.warmup_frac",
    "algo.max_steps!=null": "algo.epochs",
    "rollout.backend!=vllm_server": "rollout.server_url rollout.tensor_parallel",
    "hardware.launcher=python": "hardware.accelerate_config",
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
    "limit=null": "seed",
    "search=grid": "n_trials space",
    "submit=here": "slurm_args",
}
_GROUPS = {"data.dataset", "judge.kind", "rollout.backend", "peft.adapter", "prompt.arm"}  # chosen as data=, judge=


def unread_keys(values: Mapping[str, Any], paths: set[str]) -> Iterator[tuple[str, str]]:
    """(key, why nothing reads it and what to do) for those of the paths; values: of every key by its dotted path."""
    for conditions, keys in UNREAD.items():
        unread = paths.intersection(keys.split())
        if unread and all(_holds(values, condition) for condition in conditions.split()):
            places = [place for place in map(_place, conditions.split()) if place in values]
            names = [_name(place) for place in places]
            said = " ".join(f"{name}={_text(values[place])}" for name, place in zip(names, places, strict=True))
            yield from ((key, f"nothing reads it with {said}; leave it out, or change {names[0]}") for key in unread)


def _holds(values: Mapping[str, Any], condition: str) -> bool:
    """A key that the schema does not have equals nothing."""
    place = _place(condition)
    is_one = place in values and _text(values[place]) in condition.partition("=")[2].split("|")
    return is_one is not ("!=" in condition)


def _place(condition: str) -> str:
    return condition.partition("=")[0].rstrip("!")


def _name(place: str) -> str:
    section, _, leaf = place.rpartition(".")
    return section if place in _GROUPS else leaf


def _text(value: Any) -> str:
    return "null" if value is None else str(value)
