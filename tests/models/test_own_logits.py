"""Logits that are read in our way against the model's own: rounding passes, another row in sight does not."""

import pytest
import torch
from training.tiny import tiny_llama

from cada_trl.models.own_logits import same_logits, wrong_scores


@pytest.mark.parametrize(
    ("dtype", "off_frac", "same"),
    [
        (torch.float32, 0.005, True),
        (torch.float32, 0.02, False),
        (torch.bfloat16, 0.1, True),
        (torch.bfloat16, 0.3, False),
    ],
)
def test_logits_are_the_same_within_rounding_of_their_norm(dtype, off_frac, same):
    own_nv = torch.tensor([[3.0, 4.0]], dtype=dtype)  # of norm 5
    assert same_logits(own_nv + torch.tensor([[0.0, 5 * off_frac]], dtype=dtype), own_nv) is same


def test_a_model_that_diverged_is_left_to_the_sampler():
    own_nv = torch.tensor([[3.0, torch.nan]])
    assert same_logits(own_nv, own_nv)


def test_parts_of_weights_are_not_asked():
    model = tiny_llama()  # without a scoring head packed= is an error
    assert "an error (ValueError" in wrong_scores(model)
    model.lm_head.weight.ds_id = 0
    assert wrong_scores(model) == ""
