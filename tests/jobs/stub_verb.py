"""Stands in for `train`: writes in a moment what a finished run holds. Started as a process, as the verb is.

Its environment says how it behaves: STUB_STARTS a file that gets its pid and words, STUB_FAILS a word that fails it,
by STUB_CODE or 2, STUB_TRIPS one whose tripwire stops it, STUB_SLEEP_S how long it takes, STUB_IGNORES_SIGINT that it
does not stop when it is asked to, STUB_SAVES a file that it writes before it ends when it gets USR1, STUB_SILENT that
the judge of its harmless probes is.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import yaml

from cada_trl.config import config_hash, load_config, run_name
from tests.report.made_up_run import probe_row


def write_run(config, step_s=2.0, rollout_s=1.0):
    """A finished run: 4 harmful probes, of which 3 are refused, and 2 harmless ones, both answered."""
    folder = Path(config.runs_dir) / run_name(config)
    (folder / "probes").mkdir(parents=True, exist_ok=True)
    (folder / "final").mkdir(exist_ok=True)
    (folder / "final" / "model.safetensors").write_bytes(b"weights")
    (folder / "config.yaml").write_text(yaml.safe_dump(config.model_dump()), encoding="utf-8")
    step = {"step": 1, "train/rollout_s": rollout_s, "train/step_s": step_s}
    (folder / "train.jsonl").write_text(json.dumps(step) + "\n", encoding="utf-8")
    rows = [probe_row("harmful", number, "REFUSED" if number else "COMPLIED", True) for number in range(4)]
    answered = "UNSCORED" if os.environ.get("STUB_SILENT") else "COMPLIED"
    rows += [probe_row("harmless", number, answered, True) for number in range(2)]
    for stem in ("before", "after"):
        (folder / "probes" / f"{stem}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {
        "run_name": folder.name,
        "exit_state": "done",
        "ended_utc": "2026-01-01T00:00:00+00:00",
        "wall_s": 30.0,
        "config_hash": config_hash(config),
        "seeds": {"run": config.seed},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def main(words):
    if os.environ.get("STUB_IGNORES_SIGINT"):
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if saves := os.environ.get("STUB_SAVES"):
        signal.signal(signal.SIGUSR1, lambda *_: (time.sleep(0.2), Path(saves).touch(), os._exit(75)))
    if starts := os.environ.get("STUB_STARTS"):
        with open(starts, "a", encoding="utf-8") as file:
            file.write(f"{os.getpid()} {' '.join(words)}\n")
    print("asleep", flush=True)
    time.sleep(float(os.environ.get("STUB_SLEEP_S", "0")))
    if os.environ.get("STUB_FAILS", "nothing") in words:
        print("error: this cell was made to fail", file=sys.stderr)
        return int(os.environ.get("STUB_CODE", "2"))
    if os.environ.get("STUB_TRIPS", "nothing") in words:
        manifest = write_run(load_config(words)) / "manifest.json"
        stopped = {"exit_state": "stopped: by the tripwire kl_jump at step 3: 90 nats; kl_jump=warn goes on"}
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | stopped))
        return 3
    print("place:", os.environ.get("MASTER_PORT"), sorted(os.sched_getaffinity(0)), os.environ.get("WANDB_RUN_GROUP"))
    print("gpus:", os.environ.get("CUDA_VISIBLE_DEVICES"))
    write_run(load_config(words))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
