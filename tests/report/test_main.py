import subprocess
import sys

import pytest

from cada_trl.errors import UserError
from cada_trl.report.__main__ import main
from tests.report.made_up_evaluation import answers_most, write_evaluation
from tests.report.made_up_run import write_run


@pytest.mark.parametrize(
    ("write", "picture"),
    [
        (lambda path: write_run(path, 0, 1), "curves.png"),
        (lambda path: write_evaluation(path, answers_most), "safety_helpfulness.png"),
    ],
)
def test_one_folder_is_reported_into_itself_and_its_own_report_does_not_disturb_it(write, picture, tmp_path, capsys):
    path = write(tmp_path / "a")
    for _ in range(2):
        assert main([str(path)]) == 0
        assert capsys.readouterr().out == f"{path}/report.html\n"
    assert {"report.html", "report.md", "report.json", picture} <= {file.name for file in path.iterdir()}


def test_several_runs_are_reported_beside_the_first(tmp_path):
    paths = [str(write_run(tmp_path / name, seed, 1)) for seed, name in enumerate("ab")]
    assert main(paths) == 0
    assert (tmp_path / "report" / "report.html").is_file()
    assert not (tmp_path / "a" / "report.html").exists()


def test_several_runs_are_reported_beside_the_folder_that_a_dot_stands_for(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_run(tmp_path / name, seed, 1)
    monkeypatch.chdir(tmp_path / "a")
    assert main([".", "../b"]) == 0
    assert (tmp_path / "report" / "report.html").is_file() and not (tmp_path / "a" / "report").exists()


def test_a_tilde_that_no_shell_wrote_out_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"~/page: ~ is the shell's; write the folder out"):
        main([str(write_run(tmp_path / "a", 0, 1)), "--out", "~/page"])


def test_an_unfinished_run_is_said_to_be_wherever_out_leads(tmp_path, capsys):
    out, manifest = tmp_path / "deep" / "out", write_run(tmp_path / "a", 0, 1) / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"exit_state": "done"', '"exit_state": "interrupted"'))
    assert main([str(tmp_path / "a"), "--out", str(out)]) == 0
    assert (out / "curves.png").is_file()
    assert "a: The run did not finish: its state is interrupted, its last step 1." in capsys.readouterr().out


def test_a_run_given_twice_is_refused(tmp_path):
    with pytest.raises(UserError, match="given twice"):
        main([str(tmp_path), f"{tmp_path}/"])


def test_a_missing_folder_is_one_line_and_exit_code_2(tmp_path):
    command = [sys.executable, "-m", "cada_trl.report", str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: no such folder: {tmp_path}/nowhere")
    assert done.stderr.count("\n") == 1
