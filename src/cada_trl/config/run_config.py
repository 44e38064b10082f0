"""One run's configuration: its sections and what of them fits together, words that stand for others, its content hash.

Importable without torch, so that a wrong key fails in a second.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from pydantic import model_validator

from cada_trl.config import sections
from cada_trl.config.algo import AlgoConfig, algo_misfits
from cada_trl.config.keys import unread_keys
from cada_trl.config.loading import Section, Seed, as_override, check_values, compose_config, flat, leaf_paths, nearest
from cada_trl.config.texts import Folder, Name
from cada_trl.errors import UserError
from cada_trl.hazards.policy import compile_policy
from cada_trl.storage.digest import content_hash
from cada_trl.storage.reading import read_yaml

# Ours: pairs of a training on a policy and the built-in twins, even over hazards: what SmolLM2's 150 steps take.
N_BESIDE = 1200
HOW_ASKED = ("api_key_env", "timeout_s", "max_retries", "max_calls")  # keys of a judge that decide no verdict

PACKAGE_DIR = Path(__file__).parents[1]
_CHECKOUT = PACKAGE_DIR.parents[1]
# An installed package carries hydra_conf, recipes and launch with it (setup.py).
CONF_DIR = (PACKAGE_DIR if (PACKAGE_DIR / "hydra_conf").is_dir() else _CHECKOUT) / "hydra_conf"
RECIPES_DIR = CONF_DIR.parent / "recipes"


class Config(Section):
    """One run. Every field is needed; hydra_conf/config.yaml composes them."""

    seed: Seed
    runs_dir: Folder
    run_name: Name | None  # null: <model>-<hash8>-s<seed>
    data_dir: Folder
    hazards: str  # "builtin" or a folder with a case pack
    model: sections.ModelConfig
    data: sections.DataConfig
    prompt: sections.PromptConfig
    reward: sections.RewardConfig
    judge: sections.JudgeConfig
    algo: AlgoConfig
    rollout: sections.RolloutConfig
    hardware: sections.HardwareConfig
    peft: sections.PeftConfig
    tracking: sections.TrackingConfig
    tripwires: sections.TripwiresConfig = sections.TripwiresConfig()  # all off where a run was written before them

    @model_validator(mode="after")
    def _cross_checks(self) -> Config:
        misfits = chain(algo_misfits(self.algo), _data_misfits(self.data), _misfits(self))
        if first := next(misfits, None):
            raise ValueError(first)
        return self


def _misfits(config: Config) -> Iterator[str]:
    """What of several sections does not fit together, and what to do."""
    algo, rollout, hardware = config.algo, config.rollout, config.hardware
    if config.reward.reasoning == "judged" and not config.judge.base_url:
        yield f"reasoning=judged needs a judge behind an endpoint, not {config.judge.kind}: judge=rubric"
    if algo.kl_in != "loss" and algo.learn_on == "request" and config.prompt.arm != "none":
        yield f"kl_in={algo.kl_in} needs samples of the learned prompt; set learn_on=rollout or prompt=none"
    if algo.kl_direction != "reverse" and (algo.kl, algo.kl_in) != ("exact", "loss"):
        yield (
            f"kl_direction={algo.kl_direction} is the exact KL's in the loss; kl={algo.kl} kl_in={algo.kl_in} has "
            "a direction of its own: set kl_direction=reverse, or kl=exact kl_in=loss"
        )
    if algo.benign_frac and (config.data.dataset, config.data.twins) == ("beavertails", "none"):
        yield (
            f"benign_frac={algo.benign_frac} needs harmless requests, and data=beavertails twins=none has none; set "
            "benign_frac=0.0, or twins=harmless"
        )
    if rollout.importance_cap is not None and (why_not := _no_correction(config)):
        yield f"importance_cap={rollout.importance_cap} {why_not}"
    if rollout.backend == "vllm_server" and not rollout.server_url:
        yield "rollout=vllm_server needs server_url, such as http://127.0.0.1:8000"
    n_rollouts, per_pass = algo.rollouts_per_step, hardware.micro_batch * hardware.n_processes
    if n_rollouts % per_pass:
        yield (
            f"requests_per_step x rollouts_per_request = {n_rollouts} is not divisible by "
            f"micro_batch x n_processes = {per_pass}; {_divisible(n_rollouts, hardware)}"
        )
    if rollout.backend == "vllm_server" and n_rollouts // hardware.n_processes % algo.rollouts_per_request:
        yield (
            f"rollout=vllm_server needs the {algo.rollouts_per_request} rollouts of a request in one process, and "
            f"n_processes={hardware.n_processes} cuts them apart; set requests_per_step to a multiple of it"
        )
    if algo.sampled_by == "reference" and not (algo.has_kl and rollout.backend == "transformers"):
        yield (
            "sampled_by=reference needs the reference model in this process: a beta_kl or benign_beta_kl above 0 and "
            "rollout=transformers, or sampled_by=policy"
        )
    save_every, block = config.tracking.save_every_steps, algo.steps_per_rollout
    if rest := save_every % block:
        yield (
            f"save_every_steps={save_every} is no multiple of steps_per_rollout={block}: a checkpoint between would "
            f"lose rollouts; set save_every_steps={save_every - rest + block}"
        )
    longest, room = config.data.max_prompt_tok + rollout.max_new_tok, config.model.context_tok
    if longest > room:
        yield f"max_prompt_tok + max_new_tok = {longest} exceeds the model's context_tok = {room}"
    if hardware.n_processes > 1 and hardware.launcher == "python":
        yield "n_processes > 1 needs launcher=accelerate"


def _data_misfits(data: sections.DataConfig) -> Iterator[str]:
    """A key that the dataset does not read, or one that it lacks."""
    if data.dataset != "twins":
        for name in ("n_train", "n_probe"):
            if getattr(data, name) is None:
                yield f"{name}=null is for data=twins; data={data.dataset} needs a number of rows, as in {name}=120"
        return
    if data.twins != "both":
        yield f"twins={data.twins} is for the twins beside another source; data=twins trains on both rows of a pair"
    if data.n_probe is not None:
        yield (
            f"n_probe={data.n_probe} is not read with data=twins, whose probe is a fixed third of the pairs; leave it "
            "null"
        )
    if data.sampling != "stratified":
        yield f"sampling={data.sampling} is not for data=twins, whose pairs are drawn evenly over hazards"


def _no_correction(config: Config) -> str | None:
    """Why token-level importance weights would be wrong in this run; None where they are right."""
    algo, rollout = config.algo, config.rollout
    if algo.method != "cada":
        return f"acts with method=cada only; method={algo.method} has TRL's own correction, or needs none; set null"
    if rollout.backend == "transformers":
        return "corrects vLLM's sampling; rollout=transformers samples with the trained model itself: set it to null"
    return _not_its_own_samples(config)


def _not_its_own_samples(config: Config) -> str | None:
    """Why a completion is no sample of the policy on the learned prompt, and what to set; None where it is."""
    algo = config.algo
    if algo.learn_on == "request" and config.prompt.arm != "none":
        return "needs samples of the learned prompt: set learn_on=rollout or prompt=none"
    if algo.sampled_by == "reference":
        return "needs the policy's own samples: set sampled_by=policy"
    if config.rollout.top_p < 1.0:
        return "compares with the whole distribution, and top_p < 1 samples from a part of it: set top_p=1.0"
    return None


def _divisible(n_rollouts: int, hardware: sections.HardwareConfig) -> str:
    """What to set so that the rollouts of a step fill whole micro-batches."""
    share, rest = divmod(n_rollouts, hardware.n_processes)
    if rest:
        return f"set requests_per_step to a multiple of n_processes = {hardware.n_processes}"
    fitting = max(size for size in range(1, min(share, hardware.micro_batch) + 1) if share % size == 0)
    return f"the next smaller that fits: micro_batch={fitting}"


def expand_recipes(words: Sequence[str]) -> list[str]:
    """The words with a recipe's and a policy's own in its place, so that what comes after it wins.

    recipe=smollm2/cada: the model and the overrides in recipes/smollm2/cada.yaml. policy=mine: the hazards and the
    twins that its file is compiled to, with those beside them, and how many pairs of both where no word says it.
    Errors: as recipe_words and compile_policy, for two policies, and for a policy whose twins another data= replaces.
    """
    _check_one_policy(words)
    expanded: list[str] = []
    policy = ""
    n_is_given = any(word.startswith(("n_train=", "data.n_train=")) for word in words)
    for word in words:
        key, _, name = word.partition("=")
        if key == "recipe":
            expanded += [f"model={name.partition('/')[0]}", *recipe_words(name)]
        elif key == "policy":
            policy = name
            expanded += [own for own in policy_words(name) if not (n_is_given and own.startswith("n_train="))]
        else:
            expanded.append(word)
    data = [word for word in expanded if word.startswith("data=")]
    if policy and data[-1] != "data=twins":
        raise UserError(
            f"policy={policy} brings twins of its own and {data[-1]} takes their place; leave it out, or give the "
            f"policy's hazards alone, as in {policy_words(policy, alone=True)[1]}"
        )
    return expanded


def _check_one_policy(words: Sequence[str]) -> None:
    if len(policies := [word for word in words if word.startswith("policy=")]) > 1:
        raise UserError(f"{' '.join(policies)}: expected one policy, whose words are not mixed; give one of them")


def policy_words(name: str, alone: bool = False) -> list[str]:
    """Of a training: data=twins, then hazards, file and more. alone: without what the policy's file has beside its own.

    Errors: as compile_policy.
    """
    made = compile_policy(name)
    pack, twins = (made.pack, made.twins) if alone else (made.train_pack, made.train_twins)
    words = [as_override("hazards", str(pack)), as_override("file", str(twins)), as_override("licence", made.licence)]
    return ["data=twins", *words, *([f"n_train={N_BESIDE}"] if twins != made.twins else [])]


def expand_policies(words: Sequence[str], keys: Collection[str]) -> list[str]:
    """The same for a verb that does not train: the policy's own hazards and twins_file, where it has these keys.

    Errors: as compile_policy, and for two policies.
    """
    _check_one_policy(words)
    expanded: list[str] = []
    for word in words:
        key, _, name = word.partition("=")
        if key == "policy":
            made = compile_policy(name)
            given = {"hazards": made.pack, "twins_file": made.twins}
            expanded += [as_override(key, str(path)) for key, path in given.items() if key in keys]
        else:
            expanded.append(word)
    return expanded


def recipe_words(name: str) -> list[str]:
    """The overrides of the recipe <model>/<name>. Errors: UserError for an unknown one, with the nearest."""
    files = [file for file in RECIPES_DIR.glob("*/*.yaml") if file.parent.name != "tables"]
    known = {f"{file.parent.name}/{file.stem}": file for file in files}
    if name not in known:
        raise UserError(f"recipe={name}: no such recipe; {nearest(name, known)}")
    words = read_yaml(known[name])
    if not isinstance(words, list):
        raise UserError(f"{known[name]} holds a {type(words).__name__}; expected a list of key=value")
    return [str(word) for word in words]


def load_config(overrides: list[str], typed: Collection[str] | None = None) -> Config:
    """Compose hydra_conf/config.yaml with `key=value` overrides and check it; recipe=smollm2/cada stands for its words.

    typed: as compose_config's; the words of a recipe or policy may be left unread. Errors: UserError. Imports no torch.
    """
    own = overrides if typed is None else typed
    config = compose_config(Config, CONF_DIR, "config", expand_recipes(overrides), typed=own)
    # no misfit of the schema: runs of versions that took it are there, and can be evaluated
    if config.algo.method == "cada" and config.algo.kl_in != "loss" and (why_not := _not_its_own_samples(config)):
        raise UserError(f"kl_in={config.algo.kl_in} {why_not}")
    if config.algo.method == "self_distillation" and config.prompt.arm == "none":
        raise UserError(
            "prompt=none shows the teacher what the student sees, and there is nothing to learn; set another"
        )
    if why_not := _pays_nothing(config, {word.partition("=")[0].rpartition(".")[2] for word in own}):
        raise UserError(why_not)
    return config


def _pays_nothing(config: Config, keys: Collection[str]) -> str | None:
    """Why a reward that is asked for would not be learned from; keys: of the words. No misfit of the schema, either."""
    algo = config.algo
    if algo.method in {"sft", "dpo", "self_distillation"} and config.reward.reasoning == "judged":
        return (
            f"reasoning=judged: method={algo.method} learns from no reward, and grades would be paid for and not read; "
            "take reward=paper"
        )
    paid = sorted({"benign_refused", "benign_answered", "benign_reasoned_answer"}.intersection(keys))
    if paid and algo.method in {"cada", "grpo", "rloo"} and (algo.benign_tok is not None or not algo.benign_frac):
        return (
            f"{paid[0]}: no harmless request is paid with benign_frac={algo.benign_frac} benign_tok={algo.benign_tok}; "
            "set benign_tok=null and a benign_frac, or leave it out"
        )
    return None


def unread_words(config: Config, words: Sequence[str], nulls: bool = False) -> dict[str, str]:
    """Of the words those whose key nothing reads in this configuration -> why; nulls: also of null, which asks for
    nothing."""
    paths, values = leaf_paths(Config), flat(config.model_dump())
    of_path = {paths.get(key, key): word for word in words for key in [word.partition("=")[0]]}
    set_here = {path for path in of_path if nulls or values.get(path) is not None}
    return {of_path[path]: why for path, why in unread_keys(values, set_here)}


def check_config(values: Any) -> Config:
    """Typed configuration from plain values (a run folder's config.yaml). Errors: UserError."""
    return check_values(Config, values)


def config_hash(config: Config) -> str:
    """First 8 hex digits of the SHA-256 of what decides the result: all but output, tracking, hardware, seed. How a
    judge is asked decides no verdict, and counts as its file has it."""
    left_out = {"seed", "runs_dir", "run_name", "data_dir", "hardware", "tracking", "tripwires"}
    keys: dict[str, Any] = {"rollout": {"server_url", "tensor_parallel"}, "model": {"chat"}, "judge": {"members"}}
    values = config.model_dump(exclude=keys | dict.fromkeys(left_out, True))
    file = CONF_DIR / "judge" / f"{config.judge.kind}.yaml"
    usual = read_yaml(file) if file.is_file() else {}
    values["judge"] |= {key: usual.get(key) for key in HOW_ASKED}
    return content_hash(values)


def run_name(config: Config) -> str:
    """The run folder's name: the given one, or <model>-<hash8>-s<seed>."""
    return config.run_name or f"{config.model.name}-{config_hash(config)}-s{config.seed}"
