"""Two gloo ranks of torchrun on this machine, for tests that hold them against one process."""

import os
import subprocess
import sys
from pathlib import Path


def on_two_ranks(*words):
    """Run torchrun's words (a script, or -m and a module, and arguments) with the tests importable, to a good end."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path]),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
