"""Jobs of a second, and a sweep whose cells are a stub: what runs them is tested, not the training."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from cada_trl.jobs.job import Call, Job
from cada_trl.sweep import main

STUB = Path(__file__).with_name("stub_verb.py")


class StubSweep:
    """Runs `sweep` in a folder of its own, with the stub as the training."""

    def __init__(self, folder, monkeypatch, capsys):
        self.folder, self._monkeypatch, self._capsys = folder, monkeypatch, capsys
        self.starts = folder / "starts.log"
        self.stub(STARTS=self.starts)

    def stub(self, **variables):
        """How the stub behaves from now on: its environment, without STUB_; None ends it."""
        for name, value in variables.items():
            if value is None:
                self._monkeypatch.delenv(f"STUB_{name}")
            else:
                self._monkeypatch.setenv(f"STUB_{name}", str(value))

    def said(self):
        """What was printed since this was last asked."""
        return self._capsys.readouterr().out

    @property
    def of_training(self):
        return [f"runs_dir={self.folder / 'runs'}", "data=twins"]

    def words(self, *words):
        return [*words, *self.of_training, f"sweeps_dir={self.folder / 'sweeps'}"]

    def __call__(self, *words):
        return main(self.words(*words))

    def n_starts(self):
        return len(self.starts.read_text().splitlines()) if self.starts.exists() else 0

    @property
    def sweep_folder(self):
        (folder,) = [path.parent for path in (self.folder / "sweeps").glob("*/sweep.json")]
        return folder

    @property
    def record(self):
        return dict(json.loads((self.sweep_folder / "sweep.json").read_text()))

    def states(self):
        """Cell -> state, a cell by its axes and seed."""
        return {
            " ".join([*map(str, row["axes"].values()), f"s{row['seed']}"]): row["state"] for row in self.record["cells"]
        }


def noted(folder, **facts):
    """The folder, with these facts in its manifest."""
    file = folder / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | facts))
    return folder


def stub_command(call):
    return [sys.executable, str(STUB), *call.words]


@pytest.fixture
def sweep(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Call, "command", property(stub_command))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return StubSweep(tmp_path, monkeypatch, capsys)


@dataclass(frozen=True)
class StubJob(Job):
    """Its call's word is a line of Python. It is done when folder/<name> is there."""

    folder: Path = Path()
    run_folder = None  # its words are no training's

    @property
    def commands(self):
        return [[sys.executable, "-c", *self.calls[0].words, str(self.done)]]

    @property
    def done(self):
        return self.folder / self.id

    def results(self):
        return [self.done] if self.done.is_file() else None


WRITES = "import sys; open(sys.argv[1], 'w').close()"
FAILS = "raise SystemExit('the disk is full')"
SAYS_NOTHING = "pass"
WRITES_LATER = "import sys, time; print('going', flush=True); time.sleep(2); open(sys.argv[1], 'w').close()"


def stub(folder, name, program=WRITES, trained=None):
    call = Call("evaluate" if trained else "train", (program,))
    return StubJob(name, name, (call,), trained, folder=folder)
