"""Packed scoring against the model's own left-padded forward, and one line against padded rows."""

from types import SimpleNamespace

import pytest
import torch

from cada_trl.algo.packing import pack
from cada_trl.errors import UserError
from cada_trl.training.scoring_head import (
    NAME,
    add_scoring_head,
    completion_hidden,
    line_of,
    row_attention,
    use_row_attention,
)

from .tiny import tiny_llama, tiny_of

TEMPERATURE = 0.7
SHARED = [1, 4, 20, 21, 22, 23]
PROMPTS = [[*SHARED, 30, 2], [*SHARED, 31, 32, 33, 2], [*SHARED, 34, 2], [*SHARED, 30, 31, 2]]
COMPLETIONS = [[40, 41, 2], [42, 2], [43, 44, 45, 46, 2], [47]]
N_T = max(map(len, COMPLETIONS))
CPU = torch.device("cpu")


def _model(dtype=torch.float64):
    model = tiny_llama(dtype=dtype)
    add_scoring_head(model)
    return model


def _packed_logp_bt(model, share_prefix, order=range(4)):
    packed = pack([PROMPTS[b] for b in order], [COMPLETIONS[b] for b in order], share_prefix, CPU)
    return packed.to_bt(model(packed=packed, temperature=TEMPERATURE).logp_n, N_T)


def _plain_logp_bt(model):
    """What TRL does: pad left, positions from the mask, logits of everything."""
    rows = [prompt + completion for prompt, completion in zip(PROMPTS, COMPLETIONS, strict=True)]
    width = max(map(len, rows))
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


def _gradients(model, logp_bt):
    weight_bt = torch.linspace(-1.0, 1.0, logp_bt.numel(), dtype=logp_bt.dtype).view_as(logp_bt)
    model.zero_grad()
    (weight_bt * logp_bt).sum().backward()
    return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("share_prefix", [False, True])
def test_packed_scores_equal_the_plain_left_padded_forward(share_prefix):
    model = _model()
    assert pack(PROMPTS, COMPLETIONS, True, CPU).prefix_l.tolist() == SHARED
    torch.testing.assert_close(_packed_logp_bt(model, share_prefix), _plain_logp_bt(model), atol=1e-9, rtol=0)


@pytest.mark.parametrize("share_prefix", [False, True])
def test_packed_parameter_gradients_equal_those_of_the_plain_forward(share_prefix):
    model = _model()
    got = _gradients(model, _packed_logp_bt(model, share_prefix))
    wanted = _gradients(model, _plain_logp_bt(model))
    assert len(got) == len(wanted) == len(list(model.parameters()))
    for one, other in zip(got, wanted, strict=True):
        # Llama's RMSNorm computes in float32 whatever the model's dtype: its rounding is what is left.
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_float32_gradients_agree_to_five_digits_with_and_without_a_shared_prefix():
    model = _model(torch.float32)
    shared, whole, plain = (
        _gradients(model, logp_bt)
        for logp_bt in (_packed_logp_bt(model, True), _packed_logp_bt(model, False), _plain_logp_bt(model))
    )
    for one, two, three in zip(shared, whole, plain, strict=True):
        scale = float(three.abs().max())
        assert float((one - three).abs().max()) < 1e-5 * max(scale, 1.0)
        assert float((two - three).abs().max()) < 1e-5 * max(scale, 1.0)


def test_the_order_of_the_rows_does_not_matter():
    model = _model()
    order = [2, 0, 3, 1]
    torch.testing.assert_close(
        _packed_logp_bt(model, True, order), _packed_logp_bt(model, True)[order], atol=1e-9, rtol=0
    )


def test_a_row_scores_alone_as_it_does_in_company():
    model = _model()
    alone = pack([PROMPTS[1]], [COMPLETIONS[1]], True, CPU)
    logp_n = model(packed=alone, temperature=TEMPERATURE).logp_n
    torch.testing.assert_close(logp_n, _packed_logp_bt(model, True)[1, :2], atol=1e-9, rtol=0)


def test_without_a_temperature_the_hidden_states_come_back():
    packed = pack(PROMPTS, COMPLETIONS, True, CPU)
    assert _model()(packed=packed).shape == (sum(map(len, COMPLETIONS)), 32)


def test_a_model_that_rescales_its_logits_is_refused_by_name():
    model = tiny_llama()
    model.config.final_logit_softcapping = 30.0
    with pytest.raises(UserError, match="final_logit_softcapping"):
        add_scoring_head(model)


@pytest.mark.parametrize(("kind", "attention"), [("stablelm", "sdpa"), ("glm4_moe_lite", NAME)])
def test_whatever_its_attention_a_model_is_scored_as_its_own_logits_are(kind, attention):
    model = tiny_of(kind)
    add_scoring_head(model)
    assert model.config._attn_implementation == attention  # sdpa: in padded rows
    torch.testing.assert_close(_packed_logp_bt(model, True), _plain_logp_bt(model), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["mamba", "openai-gpt"])
