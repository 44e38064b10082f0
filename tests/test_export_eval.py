"""export-eval: logs that inspect lists, the same each time; a mistake is one line."""

from __future__ import annotations

from pathlib import Path

import pytest
from report.made_up_evaluation import answers_most, refuses_most, write_evaluation
from report.made_up_run import write_run

from cada_trl import export_eval
from cada_trl.errors import UserError
from cada_trl.export_eval import main


def test_inspect_lists_the_logs_and_a_second_export_is_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = pytest.importorskip("inspect_ai.log", reason="the extra inspect is not installed")
    folders = [write_evaluation(tmp_path / "a_1", answers_most), write_evaluation(tmp_path / "b_1", refuses_most)]
    for out in ("logs", "again"):
        assert main([*map(str, folders), "--out", str(tmp_path / out)]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert [path.read_bytes() for path in paths[:2]] == [path.read_bytes() for path in paths[2:]]
    listed = log.list_eval_logs(str(tmp_path / "logs"))
    assert {Path(one.name).name for one in listed} == {path.name for path in paths[:2]}
    assert len({one.task_id for one in listed}) == 2  # inspect shows one log of an id
    assert {one.task_id for one in listed} == {log.read_eval_log(str(path)).eval.task_id for path in paths[:2]}


def test_a_folder_that_is_no_evaluation_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        main([str(tmp_path / "evals")])
    with pytest.raises(UserError, match="is no evaluation; expected evals/<name>"):
        main([str(write_run(tmp_path / "run"))])


def test_folders_of_one_name_would_be_one_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="two of the folders have one name"):
        main([str(tmp_path / "x" / "a"), str(tmp_path / "y" / "a")])


def test_without_inspect_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_eval, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cada_trl\[inspect\]'"):
        main([str(write_evaluation(tmp_path / "a", answers_most))])
