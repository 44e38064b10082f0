"""What the stages of one run share, and what a run asks of the trainer that a method builds."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from cada_trl.config import Config
from cada_trl.hazards.pack import HazardPack
from cada_trl.judging.judge import Judge
from cada_trl.judging.reasoning_judge import ReasoningJudge
from cada_trl.reward import ScoredCompletion, score_completions
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.run_folder import RunFolder

if TYPE_CHECKING:
    from cada_trl.data.prepared import PreparedData

# (optimiser step, metrics by their registered names, a dict a completion sampled in the step), on every process
Record = Callable[[int, dict[str, float], list[dict[str, Any]]], None]


class Trained(Protocol):
    """The trainer of a method: trainers/in_run.py gives a trainer of TRL what this asks for."""

    model: Any
    state: Any

    def reference_hash(self) -> str | None:
        """SHA-256 of the frozen weights; None without a reference."""
        ...

    def sampling_model(self) -> AbstractContextManager[Any]:
        """The policy made ready to generate."""
        ...

    def any_rank(self, here: bool) -> bool:
        """Whether it holds on some process; every process must ask."""
        ...

    def stop_here(self) -> None:
        """End training at the step that is being recorded, with a checkpoint."""
        ...

    def train(self, resume_from_checkpoint: str | None = None) -> Any:
        """Train to the last step; calls record once a step."""
        ...

    def save_model(self, output_dir: str) -> None:
        """Save the policy."""
        ...


@dataclass
class Run:
    """One run, from its configuration to its folder."""

    config: Config
    folder: RunFolder
    data: PreparedData
    pack: HazardPack
    judge: Judge
    reasoning_judge: ReasoningJudge | None
    tokenizer: Any
    mirror: Mirror
    manifest: dict[str, Any]
    say: Callable[[str], None]

    @property
    def n_steps(self) -> int:
        """Optimiser steps: a function of the requests, the same for every method."""
        from cada_trl.trainers.arguments import n_steps

        return n_steps(self.config, len(self.data.train))

    def note(self, key: str, facts: dict[str, Any]) -> None:
        """Add facts to the manifest at once."""
        self.manifest[key] = facts
        self.folder.write_manifest(self.manifest)

    def score(self, rows: list[dict[str, Any]], texts: list[str], truncated: list[bool]) -> list[ScoredCompletion]:
        """Judge and pay completions of dataset rows (`request`, `hazard`, `harmful`)."""
        return score_completions(
            [row["request"] for row in rows],
            texts,
            truncated,
            [row["harmful"] for row in rows],
            self.judge,
            self.config.reward,
            self.reasoning_judge,
            [row["hazard"] for row in rows],
        )
