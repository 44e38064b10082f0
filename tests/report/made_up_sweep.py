"""A made-up sweep folder: beta_kl by seed, each cell a run with probes and, where asked for, an evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cada_trl.evaluation.answers import Attempt
from tests.report.made_up_evaluation import ANSWER, REASONED, number, write_evaluation
from tests.report.made_up_run import write_run


def answers(refused_harmful: int, refused_harmless: int, seed: int) -> Any:
    """Refuses the first harmful and harmless items; each seed one harmful item more."""

    def answer(attempt: Attempt) -> str:
        limit = refused_harmful + seed if attempt.item.harmful else refused_harmless
        return REASONED if number(attempt) < limit else ANSWER

    return answer


# beta_kl -> harmful and harmless items refused, of 24 and 20; 0.1 is beaten by 0.01 in both
REFUSED = {0.0: (22, 8), 0.01: (18, 3), 0.1: (10, 5), 1.0: (4, 0)}


def write_sweep(root: Path, seeds: tuple[int, ...] = (0,), evaluated: bool = True) -> Path:
    """sweeps/made-up with its runs and evaluations beside it."""
    cells = []
    for beta, (harmful, harmless) in REFUSED.items():
        for seed in seeds:
            run = write_run(root / "runs" / f"b{beta}-s{seed}", seed, n_steps=3)
            evaluation = root / "evals" / run.name
            if evaluated:
                write_evaluation(evaluation, answers(harmful, harmless, seed))
            cells.append(cell(run, beta, seed, [f"evals/{run.name}"] if evaluated else []))
    values = {
        "format": 1,
        "name": "made-up",
        "ablation": None,
        "axes": {"beta_kl": list(REFUSED), "seed": list(seeds)},
        "initial": [],
        "cells": cells,
        "search": None,
    }
    return write_record(root / "sweeps" / "made-up", values)


def cell(run: Path, beta: float, seed: int, evaluations: list[str]) -> dict[str, Any]:
    return {
        "id": f"{beta}-s{seed}",
        "config_hash": f"hash-{beta}",
        "model": "smollm2",
        "axes": {"beta_kl": beta},
        "seed": seed,
        "run_folder": f"runs/{run.name}",
        "state": "done",
        "reason": None,
        "evaluations": evaluations,
        "metrics": {},
    }


def write_record(folder: Path, values: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(values), encoding="utf-8")
    return folder
