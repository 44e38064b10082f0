"""Which samples become targets: every reason by hand, counted, and an empty set refused."""

from types import SimpleNamespace

import pytest
from end_to_end.tiny_model import tiny_tokenizer

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Request, Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.training import targets as module
from cada_trl.training.stock import said
from cada_trl.training.targets import (
    Target,
    check_kept,
    counts,
    in_words,
    make_targets,
    reason_to_drop,
    sampled,
)

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
    assert in_words(counts(3, [], [])) == "harmful: one fixed text for 3 requests"


def test_harmless_targets_are_missed_only_where_the_batch_holds_harmless_requests():
    report = counts(5, [], [])
    check_kept(report, ["harmful"])
    with pytest.raises(UserError, match="no target is left for harmless requests"):
        check_kept(report, ["harmful", "harmless"])


class Verdicts:
    """A judge that gives each request its verdict, and refuses the others."""

    def __init__(self):
        self.of, self.n_asked = {}, 0

    def __call__(self, rows, texts, truncated):
        self.n_asked += 1
        return [scored(text, self.of.get(row["request_id"], REFUSED)) for row, text in zip(rows, texts, strict=True)]


def a_run(folder, *words):
    """What make_targets takes of a run; score is a Verdicts."""
    (folder / "checkpoints").mkdir(exist_ok=True)
    requests = [Request(f"r{n}", f"request {n}", "hate", True, "test") for n in range(16)]
    return SimpleNamespace(
        config=load_config(["algo=rejection_sft", "benign_frac=0.0", "max_steps=1", *words]),
        data=SimpleNamespace(train=requests, benign_train=[]),
        folder=SimpleNamespace(is_main=True, path=folder, checkpoints=folder / "checkpoints"),
        pack=load_pack("builtin"),
        manifest={"data_hash": "d", "template_hash": "t"},
        n_steps=1,
        score=Verdicts(),
        note=lambda *_: None,
        say=lambda *_: None,
    )


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run of four samples, the third of which the judge is silent on."""
    row = {"harmful": True, "truncated": False, "completion": REASONED}
    rows = [{"request_id": f"r{n}", "request": f"request {n}", **row} for n in range(4)]
    monkeypatch.setattr(module, "sampled", lambda run, with_harmful: (tmp_path, rows))
    run = a_run(tmp_path)
    run.score.of["r2"] = UNSCORED
    return run


def kept(run):
    return [target.request_id for target in make_targets(run)]


def test_a_run_that_goes_on_from_a_checkpoint_keeps_the_targets_that_it_began_with(run):
    assert kept(run) == ["r0", "r1", "r3"]
    (run.folder.checkpoints / "checkpoint-1").mkdir()
    run.score.of.clear()
    assert kept(run) == ["r0", "r1", "r3"] and run.score.n_asked == 1


def test_before_its_first_checkpoint_a_run_that_begins_again_asks_the_judge_again(run):
    assert kept(run) == ["r0", "r1", "r3"]
    run.score.of.clear()
    assert kept(run) == ["r0", "r1", "r2", "r3"]


def test_other_samples_than_those_that_were_judged_are_judged(run, monkeypatch):
    kept(run)
    (run.folder.checkpoints / "checkpoint-1").mkdir()
    _, rows = module.sampled(run, with_harmful=True)
    monkeypatch.setattr(module, "sampled", lambda run, with_harmful: (None, [*rows[:3], {**rows[3], "completion": ""}]))
    assert kept(run) == ["r0", "r1"] and run.score.n_asked == 2


def test_a_rank_takes_what_the_main_process_decided_and_asks_no_judge(run, monkeypatch):
    run.folder.is_main = False
    monkeypatch.setattr("accelerate.utils.gather_object", lambda mine: [*mine, None, "unscored", None, "complied"])
    assert kept(run) == ["r0", "r2"] and run.score.n_asked == 0


def test_a_step_of_another_number_of_requests_cuts_other_seeded_batches_and_shares_no_samples(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "model_identity", lambda model: {})
    monkeypatch.setattr(module, "_is_whole", lambda folder, n: folders.append(folder) or n == 16)
    monkeypatch.setattr(module, "read_jsonl", lambda path: ((n, {"request_id": f"r{n}"}) for n in range(16)))
    folders = []
    for n_requests, n_steps in ((16, 1), (8, 2)):
        run = a_run(tmp_path, f"requests_per_step={n_requests}", "micro_batch=8")
        run.n_steps = n_steps
        assert len(sampled(run, with_harmful=True)[1]) == 16
    assert folders[0] != folders[1]


def test_samples_that_are_gone_are_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "model_identity", lambda model: {})
    monkeypatch.setattr(module, "_is_whole", lambda folder, n: True)
    monkeypatch.setattr(module, "read_jsonl", lambda path: ((n, {"request_id": f"r{n}"}) for n in range(14)))
    with pytest.raises(UserError, match=r"samples\.jsonl lacks 2 of its samples, such as r1[45]; without .*manifest"):
        sampled(a_run(tmp_path), with_harmful=True)
