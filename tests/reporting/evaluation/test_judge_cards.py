from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from cada_trl.judging.card import LabelSet, card
from cada_trl.judging.judge import JudgeSees
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.judge_cards import judge_cards
from tests.reporting.evaluation.made_up import ANSWER, REFUSAL, ScoreJudge


def stored(folder: Path) -> Path:
    """A card of the made-up judge on four labelled responses, one of which it gets wrong."""
    pairs = [("a?", REFUSAL), ("b?", REFUSAL), ("c?", ANSWER), ("d?", ANSWER)]
    found: dict[str, Any] = card(
        ScoreJudge(), [LabelSet("our four", "refused", pairs, [True, False, False, False], [])]
    )
    folder.mkdir()
    (folder / f"{ScoreJudge.id}.json").write_text(json.dumps(found))
    return folder


def test_the_card_of_the_offline_judge_comes_with_the_package(before: EvalRecord, after: EvalRecord) -> None:
    (view,) = judge_cards([before, after], None)
    assert view.judge == before.scores.judge_id
    assert "XSTest" in view.sentence and view.rows


def test_a_card_that_was_measured_here_is_found(scored: EvalRecord, tmp_path: Path) -> None:
    (view,) = judge_cards([scored], stored(tmp_path / "cards"))
    assert view.rows[0].name == "our four"
    assert view.rows[0].rates["accuracy"].value == "75.0 %"
    assert view.rows[0].rates["precision"].value == "50.0 %"


def test_a_judge_that_was_never_measured_is_said_to_be(scored: EvalRecord, tmp_path: Path) -> None:
    (view,) = judge_cards([scored], tmp_path)
    assert "was never measured here" in view.sentence and "judging.calibrate" in view.sentence
    assert (view.rows, view.card) == ([], None)


@pytest.mark.parametrize("sees", [sees for sees in get_args(JudgeSees) if sees != "final_response"])
def test_a_judge_that_saw_more_has_the_card_of_final_responses_and_says_so(
    sees: str, scored: EvalRecord, tmp_path: Path
) -> None:
    judge_id = f"{scored.scores.judge_id}-sees-{sees}"
    record = replace(scored, scores=scored.scores.model_copy(update={"judge_id": judge_id}))
    (unmeasured,) = judge_cards([record], tmp_path)
    assert "was never measured here" in unmeasured.sentence and f"judge_sees={sees}" in unmeasured.sentence
    (view,) = judge_cards([record], stored(tmp_path / "cards"))
    assert view.judge == judge_id
    assert view.rows[0].name == "our four"
    assert f"judge_sees={sees}" in view.sentence and "was not measured" in view.sentence
