"""The guard of a run: it watches every step and probe, and stops the run for a tripwire or a signal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cada_trl.errors import StopAsked, StoppedByTripwire, UserError
from cada_trl.records import read_jsonl
from cada_trl.stopping import StopSignals
from cada_trl.training.run import Run, Trained
from cada_trl.training.tripwires import Row, Tripped, Watch


class Guard:
    """Watches on the main process alone: the others learn from it that the run stops."""

    def __init__(self, run: Run, signals: StopSignals) -> None:
        self._run, self._signals = run, signals
        algo = run.config.algo
        block_steps = 0 if algo.method == "self_distillation" else algo.steps_per_rollout
        self._watch = Watch(run.config.tripwires, run.pack, block_steps)
        self._stop: str | None = None  # why, in a sentence
        self._told = False  # the user, of the step at which a run that was asked to stop will end

    def step(self, step: int, metrics: Mapping[str, float | None], rows: Sequence[Row]) -> None:
        """Errors: UserError, on every process, for a gradient after which no weight is a number."""
        if not math.isfinite(metrics.get("train/grad_norm") or 0.0):
            raise UserError(
                f"the training diverged: the gradient of step {step} is not finite, and leaves no weight a number; "
                "begin another run with a lower lr, a longer warmup_frac or a lower max_grad_norm"
            )
        if self._run.folder.is_main:
            self._tell(self._watch.step(step, metrics, rows))

    def probe(self, step: int, name: str, rows: Sequence[Row]) -> None:
        """Check a probe. After the last step there is nothing left to stop: a stop is then told and no more."""
        if self._run.folder.is_main:
            self._tell(self._watch.probe(step, name, rows))

    def recall(self) -> None:
        """Take in, in silence, what the run folder holds already of a run that goes on."""
        folder = self._run.folder.path
        if not self._run.folder.is_main:
            return
        probed = {row["step"]: row["name"] for row in _read(folder / "probes.jsonl")}
        self._watch.probe(0, "before", _read(folder / "probes" / "before.jsonl"))
        for metrics in _read(folder / "train.jsonl"):
            step = metrics["step"]
            self._watch.step(step, metrics, _read(folder / "completions" / f"step_{step:06d}.jsonl"))
            if step in probed:
                self._watch.probe(step, probed[step], _read(folder / "probes" / f"{probed[step]}.jsonl"))

    def must_stop(self, trainer: Trained) -> bool:
        """Whether a tripwire or a signal says so on any process; every process must ask."""
        return trainer.any_rank(bool(self._stop or self._signals.asked))

    def stops_after(self, last_step: int, step: int) -> None:
        """Say so, once, where the run does not end at this step."""
        if last_step > step and not self._told:
            self._run.say(f"asked to stop: ends after step {last_step}, the last whose completions are sampled")
            self._told = True

    def raise_if_stopped(self, trainer: Trained) -> None:
        """After training, on every process. Errors: StoppedByTripwire, StopAsked."""
        if trainer.state.global_step >= self._run.n_steps:
            self._stop = None  # told already; nothing is left to stop
        if not self.must_stop(trainer):
            return
        if trainer.any_rank(self._stop is not None):  # of ranks with two exit codes the launcher tells the first's
            raise StoppedByTripwire(self._stop or "by a tripwire, which the first rank names")
        by, step = self._signals.asked or "another rank", trainer.state.global_step
        raise StopAsked(f"asked to by {by}, saved at step {step}; the same command goes on")

    def _tell(self, tripped: Sequence[Tripped]) -> None:
        for trip in tripped:
            self._run.folder.append_tripwire(asdict(trip))
            self._run.say(f"tripwire {trip.wire}, step {trip.step}, {trip.name}: {trip.seen}")
            if trip.action == "stop" and self._stop is None:
                self._stop = f"by the tripwire {trip.wire} at step {trip.step}: {trip.seen}; {trip.wire}=warn goes on"


def _read(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)] if path.is_file() else []
