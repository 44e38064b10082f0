"""Give a causal language model a second forward: packed rows in, token scores out, logits never held as a whole.

It replaces the instance's forward, as TRL's own fused head does, so that DDP and DeepSpeed still see one forward call.
"""

from __future__ import annotations

import functools
import types
from typing import Any

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
    own_forward = model.forward

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
        weight_vh = self.get_output_embeddings().weight
        return token_scores(hidden_nh, weight_vh, packed.label_n, temperature, ref_hidden_nh, ref_weight_vh, exact_kl)

    model.forward = types.MethodType(forward, model)


def completion_hidden(backbone: Any, packed: Packed) -> Tensor:
    """Hidden states [N, H] that predict each completion token; the shared prefix runs once, with its gradient.

    Rows are right-padded and attention is causal, so that no real token can see a pad and no mask is needed.
    """
    n_rows, n_prefix = packed.row_bs.shape[0], packed.prefix_l.numel()
    if n_prefix == 0:
        hidden_bsh = backbone(input_ids=packed.row_bs, use_cache=False).last_hidden_state
        return hidden_bsh[packed.row_n, packed.at_n]
    cache = DynamicCache()
    backbone(input_ids=packed.prefix_l.unsqueeze(0), past_key_values=cache, use_cache=True)
    cache.batch_repeat_interleave(n_rows)
    hidden_bsh = backbone(input_ids=packed.row_bs, past_key_values=cache, use_cache=True).last_hidden_state
    return hidden_bsh[packed.row_n, packed.at_n]
