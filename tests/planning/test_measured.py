"""The memory plan beside peaks of whole processes measured on two CPU cores (docs/doctor.md has the commands)."""

from __future__ import annotations

import pytest

from cada_trl.bench.one_step import SHAPES
from cada_trl.config import load_config
from cada_trl.planning.lengths import Lengths
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import Shape, read_shape, shape_of

WITHIN = 0.15
SMOLLM2 = shape_of(load_config([]).model)
TINY = read_shape(SHAPES["tiny"])
RUN, PRESET = Lengths(313, 45, 64), Lengths(64, 64, 96)
MEASURED = [
    (TINY, PRESET, ["micro_batch=8"], 0.566),
    (SMOLLM2, PRESET, ["micro_batch=2"], 4.110),
    (SMOLLM2, PRESET, ["micro_batch=8"], 4.780),
    (SMOLLM2, RUN, ["micro_batch=4"], 4.265),
    (SMOLLM2, RUN, ["micro_batch=4", "bf16=true"], 4.506),
    (SMOLLM2, RUN, ["micro_batch=8", "bf16=true"], 4.364),
    (SMOLLM2, RUN, ["micro_batch=4", "peft=lora"], 2.615),
    (SMOLLM2, RUN, ["micro_batch=4", "peft=lora", "bf16=true"], 2.357),
    (SMOLLM2, RUN, ["micro_batch=8", "gradient_checkpointing=true"], 3.709),
    (SMOLLM2, RUN, ["micro_batch=4", "rollout=vllm_colocate"], 7.816),
    (SMOLLM2, RUN, ["micro_batch=4", "rollout=vllm_colocate", "bf16=true"], 7.345),
]


@pytest.mark.parametrize(("shape", "lengths", "words", "peak_gb"), MEASURED)
def test_the_plan_is_within_15_percent_of_the_measured_peak(
    shape: Shape, lengths: Lengths, words: list[str], peak_gb: float
) -> None:
    config = load_config(["requests_per_step=8", "benign_frac=0", "steps_per_rollout=1", *words])
    assert plan_memory(config, shape, lengths).peak_gb == pytest.approx(peak_gb, rel=WITHIN)
