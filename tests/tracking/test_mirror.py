"""Trackers get what a run logs, W&B as one run whatever stopped it; one that fails or is out of reach is one line."""

import errno
import importlib
import os
import signal
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
import wandb

from cada_trl.config import config_hash, load_config
from cada_trl.errors import UserError
from cada_trl.tracking import mirror as of_run
from cada_trl.tracking.mirror import TABLES, Mirror, hazard_slices
from cada_trl.tracking.run_folder import RunFolder

from .wandb_stand_in import wandb_sync

ROW = {"set": "harmful", "request_id": "r1", "hazard": "privacy", "request": "q", "verdict": "REFUSED", "reward": 1.0}


def mirrored(path, config):
    """What is said of a run of one step and one probe pass."""
    said = []
    with RunFolder(path) as folder:
        run = Mirror.start(config, folder, said.append)
        run.log(7, {"train/loss": 0.5, "train/reward_mean": float("nan")})
        run.probe(7, [ROW | {"verdict": "UNSCORED", "reward": None}])
        run.finish(succeeded=True)
    return said


class Fails:
    """A tracker whose second log raises."""

    def __init__(self, error):
        self.error, self.logged = error, 0

    def log(self, step, metrics):
        self.logged += 1
        if self.logged == 2:
            raise self.error

    def table(self, *_): ...

    def finish(self, succeeded): ...


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), ConnectionError("network is unreachable\nmore")]
)
def test_a_tracker_that_fails_is_left_out_with_one_line_and_the_others_go_on(error):
    said = []
    failing, other = Fails(error), Fails(RuntimeError())
    other.logged = 10
    mirror = Mirror({"W&B": failing, "other": other}, said.append)
    for step in range(4):
        mirror.log(step, {"train/loss": 1.0})
    mirror.finish(succeeded=True)
    assert (failing.logged, other.logged) == (2, 14)
    (line,) = said
    assert line.startswith("W&B stopped: ") and "\n" not in line and line.endswith("its folder has everything")


def test_a_tracker_that_does_not_start_is_left_out_with_one_line(tmp_path, config, monkeypatch):
    def fails(*_, **__):
        raise RuntimeError("Failed to read port info after 30.0 seconds\nmore")

    monkeypatch.setattr(of_run, "_start_wandb", fails)
    (line,) = mirrored(tmp_path / "run", config)
    assert line.startswith("W&B did not start: Failed to read port info") and line.endswith("its folder has everything")


def test_ctrl_c_passes():
    class Interrupted(Fails):
        def finish(self, succeeded):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Mirror({"one": Interrupted(RuntimeError())}, print).finish(succeeded=False)


def test_an_unknown_metric_is_a_mistake_of_ours_and_not_of_a_tracker():
    with pytest.raises(ValueError, match="unknown metric"):
        Mirror({}, print).log(1, {"train/nothing": 1.0})


def test_hazards_are_counted_a_row_a_set():
    rows = [ROW, ROW | {"verdict": "COMPLIED"}, ROW | {"hazard": "hate", "verdict": "UNSCORED"}]
    assert hazard_slices(5, rows) == [[5, "harmful", "hate", 1, 0, 0, 1], [5, "harmful", "privacy", 2, 1, 1, 0]]


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_tracker_that_is_not_installed_is_one_line(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "trackio", None)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(UserError, match=rf"pip install 'cada_trl\[{name}\]'"):
        Mirror.start(load_config([f"tracking={name}"]), folder, print)


def test_tensorboard_holds_what_was_logged_and_a_step_that_is_done_again_once(tmp_path):
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    said = []
    for steps in ((1, 2, 3), (3, 4)):  # killed after step 3, with a checkpoint of step 2
        with RunFolder(tmp_path / "run") as folder:
            run = Mirror.start(load_config(["tracking=tensorboard"]), folder, said.append)
            run.log(0, {"probe/twins/header_auc": 0.5})
            for step in steps:
                run.log(step, {"train/loss": float(step)})
            run.probe(steps[-1], [ROW])
            run.finish(succeeded=False)
    assert said == []
    events = accumulators.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert [(one.step, one.value) for one in events.Scalars("train/loss")] == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_trackio_goes_on_with_a_folders_run_begins_another_for_a_new_folder_and_prints_nothing_itself(
    tmp_path, monkeypatch, capsys
):
    pytest.importorskip("trackio")
    for name in ("utils", "sqlite_storage"):  # TRACKIO_DIR is read once, and TRL may have imported trackio before
        monkeypatch.setattr(f"trackio.{name}.TRACKIO_DIR", tmp_path / "trackio")
    storage = importlib.import_module("trackio.sqlite_storage").SQLiteStorage
    config = load_config(["tracking=trackio", "run_name=one"])
    folder = tmp_path / "run"
    assert mirrored(folder, config) == ["trackio has it too; to see it: trackio show --project cada_trl"]
    (folder / "train.jsonl").touch()  # as a run that goes on has it
    mirrored(folder, config)
    mirrored(tmp_path / "another folder", config)
    assert capsys.readouterr() == ("", "")
    ids = [run["id"] for run in storage.get_run_records("cada_trl")]
    logs = [storage.get_logs("cada_trl", "one", run_id=one) for one in ids]
    assert sorted(sum("train/loss" in row for row in rows) for rows in logs) == [1, 2]
    assert {row["step"] for rows in logs for row in rows} == {7}
    assert {name for rows in logs for row in rows for name in row} >= {"train/loss", *TABLES}
    stored = storage.get_all_run_configs("cada_trl")
    assert {(one["algo.beta_kl"], one["config_hash"]) for one in stored.values()} == {(0.01, config_hash(config))}


