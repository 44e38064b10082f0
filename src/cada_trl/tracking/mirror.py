"""The run folder's numbers sent on to trackers: W&B, TensorBoard, trackio, each imported where it is used.

The run folder stays the truth: nothing is read back from them, and one that fails is left out with a line.
"""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import partial
from typing import Any

from cada_trl.config import Config, config_hash, run_name
from cada_trl.errors import UserError, first_line
from cada_trl.records import Verdict
from cada_trl.storage.files import writing
from cada_trl.tracking.manifest import scrub
from cada_trl.tracking.metrics import METRICS, checked
from cada_trl.tracking.run_folder import RunFolder

# A probe pass as tables: its completions, and its verdicts by hazard.
TABLES = {
    "completions": (
        *("step", "set", "request_id", "hazard", "verdict", "reward"),
        *("request", "analysis", "final_response"),
    ),
    "hazard_slices": ("step", "set", "hazard", "asked", "refused", "complied", "unscored"),
}
ROWS_A_STEP = 4  # the step's metrics, and of a probe pass its metrics and two tables
# ours: how long a network that has vanished may hold up the start and the end of a run
START_LIMIT_S = 30
_TAG_CHARACTERS = 64  # W&B's most
FINISH_LIMIT_S = 60

Say = Callable[[str], None]
Rows = Sequence[Sequence[Any]]


