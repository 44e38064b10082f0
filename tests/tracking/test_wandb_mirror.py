from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cada_trl.config import Config, load_config
from cada_trl.errors import UserError
from cada_trl.tracking.run_folder import RunFolder
from cada_trl.tracking.wandb_mirror import WandbMirror

ROW = {"request_id": "r1", "hazard": "privacy", "harmful": True, "request": "q", "verdict": "UNSCORED", "reward": None}


def mirror(path: Path, config: Config) -> None:
    with RunFolder(path) as folder:
        run = WandbMirror(config, folder, job_type="train")
        run.log(1, {"train/reward_mean": 0.5, "train/loss": float("nan")})
        run.completions(1, [ROW])
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
    assert any("completions" in path.name for path in (tmp_path / "run" / "wandb").rglob("*.table.json"))


def test_the_cells_of_a_sweep_share_its_group(tmp_path: Path, config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RUN_GROUP", "kl-of-the-sweep")
    mirror(tmp_path / "run", config)
    assert any(b"kl-of-the-sweep" in path.read_bytes() for path in (tmp_path / "run").rglob("*.wandb"))


def test_a_password_in_the_judge_address_is_not_sent(tmp_path: Path) -> None:
    secret = load_config(["judge=rubric", "base_url=https://me:pass1234@host/v1"])
    mirror(tmp_path / "run", secret)
    stored = b"".join(path.read_bytes() for path in (tmp_path / "run" / "wandb").rglob("*") if path.is_file())
    assert b"pass1234" not in stored
    assert b"<hidden>@host" in stored


def test_online_without_a_login_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: Config
) -> None:
    monkeypatch.setattr("wandb.login", lambda prompt: False)
    with RunFolder(tmp_path / "run") as folder, pytest.raises(UserError, match=r"`wandb login` .*tracking=offline"):
        WandbMirror(load_config(["tracking=online"]), folder, job_type="train")


def test_off_does_nothing_and_does_not_import_wandb(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cada_trl.config import load_config\n"
        "from cada_trl.tracking.run_folder import RunFolder; from cada_trl.tracking.wandb_mirror import WandbMirror\n"
        "config = load_config([])\n"
        "off = config.model_copy(update={'tracking': config.tracking.model_copy(update={'wandb': 'off'})})\n"
        "with RunFolder(Path(sys.argv[1])) as folder:\n"
        "    run = WandbMirror(off, folder, job_type='train')\n"
        "    run.log(1, {'train/loss': 1.0}); run.finish(succeeded=True)\n"
        "assert 'wandb' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True)
    assert not (tmp_path / "run" / "wandb").exists()
