"""A training as a process of its own, which a test can kill, and what its folder says."""

import json
import os
import subprocess
import sys
from pathlib import Path

from cada_trl.records import read_jsonl


def start(overrides):
    return subprocess.Popen(
        [sys.executable, "-m", "cada_trl.train", *overrides],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_steps(process, n):
    """Read what it says up to its n-th step; 0 waits for its first word."""
    assert process.stderr is not None
    n_steps = 0
    for line in process.stderr:
        n_steps += line.startswith("step ") and "ETA" in line
        if n_steps >= n:
            return


def finish(process):
    _, said = process.communicate(timeout=400)
    return process.returncode, said


def interrupted(overrides, n_steps, number):
    """Of a run that is sent a signal after its n-th step."""
    process = start(overrides)
    wait_for_steps(process, n_steps)
    process.send_signal(number)
    return finish(process)


def manifest(run):
    values = json.loads((run / "manifest.json").read_text())
    return values


def steps(run, file="train.jsonl"):
    return [row["step"] for _, row in read_jsonl(run / file)]