class Mirror:
    """Trackers by name, each until it fails first."""

    def __init__(self, trackers: Mapping[str, Tracker], say: Say) -> None:
        self._trackers, self._say = dict(trackers), say

    @classmethod
    def start(cls, config: Config, folder: RunFolder, say: Say) -> Mirror:
        """The trackers that tracking= names, on the main process; one that is off is not imported, and one that does
        not start is left out with one line.

        Errors: UserError for one that is not installed, or W&B online without a login.
        """
        local = config.tracking.local_tracker
        makers: dict[str, tuple[bool, Callable[[], Tracker]]] = {
            "W&B": (config.tracking.wandb != "off", lambda: _Wandb(config, folder, say)),
            "TensorBoard": (local == "tensorboard", lambda: _Tensorboard(config, folder)),
            "trackio": (local == "trackio", lambda: _Trackio(config, folder, say)),
        }
        trackers: dict[str, Tracker] = {}
        for name, (wanted, make) in makers.items():
            if wanted and folder.is_main:
                try:
                    trackers[name] = make()
                except UserError:
                    raise
                except Exception as error:  # as in _each: on a busy machine W&B's own service may not come up in time
                    say(f"{name} did not start: {first_line(error)}; the run goes on, its folder has everything")
        return cls(trackers, say)

    def log(self, step: int, metrics: Mapping[str, float | int | None]) -> None:
        """Metrics of one step or probe pass; absent values (None) are not sent. Errors: ValueError, as checked."""
        present = {name: value for name, value in checked(metrics).items() if value is not None}
        self._each(lambda tracker: tracker.log(step, present))

    def probe(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        completions = [[step, *(row.get(column) for column in TABLES["completions"][1:])] for row in rows]
        slices = hazard_slices(step, rows)

        def send(tracker: Tracker) -> None:
            tracker.table("completions", step, completions)
            tracker.table("hazard_slices", step, slices)

        self._each(send)

    def finish(self, succeeded: bool) -> None:
        self._each(lambda tracker: tracker.finish(succeeded))

    def _each(self, act: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                act(tracker)
            except Exception as error:  # whatever a tracker raises (network, full disk), the run is worth more
                del self._trackers[name]
                self._say(f"{name} stopped: {first_line(error)}; the run goes on, its folder has everything")


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


class _Wandb:
    """offline: files under <run>/wandb, no key, no network. online: live.

    Seeds of one configuration share the group <model>-<config hash>; WANDB_RUN_GROUP names another, as a sweep does.
    The W&B id is kept in the run folder, so that a resumed run goes on in the same W&B run. Where W&B cannot be
    reached the run is offline, with one line.
    """

    def __init__(self, config: Config, folder: RunFolder, say: Say) -> None:
        self._folder, self._say = folder, say
        self._row = -1
        self._run = _start_wandb(config, folder, say)
        if not self._run.offline:
            say(f"W&B: {self._run.url}")

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """One row, at once. W&B numbers rows from 0 in each part of a resumed run, and a number is one row's alone."""
        self._row = max(self._row + 1, step * ROWS_A_STEP)
        self._run.log({"step": step, **metrics}, step=self._row, commit=True)

    def table(self, name: str, step: int, rows: Rows) -> None:
        import wandb

        self.log(step, {name: wandb.Table(columns=list(TABLES[name]), data=[list(row) for row in rows])})

    def finish(self, succeeded: bool) -> None:
        self._run.finish(exit_code=0 if succeeded else 1)
        if self._run.offline:
            runs = shlex.quote(str(self._folder.path / "wandb"))
            self._say(f"W&B is offline; to send it: wandb sync {runs}/offline-run-*")


def _start_wandb(config: Config, folder: RunFolder, say: Say) -> Any:
    import wandb

    online = config.tracking.wandb == "online"
    if online and not logged_in():
        raise UserError("W&B is online but nobody is logged in; run `wandb login` once or choose tracking=offline")
    try:
        run = _init_wandb(config, folder, "online" if online else "offline")
    except wandb.errors.Error as error:
        if not online:
            raise
        say(f"W&B did not answer ({first_line(error)}); this run is offline")
        wandb.teardown()  # or its process holds on to the run's id
        run = _init_wandb(config, folder, "offline")
    run.define_metric("step", hidden=True)
    for kind in dict.fromkeys(name.split("/")[0] for name in METRICS):
        run.define_metric(f"{kind}/*", step_metric="step")
    return run


def _init_wandb(config: Config, folder: RunFolder, mode: Any) -> Any:
    import wandb

    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # or W&B advertises it, whatever `silent` is
    id_file, algo = folder.path / "wandb_id", config.algo
    with writing(id_file):
        if not id_file.is_file():
            id_file.write_text(uuid.uuid4().hex[:8] + "\n", encoding="utf-8")
    return wandb.init(
        mode=mode,
        dir=str(folder.path),
        id=id_file.read_text(encoding="utf-8").strip(),
        job_type="train",
        tags=[
            *(config.model.name[:_TAG_CHARACTERS], config.data.dataset, f"method={algo.method}"),
            *(f"arm={config.prompt.arm}", f"learn_on={algo.learn_on}"),
        ],
        # No metadata and no code: W&B would send argv, which may hold a key.
        settings=wandb.Settings(
            console="off",
            silent=True,
            x_disable_meta=True,
            disable_code=True,
            x_transaction_log_flush_interval=1.0,  # s; a killed run's file lacks what came after the last flush
            init_timeout=START_LIMIT_S,
            finish_timeout=FINISH_LIMIT_S,
        ),
        **_about(config),
    )


def logged_in() -> bool:
    """Whether there is a key. W&B is not asked: it may be out of reach. Errors: UserError for what is no key."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.Error as error:
        raise UserError(f"W&B takes no such key: {first_line(error)}; run `wandb login`") from error


def _about(config: Config) -> dict[str, Any]:
    """How a run is named, grouped and described, and that it goes on under its name."""
    return {
        "project": config.tracking.wandb_project,
        "name": run_name(config),
        "group": os.environ.get("WANDB_RUN_GROUP") or f"{config.model.name}-{config_hash(config)}",
        "config": {**scrub(config.model_dump()), "config_hash": config_hash(config)},
        "resume": "allow",
    }


class _Tensorboard:
    """Event files in <run>/tensorboard: `tensorboard --logdir runs` shows all runs. Tables stay in the run folder."""

    def __init__(self, config: Config, folder: RunFolder) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("tracking=tensorboard needs the extra: pip install 'cada_trl[tensorboard]'") from error
        self._made: Callable[..., Any] = partial(SummaryWriter, str(folder.path / "tensorboard"))
        self._writer: Any = self._made()
        self._writer.add_text("config", f"```\n{scrub(config.model_dump())}\n```", 0)
        self._trained = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if not self._trained and "train/loss" in metrics:
            self._writer.close()
            self._writer, self._trained = self._made(purge_step=step), True  # hides what a killed run logged of it
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def table(self, name: str, step: int, rows: Rows) -> None: ...

    def finish(self, succeeded: bool) -> None:
        self._writer.close()


class _Trackio:
    """A local dashboard; its files lie where TRACKIO_DIR says, and a sweep shares a group.

    trackio knows a run by its name alone: one that goes on from a step of its folder goes on there, any other is a new
    one of that name. What trackio prints about itself is left out for one line at the end.
    """

    def __init__(self, config: Config, folder: RunFolder, say: Say) -> None:
        import pandas

        try:
            import trackio
        except ImportError as error:
            raise UserError("tracking=trackio needs the extra: pip install 'cada_trl[trackio]'") from error
        self._trackio: Any = trackio
        self._project, self._say = config.tracking.wandb_project, say
        about = _about(config) | {"resume": "allow" if (folder.path / "train.jsonl").is_file() else "never"}
        (about["config"],) = pandas.json_normalize(about["config"]).to_dict("records")  # it groups by single values
        with redirect_stdout(None):
            self._run: Any = trackio.init(embed=False, auto_log_gpu=False, auto_log_cpu=False, **about)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self._run.log(dict(metrics), step=step)

    def table(self, name: str, step: int, rows: Rows) -> None:
        import pandas

        frame = pandas.DataFrame([list(row) for row in rows], columns=list(TABLES[name]))
        self._run.log({name: self._trackio.Table(dataframe=frame)}, step=step)

    def finish(self, succeeded: bool) -> None:
        with redirect_stdout(None):
            self._trackio.finish()  # run.finish() would be called again at exit
        self._say(f"trackio has it too; to see it: trackio show --project {shlex.quote(self._project)}")


Tracker = _Wandb | _Tensorboard | _Trackio  # each may raise at any time
