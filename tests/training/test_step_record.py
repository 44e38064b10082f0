"""The metrics of a step by hand, from rows of several ranks."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from cada_trl.algo.objective import Mismatch
from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Verdict
from cada_trl.reward import ScoredCompletion
from cada_trl.tracking.metrics import checked
from cada_trl.training.step_record import StepRecord, _mismatch

REASONED = "### Analysis\nw1\n### Final Response\nw2"
# text, verdict, reward, harmful, truncated
ROLLOUTS = [
    (REASONED, Verdict.REFUSED, 1.0, True, False),
    ("w2", Verdict.REFUSED, 0.0, True, False),
    ("w3", Verdict.COMPLIED, -1.0, True, True),
    ("w4", Verdict.UNSCORED, math.nan, True, False),
    ("w5", Verdict.COMPLIED, 1.0, False, False),
]


def _record(rollouts: list[Any], anchors: list[bool] | None = None) -> StepRecord:
    record = StepRecord()
    inputs = [{"request_id": f"r{i}", "harmful": harmful, "secret": 1} for i, (*_, harmful, _) in enumerate(rollouts)]
    scored = [ScoredCompletion(text, split_reasoning(text, cut), said, pay) for text, said, pay, _, cut in rollouts]
    mask = torch.tensor([[1, 1]] * (len(rollouts) - 1) + [[1, 0]])
    advantages = torch.tensor([0.5, 0.0, -0.5, 0.0, 1.0][: len(rollouts)])
    part = {"inputs": inputs, "scored": scored, "completion_mask": mask, "advantages": advantages}
    part |= {"truncated": [cut for *_, cut in rollouts]}
    record.start(part, anchors or [False] * len(rollouts), 0.25, rollout_s=2.0)
    return record


def _metrics(rollouts: list[Any]) -> dict[str, float]:
    record = _record(rollouts)
    return record.metrics(record.rows())


def test_the_reward_is_that_of_the_scored_rollouts() -> None:
    metrics = _metrics(ROLLOUTS)
    assert metrics["train/reward_mean"] == pytest.approx(0.25)  # (1 + 0 - 1 + 1) / 4
    assert metrics["train/reward_sd"] == pytest.approx(math.sqrt(0.6875))  # 0.75^2 + 0.25^2 + 1.25^2 + 0.75^2 over 4
    assert metrics["train/unscored_frac"] == pytest.approx(0.2)


def test_refusals_and_answers_are_shares_of_the_scored_harmful_rollouts() -> None:
    metrics = _metrics(ROLLOUTS)
    names = ("reasoned_refusal_frac", "direct_refusal_frac", "comply_frac")
    assert [metrics[f"train/{name}"] for name in names] == pytest.approx([1 / 3] * 3)
    assert metrics["train/benign_answered_frac"] == 1.0


def test_lengths_and_cuts_are_of_all_rollouts() -> None:
    metrics = _metrics(ROLLOUTS)
    assert metrics["train/completion_tok"] == pytest.approx(9 / 5)
    assert metrics["train/truncated_frac"] == pytest.approx(1 / 5)
    assert metrics["train/advantage_zero_frac"] == pytest.approx(2 / 5)


def test_a_step_without_any_score_has_no_reward_instead_of_zero() -> None:
    metrics = _metrics([ROLLOUTS[3]])
    for name in ("reward_mean", "reward_sd", "reasoned_refusal_frac", "comply_frac", "benign_answered_frac", "kl_nats"):
        assert math.isnan(metrics[f"train/{name}"]), name


def test_kl_entropy_and_loss_come_from_the_micro_batches_by_row() -> None:
    record = _record(ROLLOUTS[:3])
    record.add_kl([2, 0], torch.tensor([0.3, 0.1]), torch.tensor([3.0, 1.0]), torch.tensor([0.6, 0.2]))
    record.add_kl([1], torch.tensor([0.2]), torch.tensor([2.0]), torch.tensor([0.4]))
    record.add_scores([2, 0], torch.tensor([-3.0, -1.0]), torch.tensor([4.0, 3.0]), torch.tensor(0.7))
    record.add_scores([1], torch.tensor([-2.0]), torch.tensor([3.0]), torch.tensor(0.2))
    rows = record.rows()
    assert [row["kl_nats"] for row in rows] == pytest.approx([0.1, 0.2, 0.3])
    assert [row["logp_nats"] for row in rows] == pytest.approx([-1.0, -2.0, -3.0])
    metrics = record.metrics(rows)
    assert metrics["train/kl_nats"] == pytest.approx(0.2)
    assert metrics["train/kl_k1_nats"] == pytest.approx(2.0)
    assert metrics["train/kl_k3_nats"] == pytest.approx(0.4)
    assert metrics["train/entropy_nats"] == pytest.approx(10 / 5)  # a token: 2 + 2 + 1 of them
    assert metrics["train/loss"] == pytest.approx(0.9)


def test_the_loss_of_two_ranks_is_the_sum_of_their_shares() -> None:
    first, second = _record(ROLLOUTS[:2]), _record(ROLLOUTS[2:])
    first.add_scores([0, 1], torch.zeros(2), torch.zeros(2), torch.tensor(0.5))
    second.add_scores([0, 1, 2], torch.zeros(3), torch.zeros(3), torch.tensor(0.25))
    assert first.metrics([*first.rows(), *second.rows()])["train/loss"] == pytest.approx(0.75)


def test_a_new_step_forgets_the_last_ones_loss() -> None:
    record = _record(ROLLOUTS)
    record.add_scores([0], torch.zeros(1), torch.zeros(1), torch.tensor(9.0))
    nothing = {"inputs": [], "scored": [], "truncated": []}
    record.start({**nothing, "completion_mask": torch.zeros(0, 1), "advantages": torch.zeros(0)}, [], None, 0.0)
    metrics = record.metrics(record.rows())
    assert metrics["train/loss"] == 0.0
    assert math.isnan(metrics["train/baseline"])


def test_anchors_count_in_the_loss_and_in_the_harmless_kl_and_in_nothing_else() -> None:
    anchor = ("w6", Verdict.UNSCORED, math.nan, False, True)
    record = _record([*ROLLOUTS[:4], anchor], [False] * 4 + [True])
    without = _metrics(ROLLOUTS[:4])
    kl_b = torch.tensor([0.1, 0.2, 0.3, 0.4, 9.0])
    record.add_kl(range(5), kl_b, 10 * kl_b, 2 * kl_b)
    record.add_scores(range(5), torch.zeros(5), torch.tensor([1.0, 1.0, 1.0, 1.0, 50.0]), torch.tensor(0.6))
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


def test_judged_harmless_rollouts_count_in_both_kls() -> None:
    record = _record(ROLLOUTS)
    kl_b = torch.tensor([0.1, 0.2, 0.3, 0.4, 1.5])
    record.add_kl(range(5), kl_b, kl_b, kl_b)
    metrics = record.metrics(record.rows())
    assert metrics["train/kl_nats"] == pytest.approx(0.5)
    assert metrics["train/benign_kl_nats"] == pytest.approx(1.5)


def test_an_unscored_reward_is_null_on_disk() -> None:
    fields = ScoredCompletion("w4", split_reasoning("w4"), Verdict.UNSCORED, math.nan).fields()
    assert fields["reward"] is None
    assert fields["verdict"] == "UNSCORED"


def test_a_row_keeps_the_named_columns_of_the_dataset_and_no_others() -> None:
    row = _record(ROLLOUTS).rows()[0]
    assert row["request_id"] == "r0"
    assert "secret" not in row
    assert (row["analysis"], row["final_response"], row["reasoned"]) == ("w1", "w2", True)


ROW = {"completion_tok": 4}


def test_shares_go_over_the_tokens_of_all_rows() -> None:
    record = StepRecord()
    record._rows = [dict(ROW), {"completion_tok": 6}]
    mask = torch.tensor([[True, False], [True, True]])
    record.add_mismatch([1, 0], Mismatch(torch.ones(2, 2), mask, mask[:, :1], torch.tensor([[0.2, 0.0], [0.1, 0.1]])))
    # capped 2 + 1 and unweighted 1 + 1 of 10 tokens; the gap goes over the 8 that vLLM scored
    assert _mismatch(record._rows) == pytest.approx(
        {"importance_capped_frac": 0.3, "importance_masked_frac": 0.2, "sampler_gap_nats": 0.4 / 8}
    )


def test_a_step_that_vllm_scored_no_token_of_has_no_gap() -> None:
    rows = [ROW | {"capped_tok": 0, "unweighted_tok": 4, "sampler_gap_sum_nats": 0.0}]
    assert math.isnan(_mismatch(rows)["sampler_gap_nats"])


def test_a_step_without_a_correction_records_none() -> None:
    assert _mismatch([ROW]) == {}


def test_the_names_are_in_the_registry() -> None:
    rows = [ROW | {"capped_tok": 1, "unweighted_tok": 0, "sampler_gap_sum_nats": 0.0}]
    names = [*_mismatch(rows), "sync_gap_nats", "prefix_hit_frac"]
    assert len(checked({f"train/{name}": 0.5 for name in names})) == 5
