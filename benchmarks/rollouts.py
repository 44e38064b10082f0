"""What one step's rollouts cost on one thread: transformers with shared prefixes, and vLLM in the trainer's process.

    python -m benchmarks.rollouts data=twins                (needs vLLM; overrides as for train)

Each backend runs in a process of its own on the same 24 prompts of the template arm and samples them three times; ends
are off, so that every completion has max_new_tok tokens. The first time also pays a sync and an empty prefix cache.
"""

from __future__ import annotations

import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.harness import ONE_THREAD, in_own_process, show
from benchmarks.trainers import of_run
from cada_trl.config import Config, load_config
from cada_trl.errors import UserError, run_verb
from cada_trl.launching import quiet_libraries, set_environment
from cada_trl.rollouts.vllm_plugin import check_installed, prepare_vllm

N_ROWS, N_TIMES = 24, 3


def main(argv: list[str]) -> int:
    """Print the table. Errors: UserError for a configuration that train would refuse, and without vLLM."""
    if any(word.startswith("rollout=") for word in argv):
        raise UserError("rollout= is what is compared; leave it out")
    check_installed(load_config(argv).hardware.device)
    lines = []
    for backend in ("transformers", "vllm_colocate"):
        seen = in_own_process(measure, [f"rollout={backend}", "threads=1", *argv], environment=ONE_THREAD)
        first_s, then_s = seen["cpu_s"][0], min(seen["cpu_s"][1:])
        rates = f"{first_s:.1f}", f"{then_s:.1f}", f"{seen['n_tok'] / then_s:.0f}"
        lines.append([backend, *rates, f"{seen['sync_cpu_s']:.1f}", f"{seen['peak_mib']:.0f}"])
    columns = ("rollout", "CPU-s, first", "CPU-s, then", "tok a CPU-s, then", "sync, CPU-s", "peak MiB")
    show(f"{N_ROWS} rollouts of one step on one thread", columns, lines)
    return 0


def measure(overrides: list[str]) -> dict[str, Any]:
    """CPU-seconds of each sampling of the same rows, of a sync, and tokens of one sampling."""
    config = load_config(overrides)
    set_environment(config.hardware.threads)
    if config.rollout.backend != "transformers":
        prepare_vllm(config)
    quiet_libraries()
    with tempfile.TemporaryDirectory() as folder:
        trainer = _trainer(config, Path(folder))
    rows = [trainer.train_dataset[row] for row in range(N_ROWS)]
    sync_cpu_s = 0.0
    if trainer.use_vllm:
        trainer.vllm_generation.generation_kwargs["stop_token_ids"] = []
        started = time.process_time()
        trainer.vllm_generation.sync_weights()
        sync_cpu_s = time.process_time() - started
    trainer.eos_token_ids = []
    cpu_s = []
    for _ in range(N_TIMES):
        started = time.process_time()
        completions = trainer.sample(rows, config.seed)
        cpu_s.append(time.process_time() - started)
    n_tok = sum(map(len, completions))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_s": cpu_s, "sync_cpu_s": sync_cpu_s, "n_tok": n_tok, "peak_mib": peak_mib}


def _trainer(config: Config, folder: Path) -> Any:
    from cada_trl.training.cada import CADATrainer
    from cada_trl.training.cada_config import cada_arguments
    from cada_trl.training.requests import step_sampler

    data, given = of_run(config)
    given["sampler"] = step_sampler(config, data.train, data.benign_train)
    return CADATrainer(**given, args=cada_arguments(config, folder, len(data.train)), score=lambda *_: [])


if __name__ == "__main__":
    run_verb(main)
