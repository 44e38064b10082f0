from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import wandb

from cada_trl.config import Config, load_config
from cada_trl.errors import UserError
from cada_trl.tracking import trackers
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.run_folder import RunFolder

ROW = {"set": "harmful", "request_id": "r1", "hazard": "privacy", "request": "q", "verdict": "UNSCORED", "reward": None}


def mirror(path: Path, config: Config, said: list[str] | None = None) -> None:
    with RunFolder(path) as folder:
        run = Mirror.start(config, folder, "train", (said if said is not None else []).append)
        run.log(1, {"train/reward_mean": 0.5, "train/loss": float("nan")})
        run.probe(1, [ROW])
        run.finish(succeeded=True)


def test_offline_needs_no_key_and_leaves_one_file_a_start_under_one_id(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    mirror(tmp_path / "run", config)
    mirror(tmp_path / "run", config)
    identity = (tmp_path / "run" / "wandb_id").read_text().strip()
    files = list((tmp_path / "run" / "wandb").glob(f"offline-run-*/run-{identity}.wandb"))
    assert files
    assert not [path for path in (tmp_path / "run" / "wandb").rglob("*.wandb") if identity not in path.name]
    for table in ("completions", "hazard_slices"):
        assert any(table in path.name for path in (tmp_path / "run" / "wandb").rglob("*.table.json"))


def test_an_offline_run_says_how_to_send_it(tmp_path: Path, config: Config) -> None:
    said: list[str] = []
    mirror(tmp_path / "run", config, said)
    assert said == [f"W&B is offline; to send it: wandb sync {tmp_path / 'run' / 'wandb'}/offline-run-*"]


def test_wandb_advertises_nothing_in_a_run(
    tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_DISABLE_WEAVE", raising=False)
    monkeypatch.setitem(sys.modules, "openai", ModuleType("openai"))  # for which wandb would advertise Weave
    mirror(tmp_path / "run", config)
    assert capsys.readouterr() == ("", "")


def test_an_online_run_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = SimpleNamespace(offline=False, url="https://wandb.ai/me/cada_trl/runs/1", finish=lambda exit_code: None)
    monkeypatch.setattr(trackers, "_start", lambda *_: run)
    said: list[str] = []
    with RunFolder(tmp_path / "run") as folder:
        Mirror.start(load_config(["tracking=online"]), folder, "train", said.append).finish(succeeded=True)
    assert said == ["W&B: https://wandb.ai/me/cada_trl/runs/1"]


def test_without_a_network_an_online_run_starts_offline_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nobody listens there
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    wandb.teardown()  # it has read an earlier test's environment
    monkeypatch.setattr(trackers, "START_LIMIT_S", 3)
    said: list[str] = []
    started_s = time.monotonic()
    mirror(tmp_path / "run", load_config(["tracking=online"]), said)
    assert time.monotonic() - started_s < 60  # wandb alone would wait 90 s
    assert said[0].startswith("W&B did not answer (") and said[0].endswith("this run is offline")
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))


def test_the_cells_of_a_sweep_share_its_group(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "kl-of-the-sweep")
    mirror(tmp_path / "run", config)
    end_s = time.monotonic() + 30  # W&B's own process writes the file, and a busy machine lets it wait
    while not any(b"kl-of-the-sweep" in path.read_bytes() for path in (tmp_path / "run").rglob("*.wandb")):
        assert time.monotonic() < end_s
        time.sleep(0.1)


def test_a_password_in_the_judge_address_is_not_sent(tmp_path: Path) -> None:
    config = load_config(["judge=rubric"])  # which refuses such an address: this is the second lock
    judge = config.judge.model_copy(update={"base_url": "https://me:pass1234@host/v1"})
    secret = config.model_copy(update={"judge": judge})
    mirror(tmp_path / "run", secret)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "run" / "wandb").rglob("*") if path.is_file())
    assert b"pass1234" not in stored
    assert b"<hidden>@host" in stored


def test_online_without_a_login_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    monkeypatch.setattr("wandb.login", lambda prompt, verify: False)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(UserError, match=r"`wandb login` .*tracking=offline"):
        Mirror.start(load_config(["tracking=online"]), folder, "train", print)


def test_off_does_nothing_and_does_not_import_wandb(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cada_trl.config import load_config\n"
        "from cada_trl.tracking.run_folder import RunFolder; from cada_trl.tracking.mirror import Mirror\n"
        "config = load_config([])\n"
        "off = config.model_copy(update={'tracking': config.tracking.model_copy(update={'wandb': 'off'})})\n"
        "with RunFolder(Path(sys.argv[1])) as folder:\n"
        "    run = Mirror.start(off, folder, 'train', print)\n"
        "    run.log(1, {'train/loss': 1.0}); run.finish(succeeded=True)\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True)
    assert not (tmp_path / "run" / "wandb").exists()
