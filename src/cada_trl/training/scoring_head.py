"""Give a causal language model a second forward: packed rows in, token scores out, logits never held as a whole.

It replaces the instance's forward, as TRL's own fused head does, so that DDP and DeepSpeed still see one forward call.
"""

from __future__ import annotations

import functools
import types
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from cada_trl.algo.packing import Packed
from cada_trl.algo.scores import Direction, token_scores
from cada_trl.errors import UserError
from cada_trl.models.own_logits import check_scores

NAME = "cada_rows"
_SCALED_LOGITS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")


def add_scoring_head(model: PreTrainedModel, like: PreTrainedModel | None = None) -> None:
    """After this, model(packed=...) returns the hidden states [N, H] that predict the completions' tokens, and
    model(packed=..., temperature=..., ...) their TokenScores; every other call is the model's own.

    like: one of the same kind that has its head, so that how rows are read is known. Errors: UserError for a model that
    rescales its logits, which the scores would leave out, and as check_scores.
    """
    scaled = [name for name in _SCALED_LOGITS if getattr(model.config.get_text_config(), name, None) not in (None, 1.0)]
    if scaled or getattr(model.get_output_embeddings(), "bias", None) is not None:
        raise UserError(
            f"{model.config.model_type} changes its logits after the head ({', '.join(scaled) or 'bias'}); "
            "the CADA scorer supports plain linear heads such as Llama's, Qwen's and Mistral's"
        )
    use_row_attention(model)
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
        kl_direction: Direction = "reverse",
        **kwargs: Any,
    ) -> Any:
        if packed is None:
            return own_forward(*args, **kwargs)
        hidden_nh = completion_hidden(self.base_model, packed)
        if temperature is None:
            return hidden_nh
        return head(hidden_nh, packed.label_n, temperature, ref_hidden_nh, ref_weight_vh, exact_kl, kl_direction)

    head.forward = types.MethodType(head_forward, head)
    model.forward = types.MethodType(forward, model)
    if like is None:
        check_scores(model, NAME)
    else:
        model.set_attn_implementation(like.config._attn_implementation)


def completion_hidden(backbone: Any, packed: Packed) -> Tensor:
    """Hidden states [N, H] that predict each completion token; the shared prefix runs once, with its gradient.

    The tokens run in one line without pads where the attention takes it, else in padded rows.
    """
    (_, n_row), n_prefix = packed.row_bs.shape, packed.prefix_l.numel()
    window = getattr(backbone.config, "sliding_window", None)
    if backbone.config._attn_implementation == NAME and (window is None or window >= n_prefix + n_row):
        return _hidden_in_one_line(backbone, packed)
    return _hidden_in_rows(backbone, packed)


def _hidden_in_one_line(backbone: Any, packed: Packed) -> Tensor:
    """No pads: prefix, row, row, ... in one sequence; a token sees the prefix and its own row up to itself.

    Each row ends before its last completion token, which predicts nothing.
    """
    (n_rows, n_row), n_prefix, device = packed.row_bs.shape, packed.prefix_l.numel(), packed.row_bs.device
    n_row_b = torch.zeros_like(packed.row_bs[:, 0]).scatter_reduce(0, packed.row_n, packed.at_n + 1, "amax")
    place_bs = torch.arange(n_row, device=device).expand(n_rows, n_row)
    real_bs = place_bs < n_row_b[:, None]
    hidden_sh = backbone(
        input_ids=torch.cat([packed.prefix_l, packed.row_bs[real_bs]])[None],
        position_ids=torch.cat([torch.arange(n_prefix, device=device), n_prefix + place_bs[real_bs]])[None],
        attention_mask=torch.empty(1, 1, 0, 0, device=device),  # a mask of four axes keeps the model from making one
        line=line_of(n_prefix, n_row_b.tolist(), device),
        use_cache=False,
    ).last_hidden_state[0]
    start_b = n_prefix + n_row_b.cumsum(0) - n_row_b
    return hidden_sh[start_b[packed.row_n] + packed.at_n]


def _hidden_in_rows(backbone: Any, packed: Packed) -> Tensor:
    """Right-padded rows: attention is causal, so that no real token can see a pad and no mask is needed."""
    cache = DynamicCache() if packed.prefix_l.numel() else None
    if cache is not None:
        backbone(input_ids=packed.prefix_l.unsqueeze(0), past_key_values=cache, use_cache=True)
        cache.batch_repeat_interleave(packed.row_bs.shape[0])
    hidden_bsh = backbone(input_ids=packed.row_bs, past_key_values=cache, use_cache=cache is not None).last_hidden_state
    return hidden_bsh[packed.row_n, packed.at_n]


class Line(NamedTuple):
    """Rows laid out in one line after their common prefix: a token sees the prefix and its own row so far.

    Lengths of the prefix (0: none) and of the rows, and what each row's tokens see [row, prefix + row].
    """

    n_prefix: int
    n_row_b: list[int]
    sees_b: list[Tensor | None]  # None: attention is causal without a mask


def line_of(n_prefix: int, n_row_b: list[int], device: torch.device) -> Line:
    """The line of a prefix and rows of these lengths."""
    if not n_prefix:
        return Line(n_prefix, n_row_b, [None] * len(n_row_b))
    ones = (torch.ones(n, n_prefix + n, dtype=torch.bool, device=device) for n in n_row_b)
    return Line(n_prefix, n_row_b, [ones_st.tril(n_prefix) for ones_st in ones])


def use_row_attention(model: PreTrainedModel) -> None:
    """After this, an sdpa model takes line=; without it, and for another attention, the model is as before.

    Set once and for all: under gradient checkpointing a layer runs again long after its call.
    """
    if model.config._attn_implementation != "sdpa":
        return
    AttentionInterface.register(NAME, row_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def row_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    line: Line | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: [1, H, S, D] -> [1, S, H, D]; its sdpa attention where there is no line.

    One product per row, each of the size that the row needs: a mask over the whole line would have every row look at
    all others only to hide them, and grow with the square of the micro-batch.
    """
    if line is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    if value.device.type == "cpu" and value.dtype == torch.bfloat16:
        # torch's bfloat16 kernel for CPUs takes four times as long backward, and rounds on the way
        with torch.autocast("cpu", enabled=False):
            exact, _ = row_attention(module, query.float(), key.float(), value.float(), None, line, **kwargs)
        return exact.to(value.dtype), None
    parts = [line.n_prefix, *line.n_row_b]
    (query_of_prefix, *queries), (key_of_prefix, *keys), (value_of_prefix, *values) = (
        state.split(parts, dim=2) for state in (query, key, value)
    )
    seen = []
    if line.n_prefix:
        seen = [sdpa_attention_forward(module, query_of_prefix, key_of_prefix, value_of_prefix, None, **kwargs)[0]]
        keys = [torch.cat([key_of_prefix, row_key], dim=2) for row_key in keys]
        values = [torch.cat([value_of_prefix, row_value], dim=2) for row_value in values]
    for row_query, row_key, row_value, sees in zip(queries, keys, values, line.sees_b, strict=True):
        seen.append(sdpa_attention_forward(module, row_query, row_key, row_value, sees, **kwargs)[0])
    return torch.cat(seen, dim=1), None
