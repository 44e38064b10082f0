"""The metrics of a step by hand, from rows of several ranks."""

import math

import pytest
import torch

from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.tracking.metrics import checked
from cada_trl.training.step_record import StepRecord

REASONED = "### Analysis\nw1\n### Final Response\nw2"
# text, verdict, reward, harmful, truncated
ROLLOUTS = [
    (REASONED, Verdict.REFUSED, 1.0, True, False),
    ("w2", Verdict.REFUSED, 0.0, True, False),
    ("w3", Verdict.COMPLIED, -1.0, True, True),
    ("w4", Verdict.UNSCORED, math.nan, True, False),
    ("w5", Verdict.COMPLIED, 1.0, False, False),
]


def _record(rollouts, anchors=None):
    record = StepRecord()
    inputs = [{"request_id": f"r{i}", "harmful": harmful, "secret": 1} for i, (*_, harmful, _) in enumerate(rollouts)]
    scored = [ScoredCompletion(text, split_reasoning(text, cut), said, pay) for text, said, pay, _, cut in rollouts]
    mask = torch.tensor([[1, 1]] * (len(rollouts) - 1) + [[1, 0]])
    advantages = torch.tensor([0.5, 0.0, -0.5, 0.0, 1.0][: len(rollouts)])
    part = {"inputs": inputs, "scored": scored, "completion_mask": mask, "advantages": advantages}
    part |= {"truncated": [cut for *_, cut in rollouts]}
    record.start(part, anchors or [False] * len(rollouts), 0.25, rollout_s=2.0)
    return record


def _metrics(rollouts):
    record = _record(rollouts)
    return record.metrics(record.rows())


def _add_kl(record, rows, kl_b):
    record.add(rows, kl_nats=kl_b, kl_k1_nats=10 * kl_b, kl_k3_nats=2 * kl_b)


def _add_scores(record, rows, logp_b, entropy_b, loss):
    record.add(rows, logp_nats=logp_b, entropy_sum_nats=entropy_b)
    record.add_loss(torch.tensor(loss))


def test_the_metrics_of_a_step_are_those_counted_by_hand():
    wanted = {
        "reward_mean": 0.25,  # of the scored: (1 + 0 - 1 + 1) / 4
        "reward_sd": math.sqrt(0.6875),  # 0.75^2 + 0.25^2 + 1.25^2 + 0.75^2 over 4
        "unscored_frac": 1 / 5,
        "reasoned_refusal_frac": 1 / 3,  # of the scored harmful ones
        "direct_refusal_frac": 1 / 3,
        "comply_frac": 1 / 3,
        "benign_answered_frac": 1.0,
        "completion_tok": 9 / 5,  # of all
        "truncated_frac": 1 / 5,
        "advantage_zero_frac": 2 / 5,
    }
    metrics = _metrics(ROLLOUTS)
    assert {name: metrics[f"train/{name}"] for name in wanted} == pytest.approx(wanted)


def test_a_step_without_any_score_has_no_reward_instead_of_zero():
    metrics = _metrics([ROLLOUTS[3]])
    for name in ("reward_mean", "reward_sd", "reasoned_refusal_frac", "comply_frac", "benign_answered_frac", "kl_nats"):
        assert math.isnan(metrics[f"train/{name}"]), name


def test_kl_entropy_and_loss_come_from_the_micro_batches_by_row():
    record = _record(ROLLOUTS[:3])
    _add_kl(record, [2, 0], torch.tensor([0.3, 0.1]))
    _add_kl(record, [1], torch.tensor([0.2]))
    _add_scores(record, [2, 0], torch.tensor([-3.0, -1.0]), torch.tensor([4.0, 3.0]), 0.7)
    _add_scores(record, [1], torch.tensor([-2.0]), torch.tensor([3.0]), 0.2)
    rows = record.rows()
    assert [row["kl_nats"] for row in rows] == pytest.approx([0.1, 0.2, 0.3])
    assert [row["logp_nats"] for row in rows] == pytest.approx([-1.0, -2.0, -3.0])
    metrics = record.metrics(rows)
    assert metrics["train/kl_nats"] == pytest.approx(0.2)
    assert metrics["train/kl_k1_nats"] == pytest.approx(2.0)
    assert metrics["train/kl_k3_nats"] == pytest.approx(0.4)
    assert metrics["train/entropy_nats"] == pytest.approx(10 / 5)  # a token: 2 + 2 + 1 of them
    assert metrics["train/loss"] == pytest.approx(0.9)


