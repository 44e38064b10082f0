"""The terminal's table: intervals where there are numbers, n/a where there are none, no empty columns."""

from __future__ import annotations

from rich.console import Console

from cada_trl.evals.items import Attempt, Item
from cada_trl.evals.outcomes import Outcome
from cada_trl.evals.score_table import not_run_lines, score_table, withheld_lines
from cada_trl.evals.scores import Scores, score


def scores(refused: list[bool | None], harm: float | None = None, missing: int = 0) -> Scores:
    items = [Item(f"six-{number}", "six", "request", None, "", True) for number in range(len(refused))]
    outcomes = [
        Outcome(Attempt(item, "none", "request", ""), said, None, harm, reasoning=False, truncated=True)
        for item, said in zip(items, refused, strict=True)
    ]
    return score(outcomes, {("six", "none"): missing}, {"six": "asr"}, "judge-1", min_coverage=0.9)


def shown(scores: Scores) -> str:
    console = Console(width=80)
    with console.capture() as capture:
        console.print(score_table("model-1", scores))
    return capture.get()


def test_a_rate_has_its_interval_and_its_counts() -> None:
    # Wilson of 1 in 4: [0.046, 0.699]
    said = shown(scores([True, True, True, False]))
    assert "model-1, judged by judge-1" in said
    assert "ASR 25.0 [4.6, 69.9]" in said
    assert "4/4" in said
    assert "100" in said  # truncated


def test_columns_that_say_nothing_are_left_out_and_those_that_do_are_there() -> None:
    plain, full = shown(scores([True])), shown(scores([True], harm=0.25, missing=3))
    assert not any(word in plain for word in ("lacks", "score", "harmful"))
    assert all(word in full for word in ("lacks", "3", "score", "25.0"))
    assert "reason" in plain  # none did: 0 % was measured


def test_a_withheld_rate_is_no_number_and_says_why() -> None:
    withheld = scores([True, None])
    assert "n/a" in shown(withheld)
    assert "1/2" in shown(withheld)
    assert withheld_lines(withheld)[0].startswith("six x none: ASR withheld: known for 1 of 2")
    assert withheld_lines(scores([True])) == []


def test_the_numbers_stay_on_one_line_in_eighty_columns_whatever_the_names() -> None:
    long = scores([True, False], harm=0.5, missing=1)
    cell = long.cells[0].model_copy(update={"benchmark": "jailbreakbench_harmful", "attack": "prefix_injection"})
    assert "ASR 50.0 [9.5, 90.5]" in shown(long.model_copy(update={"cells": [cell]}))


def test_what_was_not_run_for_one_reason_is_one_line() -> None:
    sentences = ["a x pair: harmless: asked raw", "b x pap: nobody published it", "a x pap: harmless: asked raw"]
    assert not_run_lines(sentences) == [
        "not run: a x pair, a x pap: harmless: asked raw",
        "not run: b x pap: nobody published it",
    ]
