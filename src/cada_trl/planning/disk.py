"""What a run leaves on the disk: checkpoints with optimiser states, and the trained model."""

from __future__ import annotations

from cada_trl.config import Config
from cada_trl.planning.device import zero_stage
from cada_trl.planning.shapes import Shape


def run_folder_gb(config: Config, shape: Shape) -> float:
    """GB at the fullest moment: the kept checkpoints, the one in writing, the trained model."""
    saved_bytes = 4 if config.model.dtype == "float32" else 2
    n_trained = shape.lora_params(config.peft.rank) if config.peft.adapter == "lora" else shape.n_params
    if config.peft.adapter == "lora":
        saved_bytes = 4
    moments_bytes = 12 if zero_stage(config.hardware) else 2 * saved_bytes
    checkpoint = n_trained * (saved_bytes + moments_bytes)
    n_checkpoints = config.tracking.save_total_limit + 1
    return (n_checkpoints * checkpoint + n_trained * saved_bytes) / 1e9
