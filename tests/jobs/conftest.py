"""A sweep whose cells are a stub: what the sweep does is tested, not the training."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from cada_trl.jobs.job import Call
from cada_trl.sweep import main

STUB = Path(__file__).with_name("stub_verb.py")


class StubSweep:
    """Runs `sweep` in a folder of its own, with the stub as the training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.starts = folder / "starts.log"

    def words(self, *words: str) -> list[str]:
        places = ("runs_dir", "sweeps_dir")
        return [*words, *(f"{key}={self.folder / key.removesuffix('_dir')}" for key in places), "data=twins"]

    def __call__(self, *words: str) -> int:
        return main(self.words(*words))

    def n_starts(self) -> int:
        return len(self.starts.read_text().splitlines()) if self.starts.exists() else 0

    @property
    def sweep_folder(self) -> Path:
        (folder,) = [path.parent for path in (self.folder / "sweeps").glob("*/sweep.json")]
        return folder

    @property
    def record(self) -> dict[str, Any]:
        return dict(json.loads((self.sweep_folder / "sweep.json").read_text()))

    def states(self) -> dict[str, str]:
        """Cell -> state, a cell by its axes and seed."""
        return {
            " ".join([*map(str, row["axes"].values()), f"s{row['seed']}"]): row["state"] for row in self.record["cells"]
        }


def stub_command(call: Call) -> list[str]:
    return [sys.executable, str(STUB), *call.words]


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubSweep:
    stub = StubSweep(tmp_path)
    monkeypatch.setattr(Call, "command", property(stub_command))
    monkeypatch.setenv("STUB_STARTS", str(stub.starts))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    return stub
