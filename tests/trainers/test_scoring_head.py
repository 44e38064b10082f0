"""Packed scoring against the model's own left-padded forward, in log-probability and in gradient."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from cada_trl.algo.packing import pack
from cada_trl.errors import UserError
from cada_trl.trainers.scoring_head import add_scoring_head

from .tiny import tiny_llama

TEMPERATURE = 0.7
SHARED = [1, 4, 20, 21, 22, 23]
PROMPTS = [[*SHARED, 30, 2], [*SHARED, 31, 32, 33, 2], [*SHARED, 34, 2], [*SHARED, 30, 31, 2]]
COMPLETIONS = [[40, 41, 2], [42, 2], [43, 44, 45, 46, 2], [47]]
N_T = max(map(len, COMPLETIONS))
CPU = torch.device("cpu")


def _model(dtype: torch.dtype = torch.float64) -> nn.Module:
    model = tiny_llama(dtype=dtype)
    add_scoring_head(model)
    return model


def _packed_logp_bt(model: nn.Module, share_prefix: bool, order: Sequence[int] = range(4)) -> Tensor:
    packed = pack([PROMPTS[b] for b in order], [COMPLETIONS[b] for b in order], share_prefix, CPU)
    return packed.to_bt(model(packed=packed, temperature=TEMPERATURE).logp_n, N_T)


def _plain_logp_bt(model: nn.Module, extra_pads: int = 0) -> Tensor:
    """What TRL does: pad left, positions from the mask, logits of everything."""
    rows = [prompt + completion for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)]
    width = max(map(len, rows)) + extra_pads
    ids_bs = torch.tensor([[3] * (width - len(row)) + row for row in rows])
    mask_bs = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    positions_bs = (mask_bs.cumsum(1) - 1).clamp(min=0)
    logits = model(input_ids=ids_bs, attention_mask=mask_bs, position_ids=positions_bs).logits
    logp_bsv = (logits / TEMPERATURE).log_softmax(-1)
    logp_bt = logp_bsv.new_zeros(len(rows), N_T)
    for b, completion in enumerate(COMPLETIONS):
        for t, token in enumerate(completion):
            logp_bt[b, t] = logp_bsv[b, width - len(completion) + t - 1, token]
    return logp_bt


def _gradients(model: nn.Module, logp_bt: Tensor) -> list[Tensor]:
    weight_bt = torch.linspace(-1.0, 1.0, logp_bt.numel(), dtype=logp_bt.dtype).view_as(logp_bt)
    model.zero_grad()
    (weight_bt * logp_bt).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("share_prefix", [False, True])
def test_packed_scores_equal_the_plain_left_padded_forward(share_prefix: bool) -> None:
    model = _model()
    torch.testing.assert_close(_packed_logp_bt(model, share_prefix), _plain_logp_bt(model), atol=1e-9, rtol=0)


@pytest.mark.parametrize("share_prefix", [False, True])
def test_packed_parameter_gradients_equal_those_of_the_plain_forward(share_prefix: bool) -> None:
    model = _model()
    got = _gradients(model, _packed_logp_bt(model, share_prefix))
    wanted = _gradients(model, _plain_logp_bt(model))
    assert len(got) == len(wanted) == len(list(model.parameters()))
    for one, other in zip(got, wanted, strict=True):
        # Llama's RMSNorm computes in float32 whatever the model's dtype: its rounding is what is left.
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_float32_gradients_agree_to_five_digits_with_and_without_a_shared_prefix() -> None:
    model = _model(torch.float32)
    shared, whole, plain = (
        _gradients(model, logp_bt)
        for logp_bt in (_packed_logp_bt(model, True), _packed_logp_bt(model, False), _plain_logp_bt(model))
    )
    for one, two, three in zip(shared, whole, plain, strict=True):
        scale = float(three.abs().max())
        assert float((one - three).abs().max()) < 1e-5 * max(scale, 1.0)
        assert float((two - three).abs().max()) < 1e-5 * max(scale, 1.0)


def test_the_prefix_is_really_shared() -> None:
    assert pack(PROMPTS, COMPLETIONS, True, CPU).prefix_l.tolist() == SHARED


def test_the_order_of_the_rows_does_not_matter() -> None:
    model = _model()
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        _packed_logp_bt(model, True, order), _packed_logp_bt(model, True)[order], atol=1e-9, rtol=0
    )


def test_more_padding_changes_nothing() -> None:
    model = _model()
    torch.testing.assert_close(_plain_logp_bt(model, extra_pads=5), _packed_logp_bt(model, True), atol=1e-9, rtol=0)


def test_a_row_scores_alone_as_it_does_in_company() -> None:
    model = _model()
    alone = pack([PROMPTS[1]], [COMPLETIONS[1]], True, CPU)
    logp_n = model(packed=alone, temperature=TEMPERATURE).logp_n
    torch.testing.assert_close(logp_n, _packed_logp_bt(model, True)[1, :2], atol=1e-9, rtol=0)


def test_an_ordinary_call_is_the_models_own() -> None:
    model = tiny_llama()
    scored = copy.deepcopy(model)
    add_scoring_head(scored)
    ids = torch.tensor([PROMPTS[0]])
    assert torch.equal(scored(input_ids=ids).logits, model(input_ids=ids).logits)


def test_without_a_temperature_the_hidden_states_come_back() -> None:
    packed = pack(PROMPTS, COMPLETIONS, True, CPU)
    assert _model()(packed=packed).shape == (sum(map(len, COMPLETIONS)), 32)


def test_a_model_that_rescales_its_logits_is_refused_by_name() -> None:
    model = tiny_llama()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(UserError, match="final_logit_softcapping"):
        add_scoring_head(model)
