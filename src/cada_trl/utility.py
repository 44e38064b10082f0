"""utility: a model's GSM8K, BIG-Bench Hard and MMLU through lm-eval, in the paper's settings.

    python -m cada_trl.utility model=smollm2 data_root=<folder> limit=100
    python -m cada_trl.utility model=runs/smollm2-fc6d9248-s0 tasks=gsm8k,mmlu against=utility/smollm2-<hash8>

Written to <utility_dir>/<model>-<hash8>/. The same command goes on after an interruption; a finished task is not asked
again. against= compares with another model's folder, question by question.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cada_trl.console import table_console
from cada_trl.document.render import show
from cada_trl.errors import UserError, run_verb
from cada_trl.evaluation.folder import EvaluationFolder, folder_name
from cada_trl.evaluation.settings import UtilityConfig, load_utility_config
from cada_trl.evaluation.utility.results import RESULT, finished_result, results_folder
from cada_trl.evaluation.utility.task import Plan, plan_tasks
from cada_trl.launching import set_environment
from cada_trl.report.records import read_utility
from cada_trl.report.results_part import utility_part


def main(argv: list[str]) -> int:
    """The verb: overrides -> results on disk and as a table. Returns 0. Errors: UserError, mostly before any model."""
    config = load_utility_config(argv)
    set_environment(config.threads)
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's and datasets' bars would cross our own line
    before = None if config.against is None else results_folder(Path(config.against).expanduser())
    plans = plan_tasks(config)
    if before and not any((before / plan.folder_name / RESULT).is_file() for plan in plans):
        tasks = ", ".join(plan.folder_name for plan in plans)
        raise UserError(f"against={before} has none of {tasks}; expected the same tasks, limit, seed and data")
    path = measure(config, plans)
    folders = [before, path] if before else [path]
    show(utility_part(list(map(read_utility, folders))), table_console())
    print(path)
    return 0


def measure(config: UtilityConfig, plans: Sequence[Plan]) -> Path:
    """The model's folder with a result per plan: what is not finished is asked now. Errors: UserError also where it is
    to be compared with itself."""
    model = _decides(config)
    path = Path(config.utility_dir) / folder_name(config.model.name, model)
    if config.against is not None and Path(config.against).expanduser().resolve() == path.resolve():
        raise UserError(f"against={config.against} is of this very model, {config.model.path}; give another one's")
    if None in [finished_result(plan, path / plan.folder_name) for plan in plans]:
        facts = {"model": model, "tasks": [plan.folder_name for plan in plans]}
        with EvaluationFolder.opened(path, model, config, facts):
            from cada_trl.evaluation.utility.run import load_lm, run_task

            lm = cache(lambda: load_lm(config))  # once, and only if something is left to ask
            for plan in plans:
                folder = path / plan.folder_name
                print(f"{plan.task.name}: {plan.n} of {plan.task.n} questions, {folder}", file=sys.stderr)
                if finished_result(plan, folder) is None:
                    run_task(plan, config, lm, folder)
    return path


def _decides(config: UtilityConfig) -> dict[str, Any]:
    """What decides the answers beside the questions: weights, tokenizer, precision and the libraries that compute."""
    from cada_trl.models.named import model_identity

    chosen = config.model.model_dump(include={"dtype", "context_tok", "eos", "pad"})
    libraries = {name: version(name) for name in ("torch", "transformers")}
    return {"identity": model_identity(config.model), **chosen, "device": config.device, "versions": libraries}


if __name__ == "__main__":
    run_verb(main)
