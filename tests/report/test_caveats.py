import json
from dataclasses import replace
from typing import get_args

import pytest

from cada_trl.document.blocks import Table
from cada_trl.judging.card import LabelSet, card
from cada_trl.judging.judge import JudgeSees
from cada_trl.report.caveats import (
    eval_not_run,
    judge_blocks,
    judge_cards,
    judge_note,
    judge_sentence,
    missing_kinds,
    reward_judge_warnings,
    run_not_run,
)
from cada_trl.report.records import read_evaluation
from cada_trl.report.summary import summarise
from tests.report.made_up_evaluation import ANSWER, REFUSAL, ScoreJudge, answers_most, write_evaluation

PAID, CHOSE = ({"method": "grpo"}, {}), ({"method": "sft", "keep": "reasoned_refusal"},)
NO_PART = ({"method": "dpo", "keep": "complete"}, {"method": "self_distillation", "keep": None})


@pytest.mark.parametrize(
    ("algos", "judge_id", "words"),
    [
        (PAID, "a-1", "Warning: the judge a-1 paid the reward and also judged"),
        (CHOSE, "a-1", "Warning: the judge a-1 chose the targets and also judged"),
        (NO_PART, "a-1", "The judge a-1 judged the probes below. It had no part in the training."),
        (PAID, None, "The manifest does not name the judge: read every verdict below as unverified."),
    ],
)
def test_the_judge_that_trained_and_probed_is_named(run, algos, judge_id, words):
    for algo in algos:
        config = {**run.config, "algo": algo}
        assert judge_note(replace(run, manifest={"judge_id": judge_id}, config=config)).startswith(words)


@pytest.mark.parametrize(("checked", "n_seeds"), [(True, 3), (False, 1)])
def test_what_a_run_cannot_say_is_listed(run, checked, n_seeds):
    before, after = ([row for row in rows if row.set != "held_out"] for rows in (run.before, run.after))
    manifest = {"data": {"decontamination": {"checked": checked}}}
    smaller = replace(run, before=before, after=after, manifest=manifest)
    text = " ".join(run_not_run(smaller, summarise(smaller), n_seeds))
    assert "No probe on: held_out." in text and "The probes are no benchmark" in text
    assert ("One seed only" in text) == (n_seeds == 1)
    assert ("not checked for overlap" in text) == (not checked)


def test_what_is_missing_is_said_with_its_reason(before):
    sentences = eval_not_run(before)
    assert sentences[0] == "StrongREJECT, PAIR: 2 items without a prompt: no published prompt."
    assert "Not run: xstest_safe x pair: the requests are harmless; attacks are for harmful ones" in sentences
    assert any(one.startswith("Not evaluated: AdvBench") and "HEx-PHI (gated" in one for one in sentences)
    assert any(one.startswith("No number for judged harmful and harmful score: the judge") for one in sentences)
    assert any(one.startswith("Attacks marked transfer") for one in sentences)


def test_an_unfinished_call_a_limit_and_a_number_that_is_withheld_are_said(before, tmp_path):
    manifest, config = {**before.manifest, "exit_state": "interrupted"}, {**before.config, "limit": 25}
    sentences = eval_not_run(replace(before, manifest=manifest, config=config))
    unfinished = (
        "The last call on this folder did not finish (state: interrupted); these are the scores as last counted."
    )
    assert sentences[0] == unfinished  # its own, where no rate could be given
    assert any(one.startswith("At most 25 items per benchmark") for one in sentences)
    record = read_evaluation(write_evaluation(tmp_path / "a", lambda attempt: ""))
    assert eval_not_run(record)[0].startswith("StrongREJECT, no attack: ASR withheld: none of 24 has it")


def test_another_judges_verdicts_are_mentioned(tmp_path):
    path = write_evaluation(tmp_path / "a", answers_most)
    write_evaluation(tmp_path / "b", answers_most, ScoreJudge())
    name = "verdicts-strongreject-made-up-1.jsonl"
    (path / name).write_bytes((tmp_path / "b" / name).read_bytes())
    assert any(name in sentence for sentence in eval_not_run(read_evaluation(path)))


def test_what_the_page_lacks_is_said(before, after):
    assert len(missing_kinds([before], with_utility=False, with_runs=False)) == 3
    (sentence,) = missing_kinds([before, after], with_utility=True, with_runs=True)
    assert sentence.startswith("One seed a training")


def stored(folder):
    """A card of the made-up judge on four labelled responses, one of which it gets wrong."""
    pairs = [("a?", REFUSAL), ("b?", REFUSAL), ("c?", ANSWER), ("d?", ANSWER)]
    found = card(ScoreJudge(), [LabelSet("our four", "refused", pairs, [True, False, False, False], [])])
    folder.mkdir()
    (folder / f"{ScoreJudge.id}.json").write_text(json.dumps(found))
    return folder


