"""What `faithfulness` takes: hydra_conf/faithfulness.yaml, typed and closed. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import model_validator

from cada_trl.config.loading import Positive, as_override
from cada_trl.evals.settings import AsksAModel, load_asking


class FaithfulnessConfig(AsksAModel):
    """One model's probes under one prompt arm; the values and their sources are in hydra_conf/faithfulness.yaml."""

    items: str | None
    limit: Positive  # harmful items, and as many harmless ones
    keep_sentences: Positive
    faithfulness_dir: str

    @model_validator(mode="after")
    def _cross_checks(self) -> FaithfulnessConfig:
        if self.model.chat != "template":
            raise ValueError(f"chat={self.model.chat} has no place for a begun answer; probe it with chat=template")
        return self


def load_faithfulness_config(overrides: Sequence[str]) -> FaithfulnessConfig:
    """Compose and check, as load_asking; without items= those of the model's own run where model= is a run folder."""
    words = [text.removeprefix("model=") for text in overrides if text.startswith("model=")]
    own = words and (Path(words[-1]).expanduser() / "probes" / "before.jsonl").is_file()
    given = any(text.startswith("items=") for text in overrides)
    items = [as_override("items", words[-1])] if own and not given else []
    return load_asking(FaithfulnessConfig, "faithfulness", [*items, *overrides])
