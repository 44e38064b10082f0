"""Numbers of finished folders: an evaluation of scripted answers, made by the verb itself, and utility rows by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from evals import small_evaluation
from evals.small_evaluation import ANSWER, ScriptedGenerator, overrides, write_benchmarks, write_model

from cada_trl import evaluate as verb
from cada_trl.evals import benchmarks, tested_model
from cada_trl.records import write_jsonl
from cada_trl.report.eval_record import read_evaluation
from cada_trl.statistics import across_seeds, wilson
from cada_trl.storage.files import replace_json
from cada_trl.tables import numbers
from cada_trl.tables.job import Job
from cada_trl.tables.numbers import answered, evaluated


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """An evaluation of six harmful requests: 2 refused, 3 answered, 1 with nothing said."""
    write_benchmarks(tmp_path)
    write_model(tmp_path / "model")
    monkeypatch.setattr(benchmarks, "BENCHMARK_DIR", tmp_path / "benchmark")
    monkeypatch.setattr(tested_model, "make_generator", lambda model, settings: ScriptedGenerator())
    monkeypatch.setattr(tested_model, "quiet_libraries", lambda: None)
    return overrides(tmp_path, "min_coverage=0.5")


def job(words: list[str]) -> Job:
    return Job("evaluate", "evaluate-none-six", tuple(words))


@pytest.fixture
def folder(words: list[str]) -> Path:
    assert job(words).result() is None
    assert verb.main(words) == 0
    result = job(words).result()
    assert result is not None
    return result


def test_a_job_finds_the_folder_of_its_own_evaluation_and_no_other(words: list[str], folder: Path) -> None:
    assert (folder / "scores.json").is_file()
    assert job([*words, "limit=2"]).result() is None
    assert job([*words, "max_new_tok=7"]).result() is None
    (folder / "scores.json").unlink()
    assert job(words).result() is None


def test_an_evaluation_of_a_run_that_is_not_there_is_open(words: list[str], folder: Path, tmp_path: Path) -> None:
    training = Job("train", "train-cada-s0", ("data=twins", f"runs_dir={tmp_path / 'runs'}"))
    assert Job("evaluate", "evaluate-cada-s0", tuple(words), training).result() is None


def test_one_seed_has_the_interval_of_its_own_scores(folder: Path) -> None:
    found = evaluated([folder], "harmful_six", "none", "asr")
    assert (found.value, found.n, found.asked, found.n_seeds, found.sd) == (3 / 5, 5, 6, 1, None)
    assert (found.low, found.high) == wilson(3, 5)


def test_a_judge_that_gives_no_score_leaves_it_unknown(folder: Path) -> None:
    found = evaluated([folder], "harmful_six", "none", "harmful_score")
    assert (found.value, found.low) == (None, None)
    assert found.reason is not None and found.reason.startswith("none of 6 has it")


def test_a_cell_that_was_not_asked_is_no_number(folder: Path) -> None:
    assert evaluated([folder], "harmful_six", "pap", "asr").reason == "not in the evaluation's scores"


@pytest.fixture
def complying(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same evaluation of a model that refuses nothing and says nothing to the same item."""
    monkeypatch.setattr(small_evaluation, "answer_to", lambda prompt: "" if "Lie" in prompt else ANSWER)
    write_model(tmp_path / "other", weights=b"\1" * 16)
    words = overrides(tmp_path, "min_coverage=0.5", model="other")
    verb.main(words)
    other = job(words).result()
    assert other is not None and other != folder
    return other


def test_seeds_are_averaged_over_the_items_that_each_of_them_knows(folder: Path, complying: Path) -> None:
    found = evaluated([folder, complying], "harmful_six", "none", "asr")
    expected = across_seeds([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    assert (found.value, found.sd, found.low, found.high) == (0.8, expected.sd, expected.low, expected.high)
    assert (found.n, found.asked, found.n_seeds) == (5, 6, 2)


def test_too_few_shared_items_are_withheld(folder: Path, complying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [read_evaluation(path) for path in (folder, complying)]
    strict = replace(records[0], scores=records[0].scores.model_copy(update={"min_coverage": 0.9}))
    monkeypatch.setattr(numbers, "read_evaluation", lambda path: strict if path == folder else records[1])
    found = evaluated([folder, complying], "harmful_six", "none", "asr")
    assert (found.value, found.sd) == (None, None)
    assert found.reason == "known for 5 of 6 (83.3 %), less than min_coverage 90 %"


def task_folder(path: Path, correct: list[bool]) -> Path:
    path.mkdir()
    rows = [{"subset": "main", "row": n, "correct": {"strict": one}} for n, one in enumerate(correct)]
    write_jsonl(path / "samples.jsonl", rows)
    low, high = wilson(sum(correct), len(correct))
    accuracy = {
        "value": sum(correct) / len(correct),
        "low": low,
        "high": high,
        "n": len(correct),
        "asked": len(correct),
    }
    replace_json(path / "result.json", {"accuracy": accuracy, "plan": {"task": {"filter": "strict"}}})
    return path


def test_the_accuracy_of_a_task_is_its_results_and_over_seeds_that_of_its_questions(tmp_path: Path) -> None:
    right, half = task_folder(tmp_path / "a", [True] * 4), task_folder(tmp_path / "b", [True, False] * 2)
    one = answered([half])
    assert (one.value, one.low, one.high, one.n) == (0.5, *wilson(2, 4), 4)
    both, expected = answered([right, half]), across_seeds([[1, 1, 1, 1], [1, 0, 1, 0]])
    assert (both.value, both.sd, both.low) == (0.75, expected.sd, expected.low)
