"""The trackers that a run can be mirrored to, each imported where it is used: W&B, TensorBoard and trackio.

The run folder stays the truth, and nothing is read back from them.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cada_trl.config import Config, config_hash, run_name
from cada_trl.errors import UserError
from cada_trl.storage.files import writing
from cada_trl.tracking.metrics import METRICS
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.tracking.scrub import scrub

# ours: how long a network that has vanished may hold up the start and the end of a run
START_LIMIT_S = 30
FINISH_LIMIT_S = 60


class WandbMirror:
    """offline: files under <run>/wandb, no key, no network. online: live.

    Seeds of one configuration share the group <model>-<config hash>; WANDB_RUN_GROUP names another, as a sweep does.
    The W&B id is kept in the run folder, so that a resumed run goes on in the same W&B run. Where W&B cannot be
    reached the run is offline, with one line. Errors: UserError when online and not logged in.
    """

    def __init__(self, config: Config, folder: RunFolder, job_type: str, say: Callable[[str], None]) -> None:
        self._folder, self._say = folder, say
        self._run = _start(config, folder, job_type, say)
        if not self._run.offline:
            say(f"W&B: {self._run.url}")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Metrics of one step or probe pass, with the step as their axis."""
        self._run.log({"step": step, **metrics})

    def table(self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """A W&B table, which can be filtered, sorted and compared between runs."""
        import wandb

        self._run.log({"step": step, name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def finish(self, succeeded: bool) -> None:
        """Close the W&B run as finished or failed; an upload is waited for FINISH_LIMIT_S at most."""
        self._run.finish(exit_code=0 if succeeded else 1)
        if self._run.offline:
            self._say(f"W&B is offline; to send it: wandb sync {self._folder.path / 'wandb'}/offline-run-*")


def _start(config: Config, folder: RunFolder, job_type: str, say: Callable[[str], None]) -> Any:
    import wandb

    online = config.tracking.wandb == "online"
    if online and not logged_in():
        raise UserError("W&B is online but nobody is logged in; run `wandb login` once or choose tracking=offline")
    try:
        run = _init(config, folder, job_type, "online" if online else "offline")
    except wandb.errors.Error as error:
        if not online:
            raise
        say(f"W&B did not answer ({str(error).splitlines()[0]}); this run is offline")
        wandb.teardown()  # or its process holds on to the run's id
        run = _init(config, folder, job_type, "offline")
    run.define_metric("step", hidden=True)
    for kind in dict.fromkeys(name.split("/")[0] for name in METRICS):
        run.define_metric(f"{kind}/*", step_metric="step")
    return run


def _init(config: Config, folder: RunFolder, job_type: str, mode: Any) -> Any:
    import wandb

    os.environ.setdefault("WANDB_DISABLE_WEAVE", "true")  # or W&B advertises it, whatever `silent` is
    return wandb.init(
        mode=mode,
        dir=str(folder.path),
        project=config.tracking.wandb_project,
        name=run_name(config),
        id=_run_id(folder),
        resume="allow",
        group=_group(config),
        job_type=job_type,
        tags=[
            config.model.name,
            config.data.dataset,
            f"method={config.algo.method}",
            f"arm={config.prompt.arm}",
            f"learn_on={config.algo.learn_on}",
        ],
        config=_published(config),
        # No metadata and no code: W&B would send argv, which may hold a key.
        settings=wandb.Settings(
            console="off",
            silent=True,
            x_disable_meta=True,
            disable_code=True,
            init_timeout=START_LIMIT_S,
            finish_timeout=FINISH_LIMIT_S,
        ),
    )


def logged_in() -> bool:
    """Whether there is a key. W&B is not asked: it may be out of reach. Errors: UserError for what is no key."""
    import wandb

    try:
        return bool(wandb.login(prompt=False, verify=False))
    except wandb.errors.Error as error:
        raise UserError(f"W&B takes no such key: {str(error).splitlines()[0]}; run `wandb login`") from error


def _run_id(folder: RunFolder) -> str:
    path = folder.path / "wandb_id"
    with writing(path):
        if not path.is_file():
            path.write_text(uuid.uuid4().hex[:8] + "\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()


def _group(config: Config) -> str:
    return os.environ.get("WANDB_RUN_GROUP") or f"{config.model.name}-{config_hash(config)}"


def _published(config: Config) -> dict[str, Any]:
    return {**scrub(config.model_dump()), "config_hash": config_hash(config)}


class TensorboardMirror:
    """Event files in <run>/tensorboard: `tensorboard --logdir runs` shows all runs. Its tables stay in the run folder.

    Errors: UserError where it is not installed.
    """

    def __init__(self, config: Config, folder: RunFolder) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError("tracking=tensorboard needs the extra: pip install -e '.[tensorboard]'") from error
        self._writer: Any = SummaryWriter(str(folder.path / "tensorboard"))  # type: ignore[no-untyped-call]
        self._writer.add_text("config", f"```\n{scrub(config.model_dump())}\n```", 0)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar a metric."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def table(self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Not shown."""

    def finish(self, succeeded: bool) -> None:
        """Close the file."""
        self._writer.close()


class TrackioMirror:
    """A local dashboard: `trackio show` opens it. Its files lie where TRACKIO_DIR says; a sweep's runs share a group.

    Errors: UserError where it is not installed.
    """

    def __init__(self, config: Config, folder: RunFolder) -> None:
        try:
            import trackio
        except ImportError as error:
            raise UserError("tracking=trackio needs the extra: pip install -e '.[trackio]'") from error
        self._trackio: Any = trackio
        self._run: Any = trackio.init(
            project=config.tracking.wandb_project,
            name=run_name(config),
            group=_group(config),
            config=_published(config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """All metrics of the step at once."""
        self._run.log(dict(metrics), step=step)

    def table(self, name: str, step: int, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """As trackio's table."""
        import pandas

        frame = pandas.DataFrame([list(row) for row in rows], columns=list(columns))
        self._run.log({name: self._trackio.Table(dataframe=frame)}, step=step)

    def finish(self, succeeded: bool) -> None:
        """Write what is still waiting."""
        self._run.finish()
