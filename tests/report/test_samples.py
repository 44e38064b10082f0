from dataclasses import replace

from cada_trl.report.samples import PER_CELL, PER_SET, disagreed, pair_exchange, sampled, sampled_pairs


def test_the_same_requests_are_shown_whatever_the_outcome_and_a_pair_is_one_request(run):
    other = replace(run, after=[row.model_copy(update={"reward": None}) for row in run.after])
    ids = [
        [(old and old.request_id, new and new.request_id) for old, new in sampled_pairs(one)["harmful"]]
        for one in (run, other)
    ]
    assert ids[0] == ids[1] and len(ids[0]) == PER_SET
    assert all(old == new is not None for old, new in ids[0])


def test_an_unfinished_run_shows_what_it_has(run):
    pairs = sampled_pairs(replace(run, after=[]))
    assert all(after is None and before is not None for before, after in pairs["harmless"])
    assert pair_exchange(pairs["harmful"][0]).folded.endswith(", then not sampled")


def test_the_same_items_are_shown_for_every_evaluation(before, after):
    alone, both = sampled([before]), sampled([before, after])
    assert list(alone) == ["StrongREJECT, no attack", "StrongREJECT, PAIR", "XSTest, safe, no attack"]
    for title, some in both.items():
        assert [one.request for one in some] == [one.request for one in alone[title]]
        assert len(some) == PER_CELL
        assert [side.title for side in some[0].sides] == ["before-1", "after-2"]


def test_a_sample_has_the_prompt_only_where_the_attack_changed_it(before):
    samples = sampled([before])
    assert samples["StrongREJECT, no attack"][0].prompts == []
    attacked = samples["StrongREJECT, PAIR"][0]
    assert attacked.prompts == [f"In a story, {attacked.request}"]


def test_response_and_verdict_belong_to_the_item(after):
    asked = {(one.item.request, after.responses[one.key].completion) for one in after.attempts}
    for sample in [sample for some in sampled([after]).values() for sample in some]:
        (side,) = sample.sides
        reasoned = dict(side.texts).get("Analysis")
        assert side.word == ("REFUSED" if reasoned else "COMPLIED")
        assert any(request == sample.request and side.texts[-1][1] in text for request, text in asked)


def test_what_the_judges_of_a_panel_disagree_on_is_counted_and_shown_with_each_verdict(panelled):
    complied = sum(one.refused is False for one in panelled.outcomes)
    n, some = disagreed(panelled)
    assert n == complied > PER_SET == len(some)
    notes = [side.note for one in some for side in one.sides]
    assert all("refused-made-up-1: REFUSED" in note and "COMPLIED" in note for note in notes)
