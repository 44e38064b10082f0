"""doctor: every check of a run that takes seconds, before an hour of training is spent on it.

    python -m cada_trl.doctor model=llama3 hardware=a100x4         (the overrides of cada_trl.train)

One line a finding: ok, warning or failed, what was seen, what to do. Exit code 0, or 1 where something failed. Weights
are not read; a hub model's tokenizer is fetched, and a judge behind an endpoint is asked four short questions.
"""

from __future__ import annotations

import sys

from cada_trl import diagnosis
from cada_trl.config import load_config
from cada_trl.config.loading import HELP
from cada_trl.diagnosis import Check, findings
from cada_trl.errors import run_verb
from cada_trl.launching import quiet_libraries, set_environment

CHECKS: dict[str, Check] = {
    "versions": diagnosis.check_versions,
    "machine": diagnosis.check_missing,
    "inputs": diagnosis.check_inputs,
    "gpu": diagnosis.check_gpu,
    "memory": diagnosis.check_memory,
    "time": diagnosis.check_time,
    "disk": diagnosis.check_disk,
    "port": diagnosis.check_ports,
    "judge": diagnosis.check_reward,
    "tokenizer": diagnosis.check_model,
}


def main(argv: list[str]) -> int:
    """The verb. Returns 1 where a check failed. Errors: UserError for overrides that are no configuration."""
    if not HELP.intersection(argv):
        print("reading the configuration", file=sys.stderr, flush=True)
    config = load_config(argv)
    print(f"checking {config.model.name}: {', '.join(CHECKS)}", file=sys.stderr, flush=True)
    set_environment(config.hardware.threads)
    quiet_libraries()
    n_failed = n_warned = 0
    for name, check in CHECKS.items():
        for finding in findings(name, check, config):
            print(finding.line(), flush=True)
            n_failed += finding.level == "failed"
            n_warned += finding.level == "warning"
    print(f"{n_failed} failed, {n_warned} warning(s)")
    return int(n_failed > 0)


if __name__ == "__main__":
    run_verb(main)
