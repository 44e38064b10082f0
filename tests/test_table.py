"""The verb: a plan that starts nothing, and what it writes; its jobs are stand-ins."""

import json
from pathlib import Path

import pytest

from cada_trl import table
from cada_trl.jobs.runner import Runner

pytestmark = pytest.mark.slow


@pytest.fixture
def folders(tmp_path):
    (tmp_path / "data").mkdir()
    names = ("runs_dir", "data_dir", "evals_dir", "utility_dir", "tables_dir")
    return [f"data_root={tmp_path / 'data'}", *(f"{name}={tmp_path / name}" for name in names)]


def calls(monkeypatch, fails=""):
    """Jobs that would have run; those whose name has `fails` in it fail."""
    names = []

    def run(runner, jobs):
        names.extend(job.id for job in jobs)
        runner.failed |= {job.id: "exit code 1" for job in jobs if fails and fails in job.id}

    monkeypatch.setattr(Runner, "run", run)
    return names


@pytest.mark.parametrize("model", ["llama3", "deepthought", "llama3_70b", "smollm2"])
def test_a_dry_run_prints_the_plan_of_any_model_and_starts_nothing(model, shared_data, folders, monkeypatch, capsys):
    names = calls(monkeypatch)
    words = ["table=3", f"model={model}", "rows=none,cada", "seeds=0", *folders, f"data_root={shared_data}"]
    assert table.main([*words, "--dry-run"]) == 0
    brief = capsys.readouterr().out
    assert table.main([*words, "--config"]) == 0
    said = capsys.readouterr().out
    assert names == []
    assert set(brief.splitlines()) < set(said.splitlines()) and len(brief.splitlines()) <= 10
    assert "1 x train, 2 x evaluate; 0 done; to do: about " in brief
    for part in ("evaluate-none-strongreject", "train-cada-s0", "evaluate-cada-s0-advbench", "no access, hex_phi: "):
        assert part in said
    assert "ESTIMATED, from recipes/tables/models.yaml" in said and "  -m cada_trl.train model=" in said
    if model == "smollm2":
        assert "GPU h" not in said and "judge calls" not in said
    else:
        # strongreject 313 x 3 and advbench's prompts, twice: untrained and trained
        assert "939 judge calls (about $0.38): evaluate-cada-s0-strongreject" in said and " GPU h" in said


def test_the_words_of_a_cell_are_those_of_its_recipe_and_its_row(folders, capsys, tmp_path):
    words = ["table=4", "model=llama3", "rows=cada", "columns=gsm8k", "seeds=3", "weights=/w", "train=lr=1e-6"]
    assert table.main([*words, *folders, "--config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    training = next(line for line in lines if "cada_trl.train" in line)
    for word in ("algo=cada data=paper hardware=a100x4", "lr=1e-6 seed=3", "model.source=", f"{tmp_path}/data"):
        assert word in training
    asked = next(line for line in lines if "cada_trl.utility" in line)
    assert f"model={tmp_path / 'runs_dir'}/llama3-" in asked and "-s3 " in asked and "tasks=gsm8k" in asked


def test_a_failed_training_fails_the_call_and_is_no_number_anywhere(folders, monkeypatch, capsys, tmp_path):
    calls(monkeypatch, fails="train-cada-s1")
    assert table.main(["table=4", "rows=none,cada", "columns=gsm8k,xstest_safe", "seeds=0,1", *folders]) == 1
    written = Path(capsys.readouterr().out.splitlines()[-1])
    assert written.parent.parent == tmp_path / "tables_dir"
    values = json.loads((written.parent / "table.json").read_text(encoding="utf-8"))
    states = {(cell["row"], cell["column"]): cell["state"] for cell in values["cells"]}
    assert states == {
        ("none", "xstest_safe"): "no data",
        ("none", "gsm8k"): "to do",
        ("cada", "xstest_safe"): "no data",
        ("cada", "gsm8k"): "not run",
    }
    assert all(cell["ours"] is None and cell["difference"] is None for cell in values["cells"])
    text = written.read_text(encoding="utf-8")
    assert "| CADA | GSM8K | accuracy % | 71.8 ± 0.2 | not run |" in text
    assert "not run, GSM8K: train-cada-s1 failed" in text
    assert list(tmp_path.rglob("*.tmp")) == []
