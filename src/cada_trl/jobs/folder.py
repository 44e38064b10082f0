"""The folder of one sweep, held by one process at a time.

sweep.json  sweep.md  ledger.jsonl  cells/<id>.sh  logs/<id>.log  study.db (a search's trials)
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from cada_trl.errors import UserError
from cada_trl.storage.files import held, read_json

STUDY = "study.db"  # a search's trials, optuna's own file


class SweepFolder:
    """Where the files are."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[SweepFolder]:
        """The folder, made where there is none. Errors: UserError when another sweep holds it or it is not writable."""
        busy = f"{path} is in use by another sweep; wait for it or give a sweep_name of your own"
        with held(path / "sweep.lock", busy, "choose another sweeps_dir"):
            (path / "logs").mkdir(exist_ok=True)
            yield cls(path)

    def check_same_sweep(self, cell_ids: Collection[str] | None) -> None:
        """Refuse to write over another sweep's record; a grid may grow, and so may a search (cell_ids None).

        Errors: UserError, also when sweep.json cannot be read.
        """
        file = self.path / "sweep.json"
        if not file.is_file():
            return
        try:
            record = read_json(file, "restore it")
            recorded, words = [row["id"] for row in record["cells"]], shlex.join(record["command"][3:])
        except (UserError, KeyError, TypeError) as error:
            raise UserError(f"{file} is damaged ({error}); move it away: cells that are done stay done") from error
        is_another = not (self.path / STUDY).exists() if cell_ids is None else not set(recorded) <= set(cell_ids)
        if recorded and is_another:
            raise UserError(
                f"{self.path} holds another sweep ({words}); give its words or more values, or a sweep_name of your own"
            )

    def log(self, job_id: str) -> Path:
        """What the job's processes print, of all its calls."""
        return self.path / "logs" / f"{job_id}.log"

    def script(self, job_id: str) -> Path:
        """The job as a bash script."""
        return self.path / "cells" / f"{job_id}.sh"

    def job_lock(self, job_id: str) -> Path:
        """One for all sweeps beside this one."""
        return self.path.parent / "locks" / f"{job_id}.lock"
