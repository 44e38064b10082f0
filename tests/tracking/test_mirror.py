from __future__ import annotations

import errno
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.tracking.mirror import Mirror, hazard_slices
from cada_trl.tracking.run_folder import RunFolder

ROW = {"set": "harmful", "request_id": "r1", "hazard": "privacy", "request": "q", "verdict": "REFUSED", "reward": 1.0}


class Fails:
    """A tracker whose second log raises."""

    def __init__(self, error: Exception) -> None:
        self.error, self.logged = error, 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.logged += 1
        if self.logged == 2:
            raise self.error

    def table(self, *_: Any) -> None: ...

    def finish(self, succeeded: bool) -> None: ...


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ConnectionError("network is unreachable\nmore")]
)
def test_a_tracker_that_fails_is_left_out_with_one_line_and_the_others_go_on(error: Exception) -> None:
    said: list[str] = []
    failing, other = Fails(error), Fails(RuntimeError())
    other.logged = 10
    mirror = Mirror({"W&B": failing, "other": other}, said.append)
    for step in range(4):
        mirror.log(step, {"train/loss": 1.0})
    mirror.finish(succeeded=True)
    assert (failing.logged, other.logged) == (2, 14)
    (line,) = said
    assert line.startswith("W&B stopped: ") and "\n" not in line and line.endswith("its folder has everything")


def test_ctrl_c_passes() -> None:
    class Interrupted(Fails):
        def finish(self, succeeded: bool) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Mirror({"one": Interrupted(RuntimeError())}, print).finish(succeeded=False)


def test_an_unknown_metric_is_a_mistake_of_ours_and_not_of_a_tracker() -> None:
    with pytest.raises(ValueError, match="unknown metric"):
        Mirror({}, print).log(1, {"train/nothing": 1.0})


def test_hazards_are_counted_a_row_a_set() -> None:
    rows = [ROW, ROW | {"verdict": "COMPLIED"}, ROW | {"hazard": "hate", "verdict": "UNSCORED"}]
    assert hazard_slices(5, rows) == [[5, "harmful", "hate", 1, 0, 0, 1], [5, "harmful", "privacy", 2, 1, 1, 0]]


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_one_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(__import__("sys").modules, "trackio", None)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(UserError, match=rf"pip install -e '\.\[{name}\]'"):
        Mirror.start(load_config([f"tracking={name}"]), folder, "train", print)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="the extra tensorboard is not installed")
def test_tensorboard_holds_the_scalars(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    said: list[str] = []
    with RunFolder(tmp_path / "run") as folder:
        mirror = Mirror.start(load_config(["tracking=tensorboard"]), folder, "train", said.append)
        mirror.log(7, {"train/loss": 0.5})
        mirror.probe(7, [ROW])
        mirror.finish(succeeded=True)
    assert said == []
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == [(7, 0.5)]


@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="the extra trackio is not installed")
def test_trackio_takes_scalars_and_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    said: list[str] = []
    with RunFolder(tmp_path / "run") as folder:
        mirror = Mirror.start(load_config(["tracking=trackio"]), folder, "train", said.append)
        mirror.log(7, {"train/loss": 0.5})
        mirror.probe(7, [ROW])
        mirror.finish(succeeded=True)
    assert said == []
    assert list((tmp_path / "trackio").glob("*.db"))
