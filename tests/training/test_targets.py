"""Which samples become targets: every reason by hand, counted, and an empty set refused."""

import pytest
from end_to_end.tiny_model import tiny_tokenizer

from cada_trl.errors import UserError
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Request, Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.training.stock import said
from cada_trl.training.targets import Target, check_kept, counts, fixed_answers, in_words, reason_to_drop

REASONED = "### Analysis\nIt would harm.\n### Final Response\nI'm sorry, but I can't help with that."
DIRECT = "I'm sorry, but I can't help with that."


def scored(text, verdict):
    return ScoredCompletion(text, split_reasoning(text), verdict, 0.0)


REFUSED, COMPLIED, UNSCORED = Verdict.REFUSED, Verdict.COMPLIED, Verdict.UNSCORED


@pytest.mark.parametrize(
    ("text", "verdict", "harmful", "reason"),
    [
        (REASONED, REFUSED, True, None),
        (DIRECT, REFUSED, True, "refused_without_both_headers"),
        ("Of course.", COMPLIED, True, "complied"),
        (REASONED, COMPLIED, True, "complied"),
        (REASONED, UNSCORED, True, "unscored"),
        ("Of course.", COMPLIED, False, None),
        (DIRECT, REFUSED, False, "refused_a_harmless_request"),
        (" \n", UNSCORED, True, "empty"),
    ],
)
def test_rejection_keeps_what_the_reward_pays_in_full(text, verdict, harmful, reason):
    assert reason_to_drop(text, False, harmful, scored(text, verdict)) == reason


@pytest.mark.parametrize("text", [REASONED, DIRECT, "Of course."])
def test_without_rejection_whatever_is_complete_is_kept(text):
    assert reason_to_drop(text, False, True) is None


def test_a_completion_that_was_cut_off_is_no_target():
    assert reason_to_drop(REASONED, True, True) == "truncated"
    assert reason_to_drop(REASONED, True, True, scored(REASONED, REFUSED)) == "truncated"


def test_a_harmless_answer_that_was_cut_off_is_learned_as_a_beginning_but_compared_with_no_rejected_one():
    assert reason_to_drop("Of course.", True, False) is None
    assert reason_to_drop("Of course.", True, False, scored("Of course.", COMPLIED)) is None
    assert reason_to_drop("Of course.", True, False, unequal_to=DIRECT) == "truncated"


def test_a_beginning_is_learned_without_an_end_and_a_whole_answer_as_its_chat_has_it():
    tokenizer = tiny_tokenizer()
    whole = said(tokenizer, Target("r0", "May I?", False, "Yes, you may."))
    chat = [{"role": "user", "content": "May I?"}, {"role": "assistant", "content": "Yes, you may."}]
    assert whole["input_ids"] == tokenizer.apply_chat_template(chat, return_dict=True)["input_ids"]
    assert tokenizer.decode(learned(whole)) == f"Yes, you may.{tokenizer.eos_token}"
    begun = said(tokenizer, Target("r0", "May I?", False, "Yes, you may.", ended=False))
    assert whole["input_ids"] == [*begun["input_ids"], tokenizer.eos_token_id]
    assert tokenizer.decode(learned(begun)) == "Yes, you may."


def learned(row):
    return [token for token, counts in zip(row["input_ids"], row["completion_mask"], strict=True) if counts]


def test_a_pair_of_equal_answers_is_refused():
    assert reason_to_drop(f" {DIRECT}\n", False, True, unequal_to=DIRECT) == "equal_to_the_rejected_answer"
    assert reason_to_drop(REASONED, False, True, unequal_to=DIRECT) is None


def test_counts_add_up_to_what_was_sampled():
    rows = [{"harmful": True}] * 4 + [{"harmful": False}] * 2
    report = counts(0, rows, [None, "complied", "complied", "truncated", None, "refused_a_harmless_request"])
    assert report["harmful"] == {"fixed": 0, "sampled": 4, "kept": 1, "dropped": {"complied": 2, "truncated": 1}}
    assert report["harmless"] == {"fixed": 0, "sampled": 2, "kept": 1, "dropped": {"refused_a_harmless_request": 1}}
    assert in_words(report) == (
        "harmful: kept 1 of 4 samples (dropped: 2 complied, 1 truncated); "
        "harmless: kept 1 of 2 samples (dropped: 1 refused a harmless request)"
    )


def test_an_empty_kept_set_is_refused_with_the_reasons():
    report = counts(0, [{"harmful": True}] * 3, ["complied", "complied", "truncated"])
    with pytest.raises(UserError, match=r"no target is left for harmful requests: kept 0 of 3 .*2 complied, 1 trunc"):
        check_kept(report, ["harmful"])


def test_harmless_targets_are_missed_only_where_the_batch_holds_harmless_requests():
    report = counts(5, [], [])
    check_kept(report, ["harmful"])
    with pytest.raises(UserError, match="no target is left for harmless requests"):
        check_kept(report, ["harmful", "harmless"])


def test_the_fixed_refusal_is_the_same_for_every_request():
    requests = [Request(f"r{n}", f"request {n}", "hate", True, "test") for n in range(3)]
    targets = fixed_answers(requests, DIRECT, ended=True)
    assert {target.text for target in targets} == {DIRECT}
    assert [target.request for target in targets] == ["request 0", "request 1", "request 2"]
    assert in_words(counts(3, [], [])) == "harmful: one fixed text for 3 requests"
