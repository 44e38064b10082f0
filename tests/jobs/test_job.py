"""A job's commands, and the files by which it is known to be done."""

import json
import shlex
import shutil

import pytest
import yaml

from cada_trl.evaluation.settings import load_evaluate_config, load_utility_config
from cada_trl.hazards.pack import load_pack, pack_hash
from cada_trl.jobs.folder import Ledger
from cada_trl.jobs.grid import make_grid
from cada_trl.jobs.job import _answered, ended
from cada_trl.models.named import folder_identity, model_fingerprint
from cada_trl.storage.digest import file_sha256
from tests.end_to_end.tiny_model import save_tiny_model

from .conftest import noted
from .stub_verb import write_run


def asked(tmp_path):
    return "suite=quick", f"evals_dir={tmp_path / 'evals'}"


def cell(tmp_path, *words, evaluated=True):
    words = ("beta_kl=0.1", f"runs_dir={tmp_path / 'runs'}", *words)
    (cell,) = make_grid(words, asked(tmp_path) if evaluated else None)
    return cell


def trained(one):
    run = write_run(one.config)
    (run / "final" / "config.json").write_text("{}")
    return run


def evaluation(tmp_path, one, ended_utc, **changes):
    assert one.evaluation is not None
    config = load_evaluate_config(one.evaluation)
    folder = tmp_path / "evals" / f"{config.model.name}-0a1b2c3d"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump() | changes))
    (folder / "manifest.json").write_text(json.dumps({"exit_state": "done", "ended_utc": ended_utc}))
    for name in ("responses.jsonl", "scores.json"):
        (folder / name).write_text("{}")
    return folder


def test_a_cell_is_trained_and_then_evaluated_and_its_script_says_so(tmp_path):
    one = cell(tmp_path)
    train, evaluate = one.commands
    assert train[1:4] == ["-m", "cada_trl.train", "beta_kl=0.1"]
    assert evaluate[1:5] == ["-m", "cada_trl.evaluate", f"model={one.run_folder}", "suite=quick"]
    lines = one.script().splitlines()
    assert [shlex.split(line) for line in lines[-2:]] == [train, evaluate] and "set -e" in lines


def test_the_initial_model_is_evaluated_by_the_cells_own_model_words(tmp_path):
    first, other = (cell(tmp_path, "model=smollm2", "name=mine", f"seed={seed}").initial for seed in (3, 4))
    assert first is not None and first.run_folder is None
    assert first.evaluation == ("model=smollm2", "model.name=mine", *asked(tmp_path))
    assert other is not None and other.id == first.id


def test_the_initial_model_is_asked_about_the_cells_own_policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where the policy is compiled to
    first = cell(tmp_path, "policy=tenancy").initial
    assert first is not None and first.evaluation is not None
    own = {word.partition("=")[0]: word.partition("=")[2].strip('"') for word in first.evaluation}
    assert "tenancy" in own["hazards"] and own["twins_file"].endswith(".jsonl")


def test_a_killed_answer_of_an_earlier_model_is_not_of_this_one(tmp_path):
    folder = tmp_path / "utility" / "x"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("limit: 3\n")
    for began, is_new in (("2026-01-01", False), ("2026-03-01", True)):
        (folder / "manifest.json").write_text(json.dumps({"started_utc": began, "ended_utc": None}))
        assert bool(list(ended(str(tmp_path / "utility"), "2026-02-01"))) == is_new


@pytest.mark.slow
def test_a_job_is_done_when_its_run_and_an_evaluation_of_its_own_settings_and_model_say_so(tmp_path):
    one = cell(tmp_path)
    assert one.results() is None
    run = trained(one)
    assert one.results() is None
    evaluation(tmp_path, one, "2026-02-01T00:00:00+00:00", limit=3)
    assert one.results() is None
    evaluation(tmp_path, one, "2025-12-31T00:00:00+00:00")  # of an earlier model
    assert one.results() is None
    folder = evaluation(tmp_path, one, "2026-02-01T00:00:00+00:00")
    assert one.results() == [run, folder]


@pytest.mark.parametrize(
    "change", [{"exit_state": "interrupted"}, {"exit_state": "running"}, {"seeds": {"run": 7}}, {"config_hash": "0"}]
)
def test_an_unfinished_run_or_another_one_is_not_done(tmp_path, change):
    one = cell(tmp_path, evaluated=False)
    run = write_run(one.config)
    assert one.results() == [run]
    noted(run, **change)
    assert one.results() is None


