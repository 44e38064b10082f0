"""Logits that are read in our way against the model's own: rounding passes, another row in sight does not."""

import pytest
import torch
from training.tiny import tiny_llama

from cada_trl.errors import UserError
from cada_trl.models.own_logits import check_scores, same_logits, unlike_own


@pytest.mark.parametrize(
    ("dtype", "off_frac", "same"),
    [
        (torch.float32, 0.005, True),
        (torch.float32, 0.02, False),
        (torch.bfloat16, 0.3, True),
        (torch.bfloat16, 0.6, False),
    ],
)
def test_logits_are_the_same_within_rounding_of_their_norm(dtype, off_frac, same):
    own_nv = torch.tensor([[3.0, 4.0]])  # of norm 5, in float32 whatever the weights are in
    assert same_logits(tiny_llama(dtype=dtype), own_nv + torch.tensor([[0.0, 5 * off_frac]]), own_nv) is same


def test_under_autocast_rounding_is_half_precisions():
    own_nv = torch.tensor([[3.0, 4.0]])
    with torch.autocast("cpu", torch.bfloat16):
        assert same_logits(tiny_llama(), own_nv + 0.3, own_nv)


def test_a_model_that_diverged_is_left_to_the_sampler():
    own_nv = torch.tensor([[3.0, torch.nan]])
    assert same_logits(tiny_llama(), own_nv, own_nv)


def test_no_memory_is_said_as_it_is():
    def full():
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        unlike_own(tiny_llama(), torch.ones(1, 2), full)


def test_parts_of_weights_are_not_asked():
    model = tiny_llama()  # without a scoring head packed= is an error
    with pytest.raises(UserError, match=r"^llama gives an error \(ValueError: "):
        check_scores(model, "cada_rows")
    model.lm_head.weight.ds_id = 0
    check_scores(model, "cada_rows")
