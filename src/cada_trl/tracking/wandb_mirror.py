"""Mirrors what the run folder holds to Weights & Biases; the files stay the truth and nothing is read back from W&B."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from cada_trl.config import Config, config_hash, run_name
from cada_trl.errors import UserError
from cada_trl.tracking.metrics import checked
from cada_trl.tracking.run_folder import RunFolder, writing
from cada_trl.tracking.scrub import scrub

_COLUMNS = ("step", "request_id", "hazard", "harmful", "request", "analysis", "final_response", "verdict", "reward")


class WandbMirror:
    """off: does nothing and imports nothing. offline: files under <run>/wandb, no key, no network. online: live.

    Seeds of one configuration share the group <model>-<config hash>; WANDB_RUN_GROUP names another, as a sweep does.
    The W&B id is kept in the run folder, so that a resumed run goes on in the same W&B run. Errors: UserError when
    online and not logged in.
    """

    def __init__(self, config: Config, folder: RunFolder, job_type: str) -> None:
        self._run = _start(config, folder, job_type) if config.tracking.wandb != "off" and folder.is_main else None

    def log(self, step: int, metrics: Mapping[str, float | int | None]) -> None:
        """Metrics of one step or probe pass; absent values (None) are not sent."""
        if self._run is not None:
            self._run.log(
                {"step": step} | {name: value for name, value in checked(metrics).items() if value is not None}
            )

    def completions(self, step: int, rows: Iterable[Mapping[str, Any]]) -> None:
        """A table of completions with verdict and reward, under the name completions."""
        if self._run is not None:
            import wandb

            data = [[step, *(row.get(column) for column in _COLUMNS[1:])] for row in rows]
            self._run.log({"step": step, "completions": wandb.Table(columns=list(_COLUMNS), data=data)})

    def finish(self, succeeded: bool) -> None:
        """Close the W&B run as finished or failed."""
        if self._run is not None:
            self._run.finish(exit_code=0 if succeeded else 1)


def _start(config: Config, folder: RunFolder, job_type: str) -> Any:
    import wandb

    if config.tracking.wandb == "online" and not _logged_in():
        raise UserError("W&B is online but nobody is logged in; run `wandb login` once or choose tracking=offline")
    digest = config_hash(config)
    try:
        run = wandb.init(
            mode="online" if config.tracking.wandb == "online" else "offline",
            dir=str(folder.path),
            project=config.tracking.wandb_project,
            name=run_name(config),
            id=_run_id(folder),
            resume="allow",
            group=os.environ.get("WANDB_RUN_GROUP") or f"{config.model.name}-{digest}",
            job_type=job_type,
            tags=[
                config.model.name,
                config.data.dataset,
                f"arm={config.prompt.arm}",
                f"learn_on={config.algo.learn_on}",
            ],
            config=scrub(config.model_dump()) | {"config_hash": digest},
            # No metadata and no code: W&B would send argv, which may hold a key.
            settings=wandb.Settings(console="off", silent=True, x_disable_meta=True, disable_code=True),
        )
    except wandb.errors.Error as error:
        raise UserError(f"W&B did not start: {str(error).splitlines()[0]}; choose tracking=offline") from error
    run.define_metric("step", hidden=True)
    run.define_metric("train/*", step_metric="step")
    run.define_metric("probe/*", step_metric="step")
    return run


def _logged_in() -> bool:
    import wandb

    return bool(wandb.login(prompt=False))


def _run_id(folder: RunFolder) -> str:
    path = folder.path / "wandb_id"
    with writing(path):
        if not path.is_file():
            path.write_text(uuid.uuid4().hex[:8] + "\n", encoding="utf-8")
        return path.read_text(encoding="utf-8").strip()