def test_a_run_of_another_content_of_its_own_requests_or_case_pack_is_not_done(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("first")
    one = cell(tmp_path, "data=jsonl", f"file={file}", "n_train=5", "n_probe=2", evaluated=False)
    run = noted(write_run(one.config), data={"inputs": {"sha256": {"file": file_sha256(file)}}})
    assert one.results() == [run]
    file.write_text("second")
    assert one.results() is None
    file.write_text("first")
    noted(run, hazards_hash="another")
    assert one.results() is None


def test_what_was_made_of_a_model_folder_that_was_edited_since_is_not_done(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    of_model = {"name": "tiny", "source": "folder", "path": model, "context_tok": 2048, "n_params": 40000}
    one = cell(tmp_path, *(f"model.{key}={value}" for key, value in of_model.items()), "eos='<eot>'", "pad='<pad>'")
    assert one.initial is not None
    noted(trained(one), initial_model=model_fingerprint(one.config.model))
    evaluation(tmp_path, one, "2026-02-01T00:00:00+00:00")
    asked = evaluation(tmp_path, one.initial, "2026-02-01T00:00:00+00:00")
    noted(asked, decides={"model": folder_identity(model)})
    assert one.results() is not None and one.initial.results() == [asked]
    save_tiny_model(model, seed=7)
    assert one.results() is None and one.initial.results() is None
    shutil.rmtree(model)
    assert one.results() is not None and one.initial.results() == [asked]


def test_the_initial_model_is_shown_what_the_cells_are(tmp_path):
    words = ("n_cases=1", "cases_as=policy", f"runs_dir={tmp_path / 'runs'}")
    (one,) = make_grid(words, (*asked(tmp_path), "arm=cases"))
    trained(one)
    own = load_evaluate_config(list(one.initial.evaluation)).prompt
    assert own == load_evaluate_config(list(one.evaluation)).prompt and (own.n_cases, own.cases_as) == (1, "policy")


def test_an_evaluation_that_shows_another_case_pack_is_done_again(tmp_path):
    (one,) = make_grid((f"runs_dir={tmp_path / 'runs'}",), (*asked(tmp_path), "arm=cases"))
    trained(one)
    folder = evaluation(tmp_path, one.initial, "2026-02-01T00:00:00+00:00")
    noted(folder, decides={"prompt": {"hazards": pack_hash(load_pack("builtin"))}})
    assert one.initial.results() == [folder]
    noted(folder, decides={"prompt": {"hazards": "another"}})
    assert one.initial.results() is None


def test_a_task_asked_of_other_weights_other_data_or_on_another_device_is_asked_again(tmp_path):
    model = save_tiny_model(tmp_path / "model")
    words = (f"model={model}", "tasks=gsm8k", "limit=2", f"utility_dir={tmp_path / 'utility'}")
    settings = load_utility_config(list(words))
    folder = tmp_path / "utility" / f"{settings.model.name}-0a1b2c3d"
    result = folder / "gsm8k-11112222" / "result.json"
    result.parent.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    decides = {"decides": {"identity": folder_identity(model)}, "ended_utc": "2026-02-01T00:00:00+00:00"}
    (folder / "manifest.json").write_text(json.dumps(decides))
    result.write_text(json.dumps({"plan": {"limit": 2, "seed": settings.seed, "data": "hub"}}))
    assert _answered(words, "") == result.parent
    for word in (f"data_root={tmp_path}", "device=cuda"):
        assert _answered((*words, word), "") is None
    save_tiny_model(model, seed=7)
    assert _answered(words, "") is None


def test_a_cell_that_failed_and_was_done_by_hand_is_done(tmp_path):
    one = cell(tmp_path, evaluated=False)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add(one, "failed", "exit code 2")
    assert ledger.board[one.id].state == "failed"
    trained(one)
    ledger.look(one)
    assert ledger.board[one.id].state == "done"


def test_a_cell_that_was_done_with_another_evaluation_is_done_where_its_own_is_there_too(tmp_path):
    plain, asked_too = cell(tmp_path, evaluated=False), cell(tmp_path)
    ledger = Ledger(tmp_path / "ledger.jsonl")
    trained(plain)
    ledger.look(plain)
    ledger.look(asked_too)
    assert (plain.id, ledger.board[plain.id].state) == (asked_too.id, "to do")
    evaluation(tmp_path, asked_too, "2026-02-01T00:00:00+00:00")
    ledger.look(asked_too)
    assert ledger.board[plain.id].state == "done"


def test_an_evaluation_of_another_content_of_ones_own_file_is_not_its_own_and_done_again(tmp_path):
    file = tmp_path / "mine.csv"
    file.write_text("text,harmful\nLie.,1\n")
    (one,) = make_grid(
        ("beta_kl=0.1", f"runs_dir={tmp_path / 'runs'}"), (*asked(tmp_path), f"benchmarks={file}", "attacks=none")
    )
    trained(one)
    folder = evaluation(tmp_path, one, "2026-02-01T00:00:00+00:00")
    assert one.results() is None
    noted(folder, decides={"asked": [{"sha256": file_sha256(file)}]})
    ledger = Ledger(tmp_path / "ledger.jsonl")

    def standing():
        ledger.look(one)
        return ledger.board[one.id]

    assert one.results() is not None and standing().state == "done"
    file.write_text("text,harmful\nForge a letter.,1\n")
    assert one.results() is None
    assert (standing().state, standing().reason) == ("to do", "a file that it reads has changed since: done again")
    elsewhere = folder.rename(f"{folder}-anew")
    noted(elsewhere, decides={"asked": [{"sha256": file_sha256(file)}]})
    shutil.copytree(elsewhere, folder)
    noted(folder, decides={"asked": []})
    assert (standing().state, standing().results[1]) == ("done", str(elsewhere))


def test_answers_that_another_judge_was_asked_about_since_are_judged_again_and_not_damaged(tmp_path):
    one, ledger = cell(tmp_path), Ledger(tmp_path / "ledger.jsonl")
    trained(one)
    scores = evaluation(tmp_path, one, "2026-02-01T00:00:00+00:00") / "scores.json"
    ledger.look(one)
    assert ledger.board[one.id].state == "done"
    evaluation(tmp_path, one, "2026-03-01T00:00:00+00:00", judge={"kind": "rubric"})
    scores.write_text('{"judge_id": "rubric"}')
    ledger.look(one)
    assert ledger.board[one.id].state == "to do" and "judged by other words" in str(ledger.board[one.id].reason)
    evaluation(tmp_path, one, "2026-04-01T00:00:00+00:00")
    scores.write_text('{"judge_id": "edited"}')
    ledger.look(one)
    assert ledger.board[one.id].state == "damaged"
