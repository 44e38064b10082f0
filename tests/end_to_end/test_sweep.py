"""A sweep of two real trainings of one step on a tiny model."""

import json
from pathlib import Path

import pytest

from cada_trl.sweep import main

from .tiny_model import save_tiny_model, tiny_overrides


@pytest.mark.slow
def test_two_real_cells_are_trained_compared_and_not_trained_again(tmp_path, capsys):
    words = [word for word in tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model")) if "run_name=" not in word]
    words += ["max_steps=1", "beta_kl=0.0,0.1", "sweep_name=tiny", f"sweeps_dir={tmp_path / 'sweeps'}"]
    assert main(words) == 0
    record = json.loads((tmp_path / "sweeps" / "tiny" / "sweep.json").read_text())
    assert [(row["axes"], row["state"]) for row in record["cells"]] == [
        ({"beta_kl": 0.0}, "done"),
        ({"beta_kl": 0.1}, "done"),
    ]
    for row in record["cells"]:
        assert row["metrics"]["probe/harmful/answered_frac"]["asked"] == 4
        assert json.loads((Path(row["run_folder"]) / "manifest.json").read_text())["config_hash"] == row["config_hash"]
    capsys.readouterr()
    assert main(words) == 0
    assert "started" not in capsys.readouterr().out
