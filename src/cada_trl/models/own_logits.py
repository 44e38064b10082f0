"""Whether a model that is read in a way of ours says what it says itself.

Ours: of an architecture that no list names, rows would otherwise be sampled or learned from wrongly in silence.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cada_trl.algo.packing import pack
from cada_trl.errors import first_line


def same_logits(logits_nv: Tensor, own_nv: Tensor) -> bool:
    """Whether they differ by no more than rounding does (ours: 1 % of their norm, in half precision 20 %).

    True also of a model whose own are not finite: that is not about how it is read, and is said where it is sampled.
    """
    if not own_nv.isfinite().all():
        return True
    off_frac = (logits_nv.float() - own_nv.float()).norm() / own_nv.float().norm()
    return bool(off_frac <= (0.2 if own_nv.dtype.itemsize < 4 else 0.01))


def wrong_scores(model: PreTrainedModel) -> str:
    """What is wrong with what model(packed=...) scores, on two short rows that share a prefix, or nothing.

    ZeRO-3's parts of weights are not asked: they give no logits before the engine is made.
    """
    weight_vh = model.get_output_embeddings().weight
    if hasattr(weight_vh, "ds_id"):
        return ""
    prompts, completions = [[0, 1, 2, 3, 4], [0, 1, 2, 5, 6]], [[1, 2, 3], [4, 5]]  # of any vocabulary
    rows = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            own = [model(torch.tensor([row], device=model.device)).logits[0] for row in rows]
            own_nv = torch.cat([own_tv[len(prompt) - 1 : -1] for own_tv, prompt in zip(own, prompts, strict=True)])
            scored_nv = model(packed=pack(prompts, completions, True, model.device)) @ weight_vh.T
    except Exception as error:  # what a model of another kind makes of such rows is its own
        return f"an error ({type(error).__name__}: {first_line(error)})"
    finally:
        model.train(was_training)
    return "" if same_logits(scored_nv, own_nv) else "other logits than its own"
