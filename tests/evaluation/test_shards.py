"""A part of an evaluation: which it is, and what the whole takes over from the parts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from cada_trl import evaluate as verb
from cada_trl.data import benchmark_items
from cada_trl.errors import UserError
from cada_trl.evaluation import model as tested_model
from cada_trl.evaluation.shards import Shard, shard_of
from cada_trl.records import read_jsonl
from cada_trl.storage.files import held

from .small_evaluation import ScriptedGenerator, overrides, write_benchmarks, write_model

Call = Callable[..., list[str]]


def array(number: int, first: int, n: int, step: int) -> dict[str, str]:
    values = {"ID": number, "MIN": first, "COUNT": n, "STEP": step}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(
    ("text", "environment", "shard"),
    [
        ("2/8", {}, Shard(2, 8)),
        ("slurm", array(3, 0, 4, 1), Shard(4, 4)),
        ("slurm", array(9, 1, 3, 4), Shard(3, 3)),
        ("slurm", {"SLURM_PROCID": "0", "SLURM_NTASKS": "2"}, Shard(1, 2)),
    ],
)
def test_a_part_is_counted_from_one_or_as_slurm_counts(text: str, environment: dict[str, str], shard: Shard) -> None:
    assert shard_of(text, environment) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "one/two", "slurm", "1/1000000000"])
def test_what_is_no_part_names_one(text: str) -> None:
    with pytest.raises(UserError, match=r"shard=.*1/4"):
        shard_of(text, {})


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call the verb on the small evaluation; returns what the model was asked."""
    write_model(write_benchmarks(tmp_path) / "model")
    monkeypatch.setattr(benchmark_items, "BENCHMARK_DIR", tmp_path / "benchmark")
    monkeypatch.setattr(tested_model, "make_generator", lambda model, settings: ScriptedGenerator())
    monkeypatch.setattr(tested_model, "quiet_libraries", lambda: None)

    def run(*words: str, evals: str = "evals") -> list[str]:
        ScriptedGenerator.asked.clear()
        assert verb.main([*overrides(tmp_path, "min_coverage=0.8", *words), f"evals_dir={tmp_path / evals}"]) == 0
        return list(ScriptedGenerator.asked)

    return run


def folder(tmp_path: Path, evals: str = "evals") -> Path:
    (path,) = (file.parent for file in (tmp_path / evals).glob("*/manifest.json"))
    return path


def shards(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "evals").glob("*/shards/*"))


def responses(path: Path) -> set[tuple[str, str]]:
    return {(row["key"], row["completion"]) for _, row in read_jsonl(path / "responses.jsonl")}


@pytest.mark.parametrize("judge", ["judge=phrases", "judge=[phrases,classifier]"])
def test_parts_ask_every_request_once_and_their_whole_is_as_asked_by_one(
    tmp_path: Path, call: Call, capsys: pytest.CaptureFixture[str], judge: str
) -> None:
    asked = [call(f"shard={index}/3", judge) for index in (1, 2, 3)]
    assert "answers in" in capsys.readouterr().out
    assert not list(tmp_path.glob("evals/*/scores.json")) + list(tmp_path.glob("evals/*/shards/*/scores.json"))
    verdicts = {file.parent.name for file in tmp_path.glob("evals/*/shards/*/verdicts-*.jsonl")}
    assert len(verdicts) == 3
    assert call(judge) == []
    assert "with the answers of 3 shards" in capsys.readouterr().out
    alone = call(judge, evals="alone")
    assert sorted(text for part in asked for text in part) == sorted(alone)
    assert responses(folder(tmp_path)) == responses(folder(tmp_path, "alone"))
    parts, whole = (json.loads((folder(tmp_path, evals) / "scores.json").read_text()) for evals in ("evals", "alone"))
    assert parts == whole
    assert folder(tmp_path).name == folder(tmp_path, "alone").name


def test_what_no_part_answered_is_asked_by_the_whole(tmp_path: Path, call: Call) -> None:
    first = call("shard=1/2")
    rest = call()
    assert rest
    assert sorted(first + rest) == sorted(call(evals="alone"))
    assert call() == []  # taken over once


def test_a_part_that_is_being_answered_is_waited_for(tmp_path: Path, call: Call) -> None:
    call("shard=1/2")
    (path,) = shards(tmp_path)
    with held(path / "folder.lock", "busy"), pytest.raises(UserError, match="1-of-2 is being answered; wait for it"):
        call()


def test_a_part_of_another_evaluation_is_not_taken_over(tmp_path: Path, call: Call) -> None:
    call("shard=1/2")
    (path,) = shards(tmp_path)
    shutil.move(path, path.parent / "2-of-2")
    with pytest.raises(UserError, match="2-of-2 is part of another evaluation; move it away"):
        call()


def test_an_answer_that_was_edited_in_a_part_is_noticed(tmp_path: Path, call: Call) -> None:
    call("shard=1/2")
    (path,) = shards(tmp_path)
    file = path / "responses.jsonl"
    file.write_text(file.read_text().replace("sorry", "happy"))
    with pytest.raises(UserError, match=r"responses\.jsonl was edited after it was written"):
        call()
