from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.report.__main__ import main
from cada_trl.tracking.manifest import build_manifest, finished
from cada_trl.tracking.run_folder import RunFolder
from tests.report.made_up_evaluation import answers_most, refuses_most, write_evaluation
from tests.report.made_up_run import probe_row


def small_run(path: Path, seed: int = 0, state: str = "done") -> Path:
    config = load_config([f"seed={seed}"])
    with RunFolder(path) as folder:
        folder.write_config(config)
        folder.write_manifest(finished(build_manifest(config, {}, {"judge_id": "phrases-1"}), state))
        folder.append_train(1, {"train/reward_mean": 0.5})
        for step, name in enumerate(("before", "after")):
            folder.write_probe(name, step, [probe_row("harmful", 1, "REFUSED", False)], {})
    return path


def test_one_run_is_reported_into_its_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = small_run(tmp_path / "a")
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}/report.html\n"
    assert {"report.html", "report.md", "report.json", "curves.png"} <= {file.name for file in path.iterdir()}


def test_several_runs_are_reported_beside_the_first(tmp_path: Path) -> None:
    paths = [str(small_run(tmp_path / name, seed)) for seed, name in enumerate("ab")]
    assert main(paths) == 0
    assert (tmp_path / "report" / "report.html").is_file()
    assert not (tmp_path / "a" / "report.html").exists()


def test_an_unfinished_run_is_said_to_be_wherever_out_leads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "out"
    assert main([str(small_run(tmp_path / "a", state="interrupted")), "--out", str(out)]) == 0
    assert (out / "curves.png").is_file()
    assert "a: The run did not finish: its state is interrupted, its last step 1." in capsys.readouterr().out


def test_a_run_given_twice_is_refused(tmp_path: Path) -> None:
    path = small_run(tmp_path / "a")
    with pytest.raises(UserError, match="given twice"):
        main([str(path), f"{path}/"])


def test_an_evaluation_is_reported_into_its_own_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_evaluation(tmp_path / "evals" / "model-1", answers_most)
    assert main([str(path)]) == 0
    assert capsys.readouterr().out == f"{path}/report.html\n"
    assert main([str(path)]) == 0  # its own report does not disturb it


def test_evaluations_and_runs_go_onto_one_page(tmp_path: Path) -> None:
    paths = [
        write_evaluation(tmp_path / "evals" / "before-1", answers_most),
        write_evaluation(tmp_path / "evals" / "after-2", refuses_most),
        small_run(tmp_path / "run"),
    ]
    assert main([str(path) for path in paths]) == 0
    page = (tmp_path / "evals" / "report" / "report.html").read_text()
    assert "after-2 against before-1" in page and "Learned on" in page


def test_a_missing_folder_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cada_trl.report", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no such folder: {tmp_path}/nowhere")
    assert done.stderr.count("\n") == 1