def test_offline_wandb_needs_no_key_keeps_its_id_advertises_nothing_and_says_how_to_send_it(
    tmp_path, config, monkeypatch, capsys
):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_DISABLE_WEAVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setitem(sys.modules, "openai", ModuleType("openai"))  # for which wandb would advertise Weave
    folder = tmp_path / "a run" / "wandb"
    said = [mirrored(folder.parent, config) for _ in range(2)]
    assert said == [[f"W&B is offline; to send it: wandb sync '{folder}'/offline-run-*"]] * 2
    assert capsys.readouterr() == ("", "")
    identity = (folder.parent / "wandb_id").read_text().strip()
    assert list(folder.glob(f"offline-run-*/run-{identity}.wandb"))
    assert not [path for path in folder.rglob("*.wandb") if identity not in path.name]
    for table in ("completions", "hazard_slices"):
        assert any(table in path.name for path in folder.rglob("*.table.json"))


def test_an_online_run_says_where_it_is(tmp_path, monkeypatch):
    run = SimpleNamespace(offline=False, url="https://wandb.ai/me/cada_trl/runs/1", finish=lambda exit_code: None)
    monkeypatch.setattr(of_run, "_start_wandb", lambda *_: run)
    said = []
    with RunFolder(tmp_path / "run") as folder:
        Mirror.start(load_config(["tracking=online"]), folder, said.append).finish(succeeded=True)
    assert said == ["W&B: https://wandb.ai/me/cada_trl/runs/1"]


@pytest.mark.slow
def test_without_a_network_an_online_run_starts_offline_with_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()  # it has read an earlier test's environment
    monkeypatch.setattr(of_run, "START_LIMIT_S", 3)
    started_s = time.monotonic()
    said = mirrored(tmp_path / "run", load_config(["tracking=online"]))
    assert time.monotonic() - started_s < 60  # wandb alone would wait 90 s
    assert said[0].startswith("W&B did not answer (") and said[0].endswith("this run is offline")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_the_cells_of_a_sweep_share_its_group(tmp_path, config, monkeypatch):
    monkeypatch.setenv("WANDB_RUN_GROUP", "kl-of-the-sweep")
    mirrored(tmp_path / "run", config)
    end_s = time.monotonic() + 30  # W&B's own process writes the file, and a busy machine lets it wait
    while not any(b"kl-of-the-sweep" in path.read_bytes() for path in (tmp_path / "run").rglob("*.wandb")):
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_a_password_in_the_judge_address_is_not_sent(tmp_path):
    config = load_config(["judge=rubric"])  # which refuses such an address: this is the second lock
    judge = config.judge.model_copy(update={"base_url": "https://me:pass1234@host/v1"})
    secret = config.model_copy(update={"judge": judge})
    mirrored(tmp_path / "run", secret)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "run" / "wandb").rglob("*") if path.is_file())
    assert b"pass1234" not in stored
    assert b"<hidden>@host" in stored


def test_online_without_a_login_says_what_to_do(tmp_path, monkeypatch, config):
    monkeypatch.setattr("wandb.login", lambda prompt, verify: False)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(UserError, match=r"`wandb login` .*tracking=offline"):
        Mirror.start(load_config(["tracking=online"]), folder, print)


KILLED = """
import os, signal, sys, time
from pathlib import Path
from cada_trl.config import load_config
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])) as folder:
    run = Mirror.start(load_config(["seed=3"]), folder, print)
    for step in (1, 2, 3):
        run.log(step, {"train/loss": 1 / step})
    end_s = time.monotonic() + 12  # less than the 15 s after which W&B's own process would write
    while not any(b"train/loss" in path.read_bytes() for path in folder.path.rglob("*.wandb")):
        if time.monotonic() > end_s:
            sys.exit("nothing was written")
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
def test_a_killed_run_that_went_on_is_sent_as_one_whose_rows_have_numbers_of_their_own(tmp_path, config):
    env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # one of its own to leave
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with RunFolder(tmp_path) as folder:
        run = Mirror.start(config, folder, lambda _: None)
        run.log(4, {"train/loss": 0.25})
        run.log(4, {"probe/harmful/refused_frac": 0.5})
        run.probe(4, [ROW])
        run.finish(succeeded=True)
    sent, said = wandb_sync(tmp_path)
    assert "ERROR" not in said
    assert [row["step"] for row in sent.history if "train/loss" in row] == [1, 2, 3, 4]
    rows = [row["_step"] for row in sent.history]
    assert len(rows) == 7 and rows == sorted(set(rows))
    assert sent.about["groupName"].startswith("smollm2-") and "method=cada" in sent.about["tags"]
    assert b"privacy" in next(text for name, text in sent.files.items() if "/hazard_slices_" in name)
