"""TensorBoard's event files in <run>/tensorboard: `tensorboard --logdir runs` shows all runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cada_trl.config import Config
from cada_trl.errors import UserError
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.tracking.scrub import scrub


class TensorboardMirror:
    """Scalars by step; tables, which TensorBoard has none of, stay in the run folder. Errors: UserError without it."""

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