def test_the_card_of_the_offline_judge_comes_with_the_package(before, after):
    ((judge, found),) = judge_cards([before, after], None).items()
    assert judge == before.scores.judge_id
    assert "XSTest" in judge_sentence(judge, found) and isinstance(judge_blocks(judge, found)[1], Table)


def test_a_card_that_was_measured_here_is_found(scored, tmp_path):
    ((judge, found),) = judge_cards([scored], stored(tmp_path / "cards")).items()
    table = judge_blocks(judge, found)[1]
    assert isinstance(table, Table)
    row = dict(zip(table.header, map(str, table.rows[0]), strict=True))
    assert row["Responses"] == "our four"
    assert row["Accuracy"].startswith("75.0 % (") and row["Precision"].startswith("50.0 % (")


@pytest.mark.parametrize("sees", [sees for sees in get_args(JudgeSees) if sees != "final_response"])
def test_a_judge_that_saw_more_has_the_card_of_final_responses_and_says_so(sees, scored, tmp_path):
    judge_id = f"{scored.scores.judge_id}-sees-{sees}"
    record = replace(scored, scores=scored.scores.model_copy(update={"judge_id": judge_id}))
    ((judge, found),) = judge_cards([record], tmp_path).items()
    said = judge_sentence(judge, found)
    assert "was never measured here" in said and "judging.calibrate" in said and f"judge_sees={sees}" in said
    assert found is None and len(judge_blocks(judge, found)) == 1
    ((judge, found),) = judge_cards([record], stored(tmp_path / "cards")).items()
    assert judge == judge_id and found is not None and found["sets"][0]["name"] == "our four"
    said = judge_sentence(judge, found)
    assert f"judge_sees={sees}" in said and "was not measured" in said


def trained(record, run, judge_id, algo="{method: cada}"):
    (run / "manifest.json").write_text(json.dumps({"judge_id": judge_id}))
    (run / "config.yaml").write_text(f"run_name: null\nalgo: {algo}\n")
    return replace(record, config={"model": {"source": "folder", "path": str(run / "final")}})


def test_no_judge_of_another_training_is_warned_of_and_a_panels_by_its_name(before, panelled, tmp_path):
    judge = before.scores.judge_id
    assert reward_judge_warnings([trained(before, tmp_path, other) for other in ("another", "")]) == []
    nowhere = {"model": {"source": "folder", "path": str(tmp_path / "nowhere" / "final")}}
    assert reward_judge_warnings([before, replace(before, config=nowhere)]) == []
    unknown = "The run that trained this model was not found beside its weights"
    said = [eval_not_run(one) for one in (replace(before, config=nowhere), trained(before, tmp_path, judge))]
    assert [any(one.startswith(unknown) for one in sentences) for sentences in said] == [True, False]
    (sentence,) = reward_judge_warnings([trained(panelled, tmp_path, "refused-made-up-1")])
    assert "refused-made-up-1 also paid" in sentence and "look at the rate by the other judges of the panel" in sentence


def test_a_judge_that_paid_the_reward_of_the_run_from_which_a_model_began_is_warned_of(before, tmp_path):
    judge, (first, second) = before.scores.judge_id, [tmp_path / name for name in ("first", "second")]
    for run in (first, second):
        run.mkdir()
    began = trained(before, first, judge).config["model"]
    record = trained(before, second, judge, f"{{method: dpo, keep: complete}}\nmodel: {json.dumps(began)}")
    (sentence,) = reward_judge_warnings([record])
    assert "also paid the reward in the training of first, from which before-1 began." in sentence


@pytest.mark.parametrize(
    ("algo", "sees", "part"),
    [
        ("{method: cada}", "", ["paid the reward"]),
        ("{method: cada}", "-sees-completion", ["paid the reward"]),
        ("{method: sft, keep: reasoned_refusal}", "", ["chose the targets"]),
        ("{method: dpo, keep: complete}", "", []),
    ],
)
def test_a_judge_is_warned_of_where_it_had_a_part_in_the_training_whatever_it_sees_here(
    before, tmp_path, algo, sees, part
):
    judge = before.scores.judge_id
    record = replace(before, scores=before.scores.model_copy(update={"judge_id": judge + sees}))
    said = [one.partition(". A policy")[0] for one in reward_judge_warnings([trained(record, tmp_path, judge, algo)])]
    assert said == [f"Warning: the judge {judge} also {one} in the training of before-1" for one in part]


def test_a_panels_page_has_the_card_of_each_judge_and_no_verdicts_of_another(panelled):
    assert list(judge_cards([panelled], None)) == ["panel-1", *(one.judge_id for one in panelled.scores.judges)]
    assert not any("The folder also holds" in sentence for sentence in eval_not_run(panelled))
