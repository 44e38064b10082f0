"""Two gloo ranks against one process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .preset_run import distance, trained, weights

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


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.mark.slow
def test_two_ranks_learn_what_one_process_does(tiny_folder: str, tmp_path: Path) -> None:
    script = tmp_path / "ranks.py"
    script.write_text(SCRIPT)
    output = tmp_path / "two"
    output.mkdir()
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={_free_port()}"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [*launcher, str(script), tiny_folder, str(output), "running"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    two = torch.load(output / "ranks.pt")
    one = trained(tiny_folder, tmp_path / "one", kl="exact", baseline="running", n_requests=4, target_kl_nats=0.01)
    assert distance(two["weights"], weights(one.policy)) < 1e-6
    assert two["state"]["mean"] == pytest.approx(one.running_mean.value)
    assert two["state"]["beta"] == pytest.approx(one.beta_controller.value)
