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

import yaml

from cada_trl.console import table_console
from cada_trl.errors import run_verb
from cada_trl.evals.eval_folder import folder_name
from cada_trl.evals.utility.compare import compare, results_folder
from cada_trl.evals.utility.plan import Plan, plan_tasks
from cada_trl.evals.utility.result import finished_result
from cada_trl.evals.utility.settings import UtilitySettings, load_settings
from cada_trl.evals.utility.show import comparison_table, results_table
from cada_trl.launching import set_environment
from cada_trl.storage.files import held, replace, replace_json
from cada_trl.tracking.manifest import exit_state, finished, now_utc, provenance
from cada_trl.tracking.scrub import scrub


def main(argv: list[str]) -> int:
    """The verb: overrides -> results on disk and as a table. Returns 0. Errors: UserError, mostly before any model."""
    settings = load_settings(argv)
    set_environment(settings.threads)
    os.environ.setdefault("TQDM_DISABLE", "1")  # lm-eval's and datasets' bars would cross our own line
    before = None if settings.against is None else results_folder(Path(settings.against))
    plans = plan_tasks(settings)
    folder, results = measure(settings, plans)
    console = table_console()
    console.print(results_table(settings.model.name, results))
    if before is not None:
        console.print(comparison_table(before.name, folder.name, compare(before, folder)))
    print(folder)
    return 0


def measure(settings: UtilitySettings, plans: Sequence[Plan]) -> tuple[Path, list[dict[str, Any]]]:
    """The model's folder and a result a plan: read back where it is finished, else asked now."""
    model = _model_facts(settings)
    folder = Path(settings.utility_dir) / folder_name(settings.model.name, model)
    results = [finished_result(plan, folder / plan.folder_name) for plan in plans]
    if None not in results:
        return folder, [result for result in results if result is not None]
    with held(folder / "folder.lock", f"{folder} is in use by another process; wait for it"):
        return folder, _ask(settings, plans, folder, model)


def _ask(settings: UtilitySettings, plans: Sequence[Plan], folder: Path, model: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask what is not finished; the manifest says how it ended, whatever happens."""
    from cada_trl.evals.utility.run import load_lm, run_task

    lm = cache(lambda: load_lm(settings))  # once, and only if something is left to ask
    manifest = _manifest(model, plans)
    replace(folder / "config.yaml", yaml.safe_dump(settings.model_dump(), sort_keys=False, allow_unicode=True))
    replace_json(folder / "manifest.json", manifest)
    results = []
    try:
        for plan in plans:
            task_folder = folder / plan.folder_name
            print(f"{plan.task.name}: {plan.n} of {plan.task.n} questions, {task_folder}", file=sys.stderr)
            results.append(finished_result(plan, task_folder) or run_task(plan, settings, lm, task_folder))
    except BaseException as error:
        replace_json(folder / "manifest.json", finished(manifest, exit_state(error)))
        raise
    replace_json(folder / "manifest.json", finished(manifest, "done"))
    return results


def _model_facts(settings: UtilitySettings) -> dict[str, Any]:
    """What decides the answers beside the questions: weights, tokenizer, precision and the libraries that compute."""
    from cada_trl.models.identity import model_identity

    chosen = settings.model.model_dump(include={"dtype", "context_tok", "eos", "pad"})
    libraries = {name: version(name) for name in ("torch", "transformers")}
    return {"identity": model_identity(settings.model), **chosen, "device": settings.device, "versions": libraries}


def _manifest(model: dict[str, Any], plans: Sequence[Plan]) -> dict[str, Any]:
    manifest: dict[str, Any] = scrub(
        {
            "exit_state": "running",
            "started_utc": now_utc(),
            "ended_utc": None,
            "wall_s": None,
            "model": model,
            "tasks": [plan.folder_name for plan in plans],
            **provenance(),
        }
    )
    return manifest


if __name__ == "__main__":
    run_verb(main)
