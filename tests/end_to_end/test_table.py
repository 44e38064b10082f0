"""A table for real: its verbs train and ask a tiny random model, are killed in the middle, and go on."""

import json
import os
import subprocess
import sys
import time

import pytest

from .tiny_model import few_twins, save_tiny_model

PATIENCE_S = 600
TOKENS = ["context_tok=2048", "eos='<eot>'", "pad='<pad>'", "max_new_tok=8", "threads=1"]
SHORT = ["model.name=tiny", "n_params=40000", "data=twins", f"file={few_twins()}", "n_train=12", "requests_per_step=4"]
STEPS = ["max_steps=1", "micro_batch=2", "benign_frac=0.0", "tracking=local", "n_probe_harmful=4", "n_probe_harmless=4"]


def command(folder, shared_data, weights):
    names = ("runs_dir", "data_dir", "evals_dir", "utility_dir", "tables_dir")
    return [
        *(sys.executable, "-m", "cada_trl.table", "table=3", "rows=none,cada", "columns=strongreject,hex_phi"),
        *("seeds=0", "limit=2", f"weights={weights}", f"data_root={shared_data}"),
        f"train={','.join([*TOKENS, *SHORT, *STEPS])}",
        f"evaluate={','.join(TOKENS)}",
        *(f"{name}={folder / name}" for name in names),
    ]


def wait_for(pattern, folder, process):
    until = time.monotonic() + PATIENCE_S
    while not list(folder.glob(pattern)):
        assert process.poll() is None and time.monotonic() < until, f"no {pattern}"
        time.sleep(0.1)


@pytest.mark.slow
def test_a_table_that_was_killed_goes_on_and_asks_nothing_twice(tmp_path, shared_data):
    words = command(tmp_path, shared_data, save_tiny_model(tmp_path / "weights"))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    first = subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for("runs_dir/*/config.yaml", tmp_path, first)
    first.kill()
    first.wait()
    untrained = next((tmp_path / "evals_dir").glob("*/manifest.json"))
    before = untrained.read_text(encoding="utf-8")
    second = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert second.returncode == 0, second.stderr
    assert untrained.read_text(encoding="utf-8") == before
    values = json.loads(next(tmp_path.glob("tables_dir/*/table.json")).read_text(encoding="utf-8"))
    for cell in values["cells"]:
        if cell["column"] == "hex_phi":
            assert (cell["state"], cell["ours"]) == ("no access", None)
        else:
            assert cell["state"] in {"done", "withheld"}
            assert (cell["ours"] is None) == (cell["state"] == "withheld")
    assert "evaluate-none" not in subprocess.run(words, env=env, capture_output=True, text=True, check=False).stderr
