"""What `evaluate` takes: typed and closed as the training's configuration; hydra_conf/evaluate.yaml. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import Field, model_validator

from cada_trl.config import CONF_DIR, Config, JudgeConfig, ModelConfig, PromptConfig, check_config
from cada_trl.config.loading import Fraction, NonNegative, Positive, Section, as_override, compose_config, groups
from cada_trl.models.named import model_overrides, named_model

Asking = TypeVar("Asking", bound="AsksAModel")


class GenerationConfig(Section):
    """How responses are made: greedily (paper: temperature 0), at most max_new_tok tokens each."""

    backend: Literal["transformers", "vllm"]
    max_new_tok: Positive
    batch_tok: Positive
    threads: NonNegative  # CPU threads; 0 leaves the library's choice
    n_gpu: Positive


class AttackerConfig(Section):
    """The model that writes generated attacks, and how often PAIR asks it."""

    attacker_base_url: str | None
    attacker_llm: str | None  # null: there is no attacker
    attacker_api_key_env: str | None
    attacker_timeout_s: Annotated[float, Field(gt=0.0)]
    attacker_max_retries: NonNegative
    attacker_max_calls: Positive
    n_streams: Positive
    n_iterations: Positive


class AsksAModel(Section):
    """What every verb's configuration holds that asks a model under a prompt arm and judges what it says."""

    seed: NonNegative
    hazards: str  # "builtin" or a folder with a case pack
    min_coverage: Fraction
    model: ModelConfig
    prompt: PromptConfig
    judge: JudgeConfig
    generation: GenerationConfig


class EvaluateConfig(AsksAModel):
    """One evaluation of one model. Every field is needed; hydra_conf/evaluate.yaml composes them."""

    benchmarks: list[str]
    attacks: list[str]
    limit: Positive | None  # items a benchmark; null: all
    data_root: str | None
    evals_dir: str
    attacker: AttackerConfig

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
        return self


def load_evaluate_config(overrides: Sequence[str]) -> EvaluateConfig:
    """hydra_conf/evaluate.yaml, as load_asking."""
    return load_asking(EvaluateConfig, "evaluate", overrides)


def load_asking(schema: type[Asking], primary: str, overrides: Sequence[str]) -> Asking:
    """Compose and check. model= takes a choice, a run folder, a folder with weights or a hub id (revision=).

    A run folder also gives how its prompts were written (cases_as, n_cases, hint, hazards); the arm stays "none".
    Errors: UserError, as compose_config and named_model.
    """
    first: list[str] = []
    word = _last(overrides, "model")
    others = [text for text in overrides if not text.startswith("model=")]
    if word in groups(CONF_DIR, primary)["model"]:
        others.append(f"model={word}")
    elif word is not None:
        model = named_model(word, _last(overrides, "model.revision", "revision"))
        first = [*model_overrides(model), *_prompts_of_run(Path(word).expanduser())]
    for_training = set(Config.model_fields) - set(schema.model_fields)
    return compose_config(schema, CONF_DIR, primary, others, first, for_training)


def _last(overrides: Sequence[str], *keys: str) -> str | None:
    found = [value for name, _, value in (text.partition("=") for text in overrides) if name in keys]
    return found[-1] if found else None


def _prompts_of_run(folder: Path) -> list[str]:
    file = folder / "config.yaml"
    if not file.is_file():
        return []
    run = check_config(yaml.safe_load(file.read_text(encoding="utf-8")))
    prompt = run.prompt.model_dump(exclude={"arm"})
    return [
        *(as_override(f"prompt.{key}", value) for key, value in prompt.items()),
        as_override("hazards", run.hazards),
    ]
