"""How long a step takes, estimated from its operations and a stated efficiency; nothing here is measured on a GPU."""

from __future__ import annotations

from dataclasses import dataclass

from cada_trl.config import Config
from cada_trl.planning.device import accelerator_of
from cada_trl.planning.shapes import Lengths, Shape, anchor_prompt_tok, anchor_tok, longest

# Shares of the card's peak, ours: what well-run training and decoding of 8B models reach; yours will differ.
LEARN_EFFICIENCY = 0.35
PREFILL_EFFICIENCY = 0.4
BANDWIDTH_EFFICIENCY = 0.6
TRANSFORMERS_TOKEN_S = 0.03  # ours: what generate() spends on launching the kernels of one token
CPU_THREAD_TFLOPS = 0.065  # measured: an update of 8 rollouts of SmolLM2 in float32 (docs/running.md)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimiser step, both parts estimated at the longest sequences that the run allows."""

    rollouts_s: float
    update_s: float

    @property
    def step_s(self) -> float:
        return self.rollouts_s + self.update_s


def update_tflop(config: Config, shape: Shape, lengths: Lengths) -> float:
    """Matrix operations (10^12) of one step's update over all rollouts.

    Per token and weight: 2 forward, 2 for the activations' gradients, 2 for the weights' (not with LoRA), 2 more
    forward with checkpointing, 2 for the reference.
    """
    algo = config.algo
    per_weight = 4 if config.peft.adapter == "lora" else 6
    per_weight += 2 * config.hardware.gradient_checkpointing
    per_weight += 2 * algo.has_kl
    of_anchor_tok = min(lengths.learn_prompt_tok, anchor_prompt_tok(config, lengths))
    n_tok = _n_tok(config, lengths, lengths.learn_prompt_tok, of_anchor_tok)
    return per_weight * shape.matmul_params * n_tok / 1e12


def rollout_tflop(config: Config, shape: Shape, lengths: Lengths) -> float:
    """Matrix operations (10^12) of one step's sampling, every prompt run in full."""
    n_tok = _n_tok(config, lengths, lengths.rollout_prompt_tok, anchor_prompt_tok(config, lengths))
    return 2 * shape.matmul_params * n_tok / 1e12


def estimate_step(config: Config, shape: Shape) -> StepTime | None:
    """Seconds of a step; None for a GPU that the hardware does not name."""
    lengths, hardware = longest(config), config.hardware
    if hardware.device == "cpu":
        from os import cpu_count

        tflops = CPU_THREAD_TFLOPS * (hardware.threads or cpu_count() or 1) * hardware.n_processes
        parts = rollout_tflop(config, shape, lengths), update_tflop(config, shape, lengths)
        return StepTime(*(part / tflops for part in parts))
    card = accelerator_of(hardware)
    if card is None:
        return None
    tflops = card.tflops * hardware.n_processes
    weights_gb = shape.matmul_params * 2 / 1e9
    token_s = weights_gb / (card.bandwidth_gb_s * BANDWIDTH_EFFICIENCY)
    if config.rollout.backend == "transformers":
        token_s = max(token_s, TRANSFORMERS_TOKEN_S)
    sampling_s = rollout_tflop(config, shape, lengths) / (tflops * PREFILL_EFFICIENCY)
    update_s = update_tflop(config, shape, lengths) / (tflops * LEARN_EFFICIENCY)
    # Anchors are decoded after the others, and the rollouts of several steps side by side.
    n_decoded = lengths.completion_tok + (anchor_tok(config, lengths) if config.algo.anchors_per_step else 0)
    return StepTime(sampling_s + n_decoded * token_s / config.algo.steps_per_rollout, update_s)


def _n_tok(config: Config, lengths: Lengths, prompt_tok: int, of_anchor_tok: int) -> int:
    """Tokens of a step's rollouts after prompts of prompt_tok, of anchors of of_anchor_tok."""
    n_anchors = config.algo.anchors_per_step
    whole = (config.algo.rollouts_per_step - n_anchors) * (prompt_tok + lengths.completion_tok)
    return whole + n_anchors * (of_anchor_tok + anchor_tok(config, lengths))
