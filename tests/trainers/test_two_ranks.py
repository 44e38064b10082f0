"""Two gloo ranks against one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from .preset_run import distance, trained, weights
from .two_ranks import on_two_ranks

SCRIPT = """
import sys
from pathlib import Path
import torch
from trainers.preset_run import trained, weights

folder, output, baseline = sys.argv[1:]
trainer = trained(folder, Path(output), micro=(2, 2), kl="exact", baseline=baseline, n_requests=4, target_kl_nats=0.01)
if trainer.accelerator.is_main_process:
    state = {"mean": trainer.running_mean.value, "beta": trainer.beta_controller.value}
    torch.save({"weights": weights(trainer.policy), "state": state}, Path(output) / "ranks.pt")
"""


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does(tiny_folder: str, tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(SCRIPT)
    output = tmp_path / "two"
    output.mkdir()
    on_two_ranks(str(script), tiny_folder, str(output), "running")
    two = torch.load(output / "ranks.pt")
    one = trained(tiny_folder, tmp_path / "one", kl="exact", baseline="running", n_requests=4, target_kl_nats=0.01)
    assert distance(two["weights"], weights(one.policy)) < 1e-6
    assert two["state"]["mean"] == pytest.approx(one.running_mean.value)
    assert two["state"]["beta"] == pytest.approx(one.beta_controller.value)
