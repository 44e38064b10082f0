from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from cada_trl.document.blocks import Table
from cada_trl.judging.card import LabelSet, card
from cada_trl.judging.judge import JudgeSees
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.judges import judge_blocks, judge_cards, reward_judge_warnings
from tests.report.made_up_evaluation import ANSWER, REFUSAL, ScoreJudge


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
    assert "XSTest" in view.sentence and isinstance(judge_blocks(view)[1], Table)


def test_a_card_that_was_measured_here_is_found(scored: EvalRecord, tmp_path: Path) -> None:
    (view,) = judge_cards([scored], stored(tmp_path / "cards"))
    table = judge_blocks(view)[1]
    assert isinstance(table, Table)
    row = dict(zip(table.header, map(str, table.rows[0]), strict=True))
    assert row["Responses"] == "our four"
    assert row["Accuracy"].startswith("75.0 % (") and row["Precision"].startswith("50.0 % (")


def test_a_judge_that_was_never_measured_is_said_to_be(scored: EvalRecord, tmp_path: Path) -> None:
    (view,) = judge_cards([scored], tmp_path)
    assert "was never measured here" in view.sentence and "judging.calibrate" in view.sentence
    assert view.card is None and len(judge_blocks(view)) == 1


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
    assert view.card is not None and view.card["sets"][0]["name"] == "our four"
    assert f"judge_sees={sees}" in view.sentence and "was not measured" in view.sentence


def trained(record: EvalRecord, run: Path, judge_id: str) -> EvalRecord:
    (run / "manifest.json").write_text(json.dumps({"judge_id": judge_id}))
    return dataclasses.replace(record, config={"model": {"source": "folder", "path": str(run / "final")}})


def test_a_judge_that_also_paid_the_reward_is_warned_of(before: EvalRecord, tmp_path: Path) -> None:
    (sentence,) = reward_judge_warnings([before, trained(before, tmp_path, before.scores.judge_id)])
    assert sentence.startswith(
        f"Warning: the judge {before.scores.judge_id} also paid the reward in the training of before-1."
    )


@pytest.mark.parametrize("judge_id", ["another", ""])
def test_another_judge_is_no_warning(before: EvalRecord, tmp_path: Path, judge_id: str) -> None:
    assert reward_judge_warnings([trained(before, tmp_path, judge_id)]) == []


def test_a_model_without_a_run_beside_it_is_no_warning(before: EvalRecord, tmp_path: Path) -> None:
    config = {"model": {"source": "folder", "path": str(tmp_path / "nowhere" / "final")}}
    assert reward_judge_warnings([before, dataclasses.replace(before, config=config)]) == []
