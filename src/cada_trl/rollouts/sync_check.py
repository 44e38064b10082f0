"""Whether vLLM has the trainer's weights: both score a few tokens. Stale weights are the classic silent failure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from cada_trl.errors import UserError

TEXT = "The same weights give each of these words the same probability, whichever program computes them."
# Mean gap a token. float32: both programs agree to 1e-5, and weights one step old differ by more than 1e-3. bfloat16:
# rounding alone was measured at 0.05 to 0.06 on SmolLM2-135M; stale weights pass it after some steps.
TOLERANCE_NATS = {torch.float32: 1e-4, torch.bfloat16: 0.2, torch.float16: 0.1}


def trainer_logp(model: Any, ids: Sequence[int]) -> list[float]:
    """Log-probability of each token but the first, in nats, at temperature 1; a forward pass without gradient."""
    with torch.no_grad():
        ids_t = torch.tensor(ids, device=model.device)
        logp_tv = model(input_ids=ids_t[None]).logits[0].float().log_softmax(-1)
        return logp_tv[:-1].gather(1, ids_t[1:, None])[:, 0].tolist()  # type: ignore[no-any-return]


def checked_gap_nats(trainer: Sequence[float], vllm: Sequence[float], dtype: torch.dtype) -> float:
    """Mean |trainer - vLLM| a token. Errors: UserError where it is above the dtype's tolerance or not a number."""
    gap = sum(abs(one - other) for one, other in zip(trainer, vllm, strict=True)) / len(trainer)
    if not gap <= TOLERANCE_NATS[dtype]:
        raise UserError(
            f"vLLM does not have the trainer's weights after a sync: log-probabilities differ by {gap:.2g} nats a "
            f"token, at most {TOLERANCE_NATS[dtype]:g} is rounding in {str(dtype).removeprefix('torch.')}; the run "
            "stops before it learns from another model's samples (docs/vllm_rollouts.md)"
        )
    return gap
