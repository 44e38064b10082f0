"""Give a causal language model a second forward: packed rows in, token scores out, logits never held as a whole.

It replaces the instance's forward, as TRL's own fused head does, so that DDP and DeepSpeed still see one forward call.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from cada_trl.algo.packing import Packed
from cada_trl.algo.scores import token_scores
from cada_trl.errors import UserError

_SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")


def add_scoring_head(model: PreTrainedModel) -> None:
    """After this, model(packed=...) returns the hidden states [N, H] that predict the completions' tokens, and
    model(packed=..., temperature=..., ...) their TokenScores; every other call is the model's own.

    Errors: UserError for a model that rescales its logits, which the scores would leave out.
    """
    scaled = [name for name in _SCALED_LOGITS if getattr(model.config.get_text_config(), name, None) not in (None, 1.0)]
    if scaled or getattr(model.get_output_embeddings(), "bias", None) is not None:
        raise UserError(
            f"{model.config.model_type} changes its logits after the head ({', '.join(scaled) or 'bias'}); "
            "the CADA scorer supports plain linear heads such as Llama's, Qwen's and Mistral's"
        )
    own_forward, head = model.forward, model.get_output_embeddings()
    own_logits = head.forward

    @functools.wraps(type(head).forward)
    def head_forward(self: torch.nn.Linear, hidden: Tensor, *scoring: Any) -> Any:
        # Here rather than in the model's forward: ZeRO-3 gathers a module's weight for that module's own call.
        return token_scores(hidden, self.weight, *scoring) if scoring else own_logits(hidden)

    @functools.wraps(type(model).forward)
    def forward(
        self: PreTrainedModel,
        *args: Any,
        packed: Packed | None = None,
        temperature: float | None = None,
        ref_hidden_nh: Tensor | None = None,
        ref_weight_vh: Tensor | None = None,
        exact_kl: bool = False,
        **kwargs: Any,
    ) -> Any:
        if packed is None:
            return own_forward(*args, **kwargs)
        hidden_nh = completion_hidden(self.base_model, packed)
        if temperature is None:
            return hidden_nh
        return head(hidden_nh, packed.label_n, temperature, ref_hidden_nh, ref_weight_vh, exact_kl)

    head.forward = types.MethodType(head_forward, head)
    model.forward = types.MethodType(forward, model)


def completion_hidden(backbone: Any, packed: Packed) -> Tensor:
    """Hidden states [N, H] that predict each completion token; the shared prefix runs once, with its gradient.

    The tokens run in one line or in padded rows, whichever costs less; only sdpa takes the line's attention mask.
    """
    n_row_b = torch.zeros_like(packed.row_bs[:, 0]).scatter_reduce(0, packed.row_n, packed.at_n + 1, "amax")
    if backbone.config._attn_implementation == "sdpa" and _line_is_cheaper(backbone.config, packed, int(n_row_b.sum())):
        return _hidden_in_one_line(backbone, packed, n_row_b)
    return _hidden_in_rows(backbone, packed)


def _line_is_cheaper(config: Any, packed: Packed, n_rest: int) -> bool:
    """Whether the pads saved outweigh that, in one line, attention looks at the other rows too, only to mask them.

    A token costs 1 for its linear layers plus keys / (6 x hidden size) for attention: 24 h^2 and 4 h keys operations a
    layer in a usual transformer (ours: a rule of thumb; both layouts give the same result).
    """
    (n_rows, n_row), n_prefix = packed.row_bs.shape, packed.prefix_l.numel()
    window = getattr(config, "sliding_window", None)
    if window is not None and window < n_prefix + n_row:  # the mask below would replace the model's window
        return False

    def cost(n_tok: int, n_keys: int) -> float:
        return n_tok * (1.0 + n_keys / (6.0 * config.hidden_size))

    n_line = n_prefix + n_rest
    return cost(n_line, n_line) < cost(n_prefix, n_prefix) + cost(n_rows * n_row, n_prefix + n_row)


def _hidden_in_one_line(backbone: Any, packed: Packed, n_row_b: Tensor) -> Tensor:
    """No pads: prefix, row, row, ... in one sequence; a token sees the prefix and its own row up to itself.

    Each row ends before its last completion token, which predicts nothing.
    """
    (n_rows, n_row), n_prefix, device = packed.row_bs.shape, packed.prefix_l.numel(), packed.row_bs.device
    place_bs = torch.arange(n_row, device=device).expand(n_rows, n_row)
    real_bs = place_bs < n_row_b[:, None]
    place_l = torch.arange(n_prefix, device=device)
    place_s = torch.cat([place_l, n_prefix + place_bs[real_bs]])
    row_s = torch.cat([torch.full_like(place_l, -1), torch.arange(n_rows, device=device).repeat_interleave(n_row_b)])
    sees_ss = (place_s <= place_s[:, None]) & ((row_s == row_s[:, None]) | (row_s == -1))
    hidden_sh = backbone(
        input_ids=torch.cat([packed.prefix_l, packed.row_bs[real_bs]])[None],
        position_ids=place_s[None],
        attention_mask=sees_ss[None, None],
        use_cache=False,
    ).last_hidden_state[0]
    start_b = n_prefix + n_row_b.cumsum(0) - n_row_b
    return hidden_sh[start_b[packed.row_n] + packed.at_n]


def _hidden_in_rows(backbone: Any, packed: Packed) -> Tensor:
    """Right-padded rows: attention is causal, so that no real token can see a pad and no mask is needed."""
    n_rows, n_prefix = packed.row_bs.shape[0], packed.prefix_l.numel()
    if n_prefix == 0:
        hidden_bsh = backbone(input_ids=packed.row_bs, use_cache=False).last_hidden_state
        return hidden_bsh[packed.row_n, packed.at_n]
    cache = DynamicCache()
    backbone(input_ids=packed.prefix_l.unsqueeze(0), past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(n_rows)
    hidden_bsh = backbone(input_ids=packed.row_bs, past_key_values=cache, use_cache=True).last_hidden_state
    return hidden_bsh[packed.row_n, packed.at_n]
