"""Whether a model that is read in a way of ours says what it says itself.

Ours: of an architecture that no list names, rows would otherwise be sampled or learned from wrongly in silence.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from cada_trl.algo.packing import pack
from cada_trl.errors import UserError, first_line
from cada_trl.models.checks import SUPPORTED


def same_logits(model: Any, logits_nv: Tensor, own_nv: Tensor) -> bool:
    """Whether they differ by no more than rounding does (ours): 1 % of their norm; in half precision, where the router
    of a deep mixture of experts may choose another one, 50 %. Rows that see each other are mostly off by more.

    True also of a model whose own are not finite: that is not about how it is read, and is said where it is sampled.
    """
    if not own_nv.isfinite().all():
        return True
    off_frac = (logits_nv.float() - own_nv.float()).norm() / own_nv.float().norm()
    half = model.dtype.itemsize < 4 or torch.is_autocast_enabled(own_nv.device.type)  # whatever the logits are cast to
    return bool(off_frac <= (0.5 if half else 0.01))


def unlike_own(model: Any, own_nv: Tensor, read: Callable[[], Tensor]) -> str:
    """What is wrong with the logits that read gives, if anything is."""
    try:
        logits_nv = read()
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # what a model of another kind makes of rows that are read so is its own
        return f"an error ({type(error).__name__}: {first_line(error)})"
    return "" if same_logits(model, logits_nv, own_nv) else "other logits than its own"


def check_scores(model: Any, in_line: str) -> None:
    """Compare what model(packed=...) scores with its own logits, on two short rows that share a prefix.

    in_line: the attention that reads rows in one line; where it does not fit, the model is given sdpa, and padded rows.
    ZeRO-3's parts of weights are not asked: they give no logits before the engine is made. Errors: UserError for a
    model that neither fits.
    """
    weight_vh, device, was_training = model.get_output_embeddings().weight, model.device, model.training
    if hasattr(weight_vh, "ds_id"):
        return
    prompts, completions = [[0, 1, 2, 3, 4], [0, 1, 2, 5, 6]], [[1, 2, 3], [4, 5]]  # of any vocabulary
    rows = [prompt + completion for prompt, completion in zip(prompts, completions, strict=True)]
    model.eval()
    with torch.no_grad():
        own = [model(torch.tensor([row], device=device)).logits[0] for row in rows]
        own_nv = torch.cat([own_tv[len(prompt) - 1 : -1] for own_tv, prompt in zip(own, prompts, strict=True)])

        def scored() -> Tensor:
            hidden_nh: Tensor = model(packed=pack(prompts, completions, True, device))
            return hidden_nh @ weight_vh.T

        wrong = unlike_own(model, own_nv, scored)
        if wrong and model.config._attn_implementation == in_line:
            model.set_attn_implementation("sdpa")
            wrong = unlike_own(model, own_nv, scored)
    model.train(was_training)
    if wrong:
        raise UserError(
            f"{model.config.model_type} gives {wrong} where rows are read as the CADA scorer reads them; expected "
            f"{SUPPORTED}"
        )
