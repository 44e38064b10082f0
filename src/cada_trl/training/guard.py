"""Whether a run must stop before its end: by a tripwire, which is said and kept in tripwires.jsonl, or by a signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cada_trl.errors import StopAsked, StoppedByTripwire
from cada_trl.records import read_jsonl
from cada_trl.stopping import StopSignals
from cada_trl.training.run import Run, Trained
from cada_trl.training.tripwires import Tripped, Watch

Rows = Sequence[Mapping[str, Any]]


class Guard:
    """Watches on the main process alone: the others learn from it that the run stops."""

    def __init__(self, run: Run, signals: StopSignals) -> None:
        self._run, self._signals = run, signals
        algo = run.config.algo
        block_steps = 0 if algo.method == "self_distillation" else algo.steps_per_rollout
        self._watch = Watch(run.config.tripwires, run.pack, block_steps)
        self._stop: str | None = None  # why, in a sentence

    def step(self, step: int, metrics: Mapping[str, float | None], rows: Rows) -> None:
        if self._run.folder.is_main:
            self._tell(self._watch.step(step, metrics, rows))

    def probe(self, step: int, name: str, rows: Rows) -> None:
        """Check a probe. After the last step there is nothing left to stop: a stop is then told and no more."""
        if self._run.folder.is_main:
            self._tell(self._watch.probe(step, name, rows))

    def recall(self) -> None:
        """Take in, in silence, what the run folder holds already of a run that goes on."""
        folder = self._run.folder.path
        if not self._run.folder.is_main:
            return
        probed = {row["step"]: row["name"] for row in _rows(folder / "probes.jsonl")}
        self._watch.probe(0, "before", _rows(folder / "probes" / "before.jsonl"))
        for metrics in _rows(folder / "train.jsonl"):
            step = metrics["step"]
            self._watch.step(step, metrics, _rows(folder / "completions" / f"step_{step:06d}.jsonl"))
            if step in probed:
                self._watch.probe(step, probed[step], _rows(folder / "probes" / f"{probed[step]}.jsonl"))

    def must_stop(self, trainer: Trained) -> bool:
        """Whether a tripwire or a signal says so on any process; every process must ask."""
        return trainer.any_rank(bool(self._stop or self._signals.asked))

    def raise_if_stopped(self, trainer: Trained) -> None:
        """After training, on every process. Errors: StoppedByTripwire, StopAsked."""
        if not self.must_stop(trainer):
            return
        if self._stop:
            raise StoppedByTripwire(self._stop)
        by, step = self._signals.asked or "another rank", trainer.state.global_step
        raise StopAsked(f"asked to by {by}, saved at step {step}; the same command goes on")

    def _tell(self, tripped: Sequence[Tripped]) -> None:
        for trip in tripped:
            self._run.folder.append_tripwire(trip.as_row())
            self._run.say(f"tripwire {trip.wire}, step {trip.step}, {trip.name}: {trip.seen}")
            if trip.action == "stop" and self._stop is None:
                self._stop = f"by the tripwire {trip.wire} at step {trip.step}: {trip.seen}; {trip.wire}=warn goes on"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [row for _, row in read_jsonl(path)] if path.is_file() else []
