"""A made-up sweep folder: beta_kl by seed, each cell a run with probes and, where asked for, an evaluation."""

import json

from tests.report.made_up_evaluation import ANSWER, REASONED, number, write_evaluation
from tests.report.made_up_run import write_run


def answers(refused_harmful, refused_harmless, seed):
    """Refuses the first harmful and harmless items; each seed one harmful item more."""

    def answer(attempt):
        limit = refused_harmful + seed if attempt.item.harmful else refused_harmless
        return REASONED if number(attempt) < limit else ANSWER

    return answer


# beta_kl -> harmful and harmless items refused, of 24 and 20; 0.1 is beaten by 0.01 in both
REFUSED = {0.0: (22, 8), 0.01: (18, 3), 0.1: (10, 5), 1.0: (4, 0)}


def write_sweep(root, seeds=(0,), evaluated=True):
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


def cell(run, beta, seed, evaluations):
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


def write_record(folder, values):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.json").write_text(json.dumps(values), encoding="utf-8")
    return folder
