"""Hugging Face trackio, a local dashboard: `trackio show` opens it. Its files lie where TRACKIO_DIR says."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from cada_trl.config import Config, config_hash, run_name
from cada_trl.errors import UserError
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.tracking.scrub import scrub


class TrackioMirror:
    """Scalars and tables of one run. A sweep's runs share a group. Errors: UserError where it is not installed."""

    def __init__(self, config: Config, folder: RunFolder) -> None:
        try:
            import trackio
        except ImportError as error:
            raise UserError("tracking=trackio needs the extra: pip install -e '.[trackio]'") from error
        digest = config_hash(config)
        self._trackio: Any = trackio
        self._run: Any = trackio.init(
            project=config.tracking.wandb_project,
            name=run_name(config),
            group=os.environ.get("WANDB_RUN_GROUP") or f"{config.model.name}-{digest}",
            config=scrub(config.model_dump()) | {"config_hash": digest},
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
