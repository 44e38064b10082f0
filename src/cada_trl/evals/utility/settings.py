"""What the utility verb takes: hydra_conf/utility.yaml, typed and closed. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import model_validator

from cada_trl.config import CONF_DIR, ModelConfig
from cada_trl.config.loading import NonNegative, Positive, Section, compose_config
from cada_trl.errors import UserError
from cada_trl.models.named import model_overrides, named_model

# What hydra_conf/model sets for training
OTHER_VERBS = ("prompt", "rollout", "algo")


class UtilitySettings(Section):
    """One call of the verb; the values and their sources are in hydra_conf/utility.yaml."""

    model: ModelConfig
    tasks: list[str]
    data_root: str | None
    limit: Positive | None
    seed: NonNegative
    max_answer_tok: Positive
    batch_tok: Positive
    device: Literal["cpu", "cuda"]
    threads: NonNegative
    utility_dir: str
    against: str | None

    @model_validator(mode="after")
    def _cross_checks(self) -> UtilitySettings:
        if not self.tasks or len(set(self.tasks)) < len(self.tasks):
            raise ValueError(f"tasks={','.join(self.tasks)}: expected at least one task, each once")
        if self.max_answer_tok >= self.model.context_tok:
            raise ValueError(
                f"max_answer_tok={self.max_answer_tok}: context_tok={self.model.context_tok} has no such room"
            )
        if self.model.trust_remote_code:
            raise ValueError("trust_remote_code=true: code from a model's folder is never run here; set it to false")
        return self


def load_settings(overrides: Sequence[str]) -> UtilitySettings:
    """Settings from `key=value` words; model= takes a choice, a run folder, a model folder or a hub id.

    Errors: UserError in one line, as compose_config and named_model.
    """
    words = [text.removeprefix("model=") for text in overrides if text.startswith("model=")]
    if len(words) > 1:
        raise UserError(f"model is given {len(words)} times; expected one model a call")
    others = [text for text in overrides if not text.startswith("model=")]
    first = model_overrides(named_model(words[0])) if words else []
    return compose_config(UtilitySettings, CONF_DIR, "utility", others, first, OTHER_VERBS)