def test_the_loss_of_two_ranks_is_the_sum_of_their_shares():
    first, second = _record(ROLLOUTS[:2]), _record(ROLLOUTS[2:])
    first.add_loss(torch.tensor(0.5))
    second.add_loss(torch.tensor(0.25))
    assert first.metrics([*first.rows(), *second.rows()])["train/loss"] == pytest.approx(0.75)


def test_a_new_step_forgets_the_last_ones_loss():
    record = _record(ROLLOUTS)
    record.add_loss(torch.tensor(9.0))
    nothing = {"inputs": [], "scored": [], "truncated": []}
    record.start({**nothing, "completion_mask": torch.zeros(0, 1), "advantages": torch.zeros(0)}, [], None, 0.0)
    metrics = record.metrics(record.rows())
    assert metrics["train/loss"] == 0.0
    assert math.isnan(metrics["train/baseline"])


def test_anchors_count_in_the_loss_and_in_the_harmless_kl_and_in_nothing_else():
    anchor = ("w6", Verdict.UNSCORED, math.nan, False, True)
    record = _record([*ROLLOUTS[:4], anchor], [False] * 4 + [True])
    without = _metrics(ROLLOUTS[:4])
    _add_kl(record, range(5), torch.tensor([0.1, 0.2, 0.3, 0.4, 9.0]))
    _add_scores(record, range(5), torch.zeros(5), torch.tensor([1.0, 1.0, 1.0, 1.0, 50.0]), 0.6)
    rows = record.rows()
    assert [row["anchor"] for row in rows] == [False] * 4 + [True]
    metrics = record.metrics(rows)
    assert metrics["train/loss"] == pytest.approx(0.6)
    assert metrics["train/benign_kl_nats"] == pytest.approx(9.0)
    assert metrics["train/kl_nats"] == pytest.approx(0.25)
    assert metrics["train/kl_k1_nats"] == pytest.approx(2.5)
    assert metrics["train/entropy_nats"] == pytest.approx(4 / 8)  # four rows of two tokens
    assert metrics["train/unscored_frac"] == pytest.approx(1 / 4)
    assert math.isnan(metrics["train/benign_answered_frac"])
    names = ("reward_mean", "reward_sd", "advantage_mean", "reasoned_refusal_frac", "comply_frac", "truncated_frac")
    assert [metrics[f"train/{name}"] for name in names] == [without[f"train/{name}"] for name in names]
    assert metrics["train/advantage_zero_frac"] == pytest.approx(2 / 4)


def test_judged_harmless_rollouts_count_in_both_kls():
    record = _record(ROLLOUTS)
    _add_kl(record, range(5), torch.tensor([0.1, 0.2, 0.3, 0.4, 1.5]))
    metrics = record.metrics(record.rows())
    assert metrics["train/kl_nats"] == pytest.approx(0.5)
    assert metrics["train/benign_kl_nats"] == pytest.approx(1.5)


def test_a_row_keeps_the_named_columns_of_the_dataset_and_no_others():
    row = _record(ROLLOUTS).rows()[0]
    assert row["request_id"] == "r0"
    assert "secret" not in row
    assert (row["analysis"], row["final_response"], row["reasoned"]) == ("w1", "w2", True)


def _corrected(capped, missing, gaps):
    record = _record(ROLLOUTS[:2])  # of 2 tokens and of 1
    values = {"capped_tok": torch.tensor(capped), "unweighted_tok": torch.tensor(missing)}
    record.add([1, 0], **values, sampler_gap_sum_nats=torch.tensor(gaps))
    metrics = record.metrics(record.rows())
    assert len(checked(metrics)) == len(metrics)  # each name is in the registry
    return metrics


def test_shares_of_corrected_tokens_go_over_the_tokens_of_all_rows():
    metrics = _corrected([1, 0], [0, 1], [0.25, 0.5])
    # capped 1 and unweighted 1 of 3 tokens; the gap goes over the 2 that vLLM scored
    names = ("importance_capped_frac", "importance_masked_frac", "sampler_gap_nats")
    assert [metrics[f"train/{name}"] for name in names] == pytest.approx([1 / 3, 1 / 3, 0.75 / 2])


def test_a_step_that_vllm_scored_no_token_of_has_no_gap_and_one_without_a_correction_records_none():
    assert math.isnan(_corrected([0, 0], [1, 2], [0.0, 0.0])["train/sampler_gap_nats"])
    assert not [name for name in _metrics(ROLLOUTS) if "importance" in name or "gap" in name]


def test_the_names_of_the_samplers_own_metrics_are_in_the_registry():
    assert len(checked({"train/sync_gap_nats": 0.5, "train/prefix_hit_frac": 0.5})) == 2
