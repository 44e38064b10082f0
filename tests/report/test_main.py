import pytest

from cada_trl.report.__main__ import main
from tests.report.made_up_evaluation import answers_most, write_evaluation
from tests.report.made_up_run import change_manifest, write_run

pytestmark = pytest.mark.slow


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


def test_several_runs_are_reported_beside_the_first_also_where_a_dot_stands_for_it(tmp_path, monkeypatch):
    for seed, name in enumerate("ab"):
        write_run(tmp_path / name, seed, 1)
    monkeypatch.chdir(tmp_path / "a")
    assert main([".", "../b"]) == 0
    assert (tmp_path / "report" / "report.html").is_file() and not list((tmp_path / "a").glob("report*"))


def test_an_unfinished_run_is_said_to_be_wherever_out_leads(tmp_path, capsys):
    out, run = tmp_path / "deep" / "out", write_run(tmp_path / "a", 0, 1)
    change_manifest(run, exit_state="interrupted")
    assert main([str(run), "--out", str(out)]) == 0
    assert (out / "curves.png").is_file()
    assert "a: The run did not finish: its state is interrupted, its last step 1." in capsys.readouterr().out
