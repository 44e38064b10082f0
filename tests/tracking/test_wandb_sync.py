"""An offline run that was killed and went on is sent to W&B whole, as one run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cada_trl.config import Config
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.run_folder import RunFolder

from .test_mirror import ROW
from .wandb_stand_in import wandb_sync

KILLED = """
import os, signal, sys, time
from pathlib import Path
from cada_trl.config import load_config
from cada_trl.tracking.mirror import Mirror
from cada_trl.tracking.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])) as folder:
    run = Mirror.start(load_config(["seed=3"]), folder, "train", print)
    for step in (1, 2, 3):
        run.log(step, {"train/loss": 1 / step})
    end_s = time.monotonic() + 12  # less than the 15 s after which W&B's own process would write
    while not any(b"train/loss" in path.read_bytes() for path in folder.path.rglob("*.wandb")):
        if time.monotonic() > end_s:
            sys.exit("nothing was written")
        time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_that_went_on_is_sent_as_one_whose_rows_have_numbers_of_their_own(
    tmp_path: Path, config: Config
) -> None:
    env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # one of its own to leave
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with RunFolder(tmp_path) as folder:
        run = Mirror.start(config, folder, "train", lambda _: None)
        run.log(4, {"train/loss": 0.25})
        run.log(4, {"probe/harmful/refused_frac": 0.5})
        run.probe(4, [ROW])
        run.finish(succeeded=True)
    sent, said = wandb_sync(tmp_path)
    assert "ERROR" not in said
    assert [row["step"] for row in sent.history if "train/loss" in row] == [1, 2, 3, 4]
    rows = [row["_step"] for row in sent.history]
    assert len(rows) == 7 and rows == sorted(set(rows))
    assert sent.about["groupName"].startswith("smollm2-") and "method=cada" in sent.about["tags"]
    assert b"privacy" in next(text for name, text in sent.files.items() if "/hazard_slices_" in name)
