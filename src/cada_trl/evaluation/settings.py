"""What evaluate, faithfulness and utility take: typed and closed, from hydra_conf/<verb>.yaml. No torch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field, model_validator

from cada_trl.config import CONF_DIR, Config, JudgeConfig, ModelConfig, PromptConfig
from cada_trl.config.loading import Fraction, NonNegative, Positive, Section, Seed, as_override, compose_config, groups
from cada_trl.config.run_config import expand_policies
from cada_trl.config.texts import Address, Folder, Variable
from cada_trl.data.own_sets import TWIN_SETS, count_seen
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks import generated
from cada_trl.hazards.pack import TWINS
from cada_trl.models.load import run_config, runs_behind
from cada_trl.models.named import model_overrides, named_model
from cada_trl.storage.digest import CONFIG, check_same_inputs, file_sha256

Schema = TypeVar("Schema", bound=Section)
Backend = Literal["transformers", "vllm"]
WHICH_MODEL = ("source", "path", "name")  # keys of `model` that put another model into the place of the one named


class GenerationConfig(Section):
    """How responses are made: greedily (paper: temperature 0), at most max_new_tok tokens each.

    batch_tok: tokens of prompts and answers that transformers holds at once (vLLM fills the memory it is given).
    n_gpu: GPUs that share one copy of the model, vLLM only.
    """

    backend: Backend
    max_new_tok: Positive
    batch_tok: Positive
    threads: NonNegative  # CPU threads; 0 leaves the library's choice
    n_gpu: Positive = 1


class AttackerConfig(Section):
    """The model that writes generated attacks, and how often PAIR asks it."""

    attacker_base_url: Address | None
    attacker_llm: str | None  # null: there is no attacker
    attacker_api_key_env: Variable | None
    attacker_timeout_s: Annotated[float, Field(gt=0.0)]
    attacker_max_retries: NonNegative
    attacker_max_calls: Positive
    n_streams: Positive
    n_iterations: Positive


class AsksAModel(Section):
    """What every verb's configuration holds that asks a model under a prompt arm and judges what it says."""

    seed: Seed
    model: ModelConfig
    hazards: str  # "builtin" or a folder with a case pack
    min_coverage: Fraction
    prompt: PromptConfig
    judge: JudgeConfig
    generation: GenerationConfig


class EvaluateConfig(AsksAModel):
    """One evaluation of one model. Every field is needed; hydra_conf/evaluate.yaml composes them."""

    benchmarks: list[str]
    attacks: list[str]
    limit: Positive | None  # items per benchmark; null: all
    data_root: str | None
    twins_file: str | None
    evals_dir: Folder
    shard: str | None
    attacker: AttackerConfig

    @property
    def cache_dir(self) -> Path:
        """What judge and attacker models said, for every evaluation below evals_dir."""
        return Path(self.evals_dir) / "cache"

    @model_validator(mode="after")
    def _cross_checks(self) -> EvaluateConfig:
        for key in ("benchmarks", "attacks"):
            names = getattr(self, key)
            if not names:
                raise ValueError(f"{key} is empty; expected names with commas, as in {key}=a,b")
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{key} names {', '.join(twice)} twice; once is enough")
        if (self.attacker.attacker_llm is None) != (self.attacker.attacker_base_url is None):
            raise ValueError("an attacker needs both attacker_base_url and attacker_llm")
        if self.attacker.attacker_llm and not generated(self.attacks):
            raise ValueError(
                f"attacks={','.join(self.attacks)} has none that an attacker writes; leave attacker_llm out, or add "
                "one, as in attacks=none,paraphrase"
            )
        return self


class FaithfulnessConfig(AsksAModel):
    """One model's probes under one prompt arm; the values and their sources are in hydra_conf/faithfulness.yaml."""

    items: str | None
    twins_file: str | None
    limit: Positive  # harmful items, and as many harmless ones
    keep_sentences: Positive
    faithfulness_dir: Folder

    @model_validator(mode="after")
    def _cross_checks(self) -> FaithfulnessConfig:
        if self.judge.judge_sees != "final_response":
            raise ValueError(
                f"judge_sees={self.judge.judge_sees} shows the judge the analysis that is put in; leave it out"
            )
        if self.model.chat != "template":
            raise ValueError(f"chat={self.model.chat} has no place for a begun answer; probe it with chat=template")
        if self.prompt.arm == "cases" and self.prompt.cases_by == "similarity":
            raise ValueError(
                "cases_by=similarity has no other hazard's cases to put in their place; set cases_by=hazard"
            )
        return self


class UtilityConfig(Section):
    """One model's utility tasks; the values and their sources are in hydra_conf/utility.yaml."""

    seed: Seed
    model: ModelConfig
    tasks: list[str]
    data_root: str | None
    limit: Positive | None
    max_answer_tok: Positive
    batch_tok: Positive
    device: Literal["cpu", "cuda"]
    threads: NonNegative
    utility_dir: Folder
    against: str | None

    @model_validator(mode="after")
    def _cross_checks(self) -> UtilityConfig:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={','.join(self.tasks)}: expected at least one task, each once")
        if self.max_answer_tok >= self.model.context_tok:
            raise ValueError(
                f"max_answer_tok={self.max_answer_tok}: context_tok={self.model.context_tok} has no such room"
            )
        if self.model.trust_remote_code:
            raise ValueError("trust_remote_code=true: code from a model's folder is never run here; set it to false")
        return self


