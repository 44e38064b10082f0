from __future__ import annotations

import dataclasses

from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.run_record import RunRecord
from cada_trl.report.samples import PER_CELL, PER_SET, sampled, sampled_pairs


def test_the_same_requests_are_shown_whatever_the_outcome(run: RunRecord) -> None:
    other = dataclasses.replace(run, after=[row.model_copy(update={"reward": None}) for row in run.after])
    ids = [pair.either.request_id for pair in sampled_pairs(run)["harmful"]]
    assert ids == [pair.either.request_id for pair in sampled_pairs(other)["harmful"]]
    assert len(ids) == PER_SET


def test_a_pair_is_one_request(run: RunRecord) -> None:
    for pairs in sampled_pairs(run).values():
        for pair in pairs:
            assert pair.before is not None and pair.after is not None
            assert pair.before.request_id == pair.after.request_id


def test_an_unfinished_run_shows_what_it_has(run: RunRecord) -> None:
    pairs = sampled_pairs(dataclasses.replace(run, after=[]))["harmless"]
    assert all(pair.after is None and pair.before is not None for pair in pairs)


def test_the_same_items_are_shown_for_every_evaluation(before: EvalRecord, after: EvalRecord) -> None:
    alone, both = sampled([before]), sampled([before, after])
    assert list(alone) == ["StrongREJECT, no attack", "StrongREJECT, PAIR", "XSTest, safe, no attack"]
    for title, some in both.items():
        assert [one.item.id for one in some] == [one.item.id for one in alone[title]]
        assert len(some) == PER_CELL
        assert [shown.evaluation for shown in some[0].shown] == ["before-1", "after-2"]


def test_a_sample_has_the_prompt_only_where_the_attack_changed_it(before: EvalRecord) -> None:
    samples = sampled([before])
    assert samples["StrongREJECT, no attack"][0].prompts == []
    attacked = samples["StrongREJECT, PAIR"][0]
    assert attacked.prompts == [f"In a story, {attacked.item.request}"]


def test_response_verdict_and_reasoning_belong_to_the_item(after: EvalRecord) -> None:
    for some in sampled([after]).values():
        for sample in some:
            (shown,) = sample.shown
            assert shown.attempt is not None and shown.attempt.item == sample.item
            assert shown.word == ("REFUSED" if shown.split and shown.split.reasoned else "COMPLIED")
