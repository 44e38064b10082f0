"""What a step records of the correction of vLLM's samples."""

from __future__ import annotations

import math

import pytest
import torch

from cada_trl.algo.mismatch import Mismatch
from cada_trl.tracking.metrics import checked
from cada_trl.trainers.step_record import StepRecord, _mismatch

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