def test_a_model_whose_rows_run_into_each_other_is_refused_by_its_logits(kind):
    with pytest.raises(UserError, match=rf"^{kind} gives .* where rows are read as the CADA scorer reads them"):
        add_scoring_head(tiny_of(kind))


def test_the_check_of_the_scores_leaves_a_model_as_it_was():
    model = tiny_llama().train()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    drawn = torch.get_rng_state()
    add_scoring_head(model)
    assert model.training and torch.equal(torch.get_rng_state(), drawn)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


def _hidden_and_gradients(in_line, share_prefix, checkpointing=False):
    backbone = tiny_llama(dtype=torch.float64).model
    if in_line:
        use_row_attention(backbone)
    if checkpointing:
        backbone.train().gradient_checkpointing_enable()
    hidden_nh = completion_hidden(backbone, pack(PROMPTS, COMPLETIONS, share_prefix, CPU))
    (hidden_nh * torch.linspace(-1.0, 1.0, hidden_nh.numel()).view_as(hidden_nh)).sum().backward()
    return [hidden_nh.detach(), *(parameter.grad for parameter in backbone.parameters() if parameter.grad is not None)]


def _rows_run(monkeypatch, **changes):
    """Shapes of the token ids that the backbone is given."""
    backbone, shapes = tiny_llama(**changes).model, []
    use_row_attention(backbone)
    own = backbone.forward

    def forward(input_ids, **kwargs):
        shapes.append(tuple(input_ids.shape))
        return own(input_ids=input_ids, **kwargs)

    monkeypatch.setattr(backbone, "forward", forward)
    completion_hidden(backbone, pack(PROMPTS, COMPLETIONS, True, CPU))
    return shapes


@pytest.mark.parametrize("share_prefix", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_one_line_and_padded_rows_agree_in_hidden_states_and_gradients(share_prefix, checkpointing):
    line = _hidden_and_gradients(True, share_prefix, checkpointing)
    rows = _hidden_and_gradients(False, share_prefix)
    assert len(line) == len(rows) > 1
    for one, other in zip(line, rows, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)  # RMSNorm computes in float32


def test_a_line_holds_each_real_token_once_but_for_the_last_of_a_completion(monkeypatch):
    n_rest = sum(len(p) - len(SHARED) + len(c) - 1 for p, c in zip(PROMPTS, COMPLETIONS, strict=True))
    assert _rows_run(monkeypatch) == [(1, len(SHARED) + n_rest)]


def test_another_attention_than_sdpa_runs_in_rows(monkeypatch):
    assert len(_rows_run(monkeypatch, attn_implementation="eager")) == 2


@pytest.mark.parametrize(("beyond_the_longest_row", "n_calls"), [(-1, 2), (0, 1)])
def test_a_sliding_window_shorter_than_a_row_runs_in_rows(monkeypatch, beyond_the_longest_row, n_calls):
    longest = max(len(p) + len(c) for p, c in zip(PROMPTS, COMPLETIONS, strict=True))
    assert len(_rows_run(monkeypatch, sliding_window=longest + beyond_the_longest_row)) == n_calls


def test_a_row_of_the_line_is_blind_to_the_others_and_to_what_follows():
    backbone = tiny_llama(dtype=torch.float64).model.eval()
    use_row_attention(backbone)
    changed = [[60, 61, 2], COMPLETIONS[1], [*COMPLETIONS[2][:-2], 62, 2], COMPLETIONS[3]]
    before, after = (completion_hidden(backbone, pack(PROMPTS, of, True, CPU)) for of in (COMPLETIONS, changed))
    same_n = (before == after).all(1).tolist()  # but for what saw a changed token
    assert same_n == [True, False, False, True, True, True, True, True, True, False, True]


def test_an_ordinary_call_is_the_models_own_with_sdpas_attention():
    model, ids = tiny_llama(), torch.tensor([[1, 20, 21, 22], [1, 23, 24, 2]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    with_sdpa = model(input_ids=ids, attention_mask=mask).logits
    add_scoring_head(model)
    assert model.config._attn_implementation == NAME
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, with_sdpa)


def test_on_a_cpu_attention_in_bfloat16_is_that_of_float32_rounded_once():
    torch.manual_seed(0)
    states = [torch.randn(1, 2, 7, 8) for _ in "qkv"]
    line, module = line_of(3, [3, 1], CPU), SimpleNamespace(is_causal=True, training=False)
    exact, _ = row_attention(module, *(state.bfloat16().float() for state in states), None, line)
    with torch.autocast("cpu", torch.bfloat16):
        seen, _ = row_attention(module, *(state.bfloat16() for state in states), None, line)
    assert seen.dtype == torch.bfloat16 and seen.equal(exact.bfloat16())
