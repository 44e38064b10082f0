"""The run folder's numbers sent on to trackers. One that fails is left out with a line, and the run goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from cada_trl.config import Config
from cada_trl.records import Verdict
from cada_trl.tracking.metrics import checked
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.tracking.trackers import TensorboardMirror, TrackioMirror, WandbMirror

# A probe pass as tables: its completions, and its verdicts by hazard.
TABLES = {
    "completions": (
        *("step", "set", "request_id", "hazard", "verdict", "reward"),
        *("request", "analysis", "final_response"),
    ),
    "hazard_slices": ("step", "set", "hazard", "asked", "refused", "complied", "unscored"),
}


class Tracker(Protocol):
    """What a tracker does; it may raise at any time."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one step or probe pass, by registered name."""
        ...

    def table(self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A table of TABLES."""
        ...

    def finish(self, succeeded: bool) -> None:
        """Close the tracker's run as finished or failed."""
        ...


class Mirror:
    """Trackers by name, each until it fails first. Nothing is read back from them: files are the truth."""

    def __init__(self, trackers: Mapping[str, Tracker], say: Callable[[str], None]) -> None:
        self._trackers, self._say = dict(trackers), say

    @classmethod
    def start(cls, config: Config, folder: RunFolder, job_type: str, say: Callable[[str], None]) -> Mirror:
        """The trackers that tracking= names, on the main process. A tracker that is off is not imported.

        Errors: UserError for one that is not installed, or W&B online without a login.
        """
        trackers: dict[str, Tracker] = {}
        if folder.is_main and config.tracking.wandb != "off":
            trackers["W&B"] = WandbMirror(config, folder, job_type, say)
        if folder.is_main and config.tracking.local_tracker == "tensorboard":
            trackers["TensorBoard"] = TensorboardMirror(config, folder)
        if folder.is_main and config.tracking.local_tracker == "trackio":
            trackers["trackio"] = TrackioMirror(config, folder)
        return cls(trackers, say)

    def log(self, step: int, metrics: Mapping[str, float | int | None]) -> None:
        """Metrics of one step or probe pass; absent values (None) are not sent. Errors: ValueError, as checked."""
        present = {name: value for name, value in checked(metrics).items() if value is not None}
        self._each(lambda tracker: tracker.log(step, present))

    def probe(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """The tables of a probe pass, from its rows."""
        tables = {
            "completions": [[step, *(row.get(column) for column in TABLES["completions"][1:])] for row in rows],
            "hazard_slices": hazard_slices(step, rows),
        }

        def send(tracker: Tracker) -> None:
            for name, table in tables.items():
                tracker.table(name, step, TABLES[name], table)

        self._each(send)

    def finish(self, succeeded: bool) -> None:
        """Close every tracker that still works."""
        self._each(lambda tracker: tracker.finish(succeeded))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as error:  # whatever a tracker raises (network, full disk), the run is worth more
                del self._trackers[name]
                about = (str(error).splitlines() or [type(error).__name__])[0]
                self._say(f"{name} stopped: {about}; the run goes on, its folder has everything")


def hazard_slices(step: int, rows: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
    """One row per set and hazard: counts of what was asked and of each verdict."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((str(row["set"]), str(row["hazard"])), []).append(str(row["verdict"]))
    kinds = (Verdict.REFUSED, Verdict.COMPLIED, Verdict.UNSCORED)
    return [
        [step, *key, len(verdicts), *(verdicts.count(str(kind)) for kind in kinds)]
        for key, verdicts in sorted(groups.items())
    ]
