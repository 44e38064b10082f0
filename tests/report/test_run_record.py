import json
from dataclasses import replace

import pytest

from cada_trl.errors import UserError
from cada_trl.report.__main__ import main
from cada_trl.report.run_record import Folder, of_training, read_run, series_of
from cada_trl.report.summary import summarise
from tests.report.made_up_run import change_manifest, probe_row


def test_a_finished_run_misses_nothing(run):
    assert run.missing == []
    assert len(run.steps) == 40
    assert len(run.before) == len(run.after) == 150


def test_another_programs_configuration_is_no_run(run, tmp_path):
    (tmp_path / "config.yaml").write_text("model: resnet\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"is no run folder: its config\.yaml is of another program"):
        read_run(tmp_path)
    beside = replace(run, config={"model": {"source": "folder", "path": str(tmp_path / "weights")}})
    assert of_training(beside).config == {}


@pytest.mark.slow
def test_an_unfinished_run_is_read_and_says_what_is_missing(make_run):
    path = make_run().path
    (path / "probes" / "after.jsonl").unlink()
    (path / "config.yaml").unlink()
    change_manifest(path, exit_state="running")
    run = read_run(path)
    assert run.missing == [
        "The run did not finish: its state is running, its last step 3.",
        "config.yaml is missing.",
        "The probe after training was not run (probes/after.jsonl is missing).",
    ]
    before = summarise(run)["probes"]["harmful"]["before"]  # which rewards there are, config.yaml says
    assert before["reasoned_refusal_frac"]["n"] and before["reward_mean"]["mean"] is None
    assert main([str(path)]) == 0


def test_a_last_line_torn_by_a_kill_is_left_out_and_said(make_run):
    path = make_run().path
    with (path / "train.jsonl").open("a") as file:
        file.write('{"step": 4, "train/rew')
    torn = read_run(path)
    assert [row["step"] for row in torn.steps] == [1, 2, 3]
    assert torn.missing == ["train.jsonl ends in a line torn by a killed run; it is left out."]


def probed(**changes):
    return json.dumps(probe_row("harmful", 1, "REFUSED", True) | changes) + "\n"


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("train.jsonl", '{"step": 1}\n{"step": \n{"step": 3}\n', r"train.jsonl, row 2: not a JSON object"),
        ("manifest.json", '{"run_name": ', r"manifest.json is not a JSON object .*; restore it or delete it"),
        ("probes/before.jsonl", probed(verdict="MAYBE"), r"before.jsonl, row 1: field 'verdict': .*got 'MAYBE'"),
        ("probes/before.jsonl", probed(set="helpful"), r"row 1: field 'set': .*got 'helpful'"),
        ("probes/before.jsonl", probed(reward="high"), r"row 1: field 'reward': .*got 'high'"),
        # its pair would be ambiguous
        ("probes/after.jsonl", probed() * 2, r"after.jsonl, row 2: request_id 'harmful-001' stands twice"),
    ],
)
def test_a_damaged_file_is_refused_with_row_and_field(make_run, file, text, expected):
    path = make_run().path
    (path / file).write_text(text)
    with pytest.raises(UserError, match=expected):
        read_run(path)


def probes(*lines):
    rows = [{"step": step, "name": "before", "probe/harmful/answered_frac": value} for step, value in lines]
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_a_series_has_no_point_for_an_absent_value_or_a_torn_last_line(make_run):
    run = make_run()
    (run.path / "probes.jsonl").write_text(probes((0, 0.5), (3, None), (6, 0.25)) + '{"step": 9, "na')
    assert series_of(run)["probe/harmful/answered_frac"] == [(0, 0.5), (6, 0.25)]
    assert [step for step, _ in series_of(run)["train/reward_mean"]] == [1, 2, 3]
    (run.path / "probes.jsonl").write_text('{"step"\n' + probes((0, 0.5)))
    with pytest.raises(UserError, match=r"probes\.jsonl, row 1"):
        series_of(run)
    (run.path / "probes.jsonl").unlink()
    assert series_of(run).keys() == {name for row in run.steps for name in row if "/" in name}


def test_a_metric_of_both_files_is_one_series_by_step(make_run):
    run = make_run()
    rows = [{"step": 2, "probe/twins/header_auc": 0.8}]
    (run.path / "probes.jsonl").write_text(
        "".join(json.dumps({"step": step, "probe/twins/header_auc": auc}) + "\n" for step, auc in ((0, 0.6), (3, 0.9)))
    )
    assert series_of(replace(run, steps=rows))["probe/twins/header_auc"] == [(0, 0.6), (2, 0.8), (3, 0.9)]


def test_the_run_of_an_evaluation_is_found_from_another_folder_too(tmp_path):
    run, model = tmp_path / "runs" / "a", {"source": "folder", "path": "runs/a/final"}
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("run_name: null")
    assert of_training(Folder(tmp_path / "evals" / "a-1", {}, {"model": model})).path == run
