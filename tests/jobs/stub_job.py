"""A job of a second: a line of Python that writes its result's file, or does not."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from cada_trl.jobs.job import Call, Job


@dataclass(frozen=True)
class StubJob(Job):
    """Its call's word is the program. It is done when folder/<name> is there."""

    folder: Path = Path()
    run_folder = None  # its words are no training's

    @property
    def commands(self) -> list[list[str]]:
        return [[sys.executable, "-c", *self.calls[0].words, str(self.done)]]

    @property
    def done(self) -> Path:
        return self.folder / self.id

    def results(self) -> list[Path] | None:
        return [self.done] if self.done.is_file() else None


WRITES = "import sys; open(sys.argv[1], 'w').close()"
FAILS = "raise SystemExit('the disk is full')"
SAYS_NOTHING = "pass"
WRITES_LATER = "import sys, time; print('going', flush=True); time.sleep(2); open(sys.argv[1], 'w').close()"


def stub(folder: Path, name: str, program: str = WRITES, trained: Job | None = None) -> StubJob:
    call = Call("evaluate" if trained else "train", (program,))
    return StubJob(name, name, (call,), trained, folder=folder)
