"""One line and padded rows, the two layouts of a micro-batch: the same hidden states and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cada_trl.algo.packing import Packed, pack
from cada_trl.trainers.row_attention import NAME, use_row_attention
from cada_trl.trainers.scoring_head import completion_hidden

from .tiny import tiny_llama

SHARED = [1, 4, 20, 21, 22]
PROMPTS = [[*SHARED, 30, 2], [*SHARED, 31, 32, 33, 2], [*SHARED, 34, 2]]
COMPLETIONS = [[40, 41, 2], [42], [43, 44, 45, 46, 47, 48, 49, 50, 51, 2]]


def _packed(share_prefix: bool) -> Packed:
    return pack(PROMPTS, COMPLETIONS, share_prefix, torch.device("cpu"))


def _hidden_and_gradients(in_line: bool, share_prefix: bool, checkpointing: bool = False) -> list[Tensor]:
    backbone = tiny_llama(dtype=torch.float64).model
    if in_line:
        use_row_attention(backbone)
    if checkpointing:
        backbone.train().gradient_checkpointing_enable()
    hidden_nh = completion_hidden(backbone, _packed(share_prefix))
    (hidden_nh * torch.linspace(-1.0, 1.0, hidden_nh.numel()).view_as(hidden_nh)).sum().backward()
    return [hidden_nh.detach(), *(parameter.grad for parameter in backbone.parameters() if parameter.grad is not None)]


def _rows_run(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> list[tuple[int, ...]]:
    """Shapes of the token ids that the backbone is given."""
    backbone, shapes = tiny_llama(**changes).model, []
    use_row_attention(backbone)
    own = backbone.forward

    def forward(input_ids: Tensor, **kwargs: Any) -> Any:
        shapes.append(tuple(input_ids.shape))
        return own(input_ids=input_ids, **kwargs)

    monkeypatch.setattr(backbone, "forward", forward)
    completion_hidden(backbone, _packed(True))
    return shapes


@pytest.mark.parametrize("share_prefix", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_one_line_and_padded_rows_agree_in_hidden_states_and_gradients(share_prefix: bool, checkpointing: bool) -> None:
    line = _hidden_and_gradients(True, share_prefix, checkpointing)
    rows = _hidden_and_gradients(False, share_prefix)
    assert len(line) == len(rows) > 1
    for one, other in zip(line, rows, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)  # RMSNorm computes in float32


def test_a_line_holds_each_real_token_once_but_for_the_last_of_a_completion(monkeypatch: pytest.MonkeyPatch) -> None:
    n_rest = sum(len(p) - len(SHARED) + len(c) - 1 for p, c in zip(PROMPTS, COMPLETIONS, strict=True))
    assert _rows_run(monkeypatch) == [(1, len(SHARED) + n_rest)]


def test_another_attention_than_sdpa_runs_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(_rows_run(monkeypatch, attn_implementation="eager")) == 2


def test_a_sliding_window_shorter_than_a_row_runs_in_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(_rows_run(monkeypatch, sliding_window=4)) == 2


def test_a_row_of_the_line_is_blind_to_the_others_and_to_what_follows() -> None:
    backbone = tiny_llama(dtype=torch.float64).model.eval()
    use_row_attention(backbone)
    before = completion_hidden(backbone, _packed(True))
    changed = [[60, 61, 2], [42], [*COMPLETIONS[2][:-2], 62, 2]]
    after = completion_hidden(backbone, pack(PROMPTS, changed, True, torch.device("cpu")))
    n_first = len(COMPLETIONS[0])
    assert torch.equal(before[n_first:-1], after[n_first:-1])  # rows 1 and 2, but for what saw the changed token
    assert not torch.equal(before[1], after[1]) and not torch.equal(before[-1], after[-1])


def test_without_a_line_the_attention_is_sdpas() -> None:
    model, ids = tiny_llama(), torch.tensor([[1, 20, 21, 22], [1, 23, 24, 2]])
    mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
    with_sdpa = model(input_ids=ids, attention_mask=mask).logits
    use_row_attention(model)
    assert model.config._attn_implementation == NAME
    assert torch.equal(model(input_ids=ids, attention_mask=mask).logits, with_sdpa)
