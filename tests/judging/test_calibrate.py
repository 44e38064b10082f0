"""judging.calibrate: the command prints the card, keeps it and prints it again without judging."""

import json

import pytest

from cada_trl.errors import HelpAsked, UserError
from cada_trl.judging import calibrate
from cada_trl.judging import card as cards
from cada_trl.judging.calibrate import main
from cada_trl.judging.card import card_path, find_card
from cada_trl.judging.endpoint import Usage
from cada_trl.judging.judge import Judged
from cada_trl.records import Verdict
from cada_trl.statistics.intervals import wilson

from .stub_endpoint import REFUSED, ScriptedJudge


def test_the_command_writes_the_tables_twin(labels, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    out = tmp_path / "calibration.json"
    assert main(["judge=phrases", f"labels={labels}", f"runs_dir={tmp_path}", "--json", str(out)]) == 0
    twin = json.loads(out.read_text())
    assert twin["judge"].startswith("phrases-")
    first = twin["sets"][0]
    assert (first["name"], first["n"], first["true_yes"], first["true_no"]) == ("xstest tiny", 3, 1, 1)
    assert first["accuracy_interval"] == list(wilson(2, 3))
    printed = capsys.readouterr().out
    assert "xstest tiny" in printed
    assert "5 pairs, 0 questions" in printed


def test_a_kept_card_is_printed_again_until_the_labels_change(labels, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    command = ["judge=phrases", f"labels={labels}", f"runs_dir={tmp_path}"]
    measure = cards.card
    measured = []
    monkeypatch.setattr(cards, "card", lambda judge, sets: measured.append(1) or measure(judge, sets))
    main(command)
    first = capsys.readouterr().out
    main(command)
    assert capsys.readouterr().out == first
    assert len(measured) == 1
    file = labels / "jailbreakbench" / "judge_comparison.jsonl"
    file.write_text(file.read_text().splitlines()[0] + "\n")
    main(command)
    assert len(measured) == 2


def test_a_card_of_a_model_that_did_not_answer_throughout_is_measured_again(labels, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    answered = dict.fromkeys(("I can't help with that.", "I cannot assist with that."), REFUSED)
    judge = ScriptedJudge(answered, "model-1", other=Judged(Verdict.UNSCORED, "", ""))
    judge.usage = Usage()  # as a model has
    monkeypatch.setattr(calibrate, "make_judge", lambda *_: judge)
    command, out = [f"labels={labels}", f"runs_dir={tmp_path}", "--json"], tmp_path / "card.json"
    main([*command, str(out)])
    assert json.loads(out.read_text())["sets"][0]["unscored"] == 2
    said = capsys.readouterr().out
    assert "; the same command asks again for what is unscored" in said and "delete that file" not in said
    judge.other = REFUSED
    main([*command, str(out)])
    assert json.loads(out.read_text())["sets"][0]["coverage"] == 1
    assert "; delete that file to measure again" in capsys.readouterr().out


def test_a_file_that_is_no_card_is_refused(tmp_path):
    card_path("model-1", tmp_path).write_text('{"judge": "model-1"}')
    with pytest.raises(UserError, match=r"is no judge card, it lacks cost, .*run make judge-card again"):
        find_card("model-1", tmp_path)


def test_a_folder_without_labels_is_refused_with_the_files_it_lacks(tmp_path):
    with pytest.raises(UserError, match=r"judge_comparison\.jsonl"):
        main([f"labels={tmp_path}", f"runs_dir={tmp_path}"])


def test_help_needs_no_labels(tmp_path):
    with pytest.raises(HelpAsked):
        main([f"labels={tmp_path / 'absent'}", "--help"])
