"""A job of a second: a line of Python that writes its result's file, or does not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from cada_trl.tables.job import Job


@dataclass(frozen=True)
class StubJob(Job):
    """words: the program. It is done when folder/<name> is there."""

    folder: Path = Path()

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-c", *self.words, str(self.done)]

    @property
    def done(self) -> Path:
        return self.folder / self.name

    def result(self) -> Path | None:
        return self.done if self.done.is_file() else None


WRITES = "import sys; open(sys.argv[1], 'w').close()"
FAILS = "raise SystemExit('the disk is full')"
SAYS_NOTHING = "pass"
WRITES_LATER = "import sys, time; print('going', flush=True); time.sleep(2); open(sys.argv[1], 'w').close()"


def stub(folder: Path, name: str, program: str = WRITES, trained: Job | None = None) -> StubJob:
    return StubJob("evaluate" if trained else "train", name, (program,), trained, 0, folder)