def load_evaluate_config(overrides: Sequence[str]) -> EvaluateConfig:
    """hydra_conf/evaluate.yaml, as load_about; a suite also asks the held-out twins of one's own, where there are some.

    Without data_root a suite asks held-out twins alone, which are shipped: no suite can do without its files. Errors:
    UserError also for held-out twins that the run's model was trained on: those of a later text of its policy.
    """
    config = load_about(EvaluateConfig, "evaluate", overrides)
    if _last(overrides, "benchmarks") is None and not (config.data_root and config.twins_file is None):
        suites = config.benchmarks if config.data_root else []
        config = config.model_copy(update={"benchmarks": list(dict.fromkeys([*TWIN_SETS, *suites]))})
    if TWIN_SETS.keys() & set(config.benchmarks):
        _check_unseen(config)
    return config


def load_faithfulness_config(overrides: Sequence[str]) -> FaithfulnessConfig:
    """As load_about; without items= those of the model's own run where model= is a run folder."""
    word = _last(overrides, "model")
    its_own = word is not None and (Path(word).expanduser() / "probes" / "before.jsonl").is_file()
    items = [as_override("items", word)] if its_own and _last(overrides, "items") is None else []
    return load_about(FaithfulnessConfig, "faithfulness", [*items, *overrides])


def load_utility_config(overrides: Sequence[str]) -> UtilityConfig:
    """hydra_conf/utility.yaml, as load_about. Errors: UserError also for a model that is given twice."""
    n_models = sum(text.startswith("model=") for text in overrides)
    if n_models > 1:
        raise UserError(f"model is given {n_models} times; expected one model a call")
    return load_about(UtilityConfig, "utility", overrides)


def load_about(schema: type[Schema], primary: str, overrides: Sequence[str]) -> Schema:
    """Compose and check. model= takes a choice, a run folder, a folder with weights or a hub id (revision=).

    A run folder also gives how its prompts were written (cases_as, n_cases, hint, hazards) and its own twins; the arm
    stays "none".
    policy= gives the hazards and twins of a policy file. Errors: UserError, as compose_config and named_model, and for
    a second word on which model it is: its numbers would stand under the first one's name.
    """
    first: list[str] = []
    if issubclass(schema, AsksAModel):
        overrides = expand_policies(overrides, schema.model_fields)
    word = _last(overrides, "model")
    others = [text for text in overrides if not text.startswith("model=")]
    if word in groups(CONF_DIR, primary)["model"]:
        others.append(f"model={word}")
    elif word is not None:
        if second := [text for text in others if text.partition("=")[0].removeprefix("model.") in WHICH_MODEL]:
            raise UserError(f"{second[0]}: model={word} says already which model it is; give one of the two")
        model = named_model(word, _last(overrides, "model.revision", "revision"))
        first = [*model_overrides(model)]
        if issubclass(schema, AsksAModel):
            first += _of_run(Path(word).expanduser(), schema.model_fields)
    # What hydra_conf/model sets for training
    for_training = set(Config.model_fields) - set(schema.model_fields)
    return compose_config(schema, CONF_DIR, primary, others, first, for_training)


def _last(overrides: Sequence[str], *keys: str) -> str | None:
    values = [value for name, _, value in (text.partition("=") for text in overrides) if name in keys]
    return values[-1] if values else None


def _of_run(folder: Path, keys: Collection[str]) -> list[str]:
    if not (folder / CONFIG).is_file():
        return []
    run = run_config(folder)
    given = {f"prompt.{key}": value for key, value in run.prompt.model_dump(exclude={"arm"}).items()}
    given["hazards"] = run.hazards
    if "twins_file" in keys:
        given["twins_file"] = _twins_of(run)
    return [as_override(key, value) for key, value in given.items()]


def _twins_of(run: Config) -> str | None:
    return run.data.file if run.data.dataset == "twins" else None


def _check_unseen(config: EvaluateConfig) -> None:
    for folder in runs_behind(Path(config.model.path)) if config.model.source == "folder" else ():
        run, path = run_config(folder), folder / "final"
        own = _twins_of(run)
        _check_same_twins(folder, run)
        if config.twins_file != own and (n_seen := count_seen(config.twins_file, run.data)):
            began = "" if path == Path(config.model.path) else f", from which {config.model.path} began,"
            raise UserError(
                f"{n_seen} of the held-out pairs of {config.twins_file or 'the embedded twins'} are, or nearly are, "
                f"among the requests that {path}{began} may have been trained on; evaluate with "
                f"twins_file={own or 'null'}, or train again{' from an untrained model' if began else ''}"
            )


def _check_same_twins(folder: Path, run: Config) -> None:
    """Which pairs a run held out follows from its twins' file. Errors: UserError as check_same_inputs."""
    key, file = ("file", Path(run.data.file).expanduser()) if run.data.file else ("twins", TWINS)
    if run.data.dataset == "twins" and file.is_file():
        check_same_inputs(folder, {"data": {"inputs": {"sha256": {key: file_sha256(file)}}}})
