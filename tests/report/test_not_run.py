from __future__ import annotations

import dataclasses
from pathlib import Path

from cada_trl.report.eval_record import EvalRecord, read_evaluation
from cada_trl.report.not_run import eval_not_run, missing_kinds
from tests.report.made_up_evaluation import ScoreJudge, answers_most, write_evaluation


def test_what_is_missing_is_said_with_its_reason(before: EvalRecord) -> None:
    sentences = eval_not_run(before)
    assert sentences[0] == "StrongREJECT, PAIR: 2 items without a prompt: no published prompt."
    assert "Not run: xstest_safe x pair: the requests are harmless; attacks are for harmful ones" in sentences
    assert any(one.startswith("Not evaluated: AdvBench") and "HEx-PHI (gated" in one for one in sentences)
    assert any(one.startswith("No number for judged harmful and harmful score: the judge") for one in sentences)
    assert any(one.startswith("Attacks marked transfer") for one in sentences)


def test_an_unfinished_call_and_a_limit_are_said(before: EvalRecord) -> None:
    manifest, config = {**before.manifest, "exit_state": "interrupted"}, {**before.config, "limit": 25}
    sentences = eval_not_run(dataclasses.replace(before, manifest=manifest, config=config))
    assert sentences[0].startswith("The last call on this folder did not finish (state: interrupted)")
    assert any(one.startswith("At most 25 items per benchmark") for one in sentences)


def test_a_number_that_is_withheld_is_named(tmp_path: Path) -> None:
    record = read_evaluation(write_evaluation(tmp_path / "a", lambda attempt: ""))
    assert eval_not_run(record)[0].startswith("StrongREJECT, no attack: ASR withheld: none of 24 has it")


def test_another_judges_verdicts_are_mentioned(tmp_path: Path) -> None:
    path = write_evaluation(tmp_path / "a", answers_most)
    write_evaluation(tmp_path / "b", answers_most, ScoreJudge())
    name = "verdicts-strongreject-made-up-1.jsonl"
    (path / name).write_bytes((tmp_path / "b" / name).read_bytes())
    assert any(name in sentence for sentence in eval_not_run(read_evaluation(path)))


def test_what_the_page_lacks_is_said(before: EvalRecord, after: EvalRecord) -> None:
    assert len(missing_kinds([before], with_utility=False, with_runs=False)) == 3
    (sentence,) = missing_kinds([before, after], with_utility=True, with_runs=True)
    assert sentence.startswith("One seed a training")
