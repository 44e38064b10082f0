"""What a response costs with each backend, and how far the backends agree, on a benchmark's requests.

    python -m cada_trl.bench.generation data_root=<folder with xstest/>            (needs vllm; several minutes)
    python -m cada_trl.bench.generation data_root=<folder> limit=20 max_new_tok=32 --json generation.json

Each variant runs in a process of its own on one thread. CPU-seconds are user and system time of that process while it
answers (vLLM's engine runs inside it on a CPU), after a first answer that loads the weights; wall time is not quoted,
since it tells how busy the machine was.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from cada_trl.config import ModelConfig, load_config
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb
from cada_trl.evals.benchmarks import load_items, load_spec
from cada_trl.evals.generation.generator import Backend, GenerationSettings, generator_id, make_engine

DEFAULTS = {"model": "smollm2", "benchmark": "xstest_safe", "data_root": "", "limit": "100", "max_new_tok": "128"}
BATCH_TOK = 16384  # ours: SmolLM2-135M in float32 holds them in about 0.8 GB
VARIANTS: list[tuple[Backend, str]] = [
    ("transformers", "float32"),
    ("vllm", "float32"),
    ("transformers", "bfloat16"),
    ("vllm", "bfloat16"),
]


@dataclass(frozen=True)
class Work:
    """What one process measures."""

    model: dict[str, Any]
    backend: Backend
    requests: list[str]
    max_new_tok: int


def main(argv: list[str]) -> int:
    """Errors: UserError for an unknown argument, a benchmark that cannot be had, and vllm not installed."""
    if argv[:1] == ["--measure"]:
        print(json.dumps(measure(Work(**json.load(sys.stdin)))))
        return 0
    values, out = _arguments(argv)
    model = load_config([f"model={values['model']}"]).model
    data_root = Path(values["data_root"]) if values["data_root"] else None
    requests = [item.request for item in load_items(load_spec(values["benchmark"]), data_root, values["limit"], 0)]
    results = []
    for backend, dtype in VARIANTS:
        variant = model.model_copy(update={"dtype": dtype})
        generator_id(variant, GenerationSettings(backend, values["max_new_tok"], BATCH_TOK, 1))  # installed?
        Console(stderr=True).print(f"{backend} {dtype} ...")
        results.append(_in_own_process(Work(variant.model_dump(), backend, requests, values["max_new_tok"])))
    for result in results[1:]:
        result["against_first"] = agreement(model, requests, results[0]["answers"], result["answers"])
    table_console().print(_table(results))
    if out is not None:
        out.write_text(json.dumps({**values, "results": results}, indent=1), encoding="utf-8")
    return 0


def measure(work: Work) -> dict[str, Any]:
    """Answer every request now; CPU-seconds, tokens and the answers' ids."""
    from cada_trl.models.load import load_tokenizer

    model = ModelConfig(**work.model)
    settings = GenerationSettings(work.backend, work.max_new_tok, BATCH_TOK, threads=1)
    tokenizer = load_tokenizer(model)
    prompts, ends = _prompts(model, work.requests, work.max_new_tok)
    engine = make_engine(model, settings, tokenizer, ends)
    list(engine.complete(prompts[:1]))
    start_up_s, start = time.process_time(), time.process_time()
    answers = dict(engine.complete(prompts))
    cpu_s = time.process_time() - start
    engine.close()
    return {
        "id": generator_id(model, settings),
        "start_up_cpu_s": start_up_s,
        "cpu_s": cpu_s,
        "responses_per_cpu_s": len(prompts) / cpu_s,
        "new_tok": sum(map(len, answers.values())),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "answers": [answers[index] for index in range(len(prompts))],
    }


def agreement(
    model: ModelConfig, requests: list[str], reference: list[list[int]], other: list[list[int]]
) -> dict[str, Any]:
    """Share of equal answers; for the others the first token that differs and the reference's logit gap there.

    gap: how far the reference's own token lies above the other's, by transformers in the config's dtype, in logits
    (nats). Rounding can turn a greedy choice only where it is small.
    """
    import torch

    from cada_trl.models.load import load_policy, load_tokenizer

    torch.set_num_threads(1)
    differing = [index for index, ids in enumerate(reference) if ids != other[index]]
    policy = load_policy(model, load_tokenizer(model)).eval() if differing else None
    prompts, _ = _prompts(model, requests, 1)
    places, gaps = [], []
    for index in differing:
        ours, theirs = reference[index], other[index]
        place = next(place for place, (one, two) in enumerate(zip(ours, theirs, strict=False)) if one != two)
        with torch.inference_mode():
            logits_v = policy(torch.tensor([prompts[index] + ours[:place]])).logits[0, -1]  # type: ignore[misc]
        places.append(place)
        gaps.append(float(logits_v[ours[place]] - logits_v[theirs[place]]))
    return {
        "equal_frac": 1.0 - len(differing) / len(reference),
        "first_difference_tok": places,
        "logit_gap_nats": gaps,
    }


def _prompts(model: ModelConfig, requests: list[str], max_new_tok: int) -> tuple[list[list[int]], frozenset[int]]:
    from cada_trl.evals.generation.prompts import end_ids, prompt_ids
    from cada_trl.models.load import load_tokenizer

    tokenizer = load_tokenizer(model)
    conversations = [[{"role": "user", "content": request}] for request in requests]
    return prompt_ids(tokenizer, conversations, model.context_tok, max_new_tok), end_ids(model, tokenizer)


def _in_own_process(work: Work) -> dict[str, Any]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cada_trl.bench.generation", "--measure"]
    done = subprocess.run(
        command, env=environment, input=json.dumps(asdict(work)), stdout=subprocess.PIPE, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def _arguments(argv: list[str]) -> tuple[dict[str, Any], Path | None]:
    import argparse

    parser = argparse.ArgumentParser(prog="python -m cada_trl.bench.generation", description="Cost of a response.")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=", ".join(DEFAULTS))
    parser.add_argument("--json", type=Path, help="file for every figure and the answers' token ids")
    arguments = parser.parse_args(argv)
    given = dict(text.partition("=")[::2] for text in arguments.overrides)
    if unknown := [key for key in given if key not in DEFAULTS]:
        raise UserError(f"unknown key '{unknown[0]}'; valid: {', '.join(DEFAULTS)}")
    values: dict[str, Any] = DEFAULTS | given
    for key in ("limit", "max_new_tok"):
        if not str(values[key]).isdigit() or int(values[key]) < 1:
            raise UserError(f"{key}={values[key]}; expected a whole number from 1")
        values[key] = int(values[key])
    return values, arguments.json


def _table(results: list[dict[str, Any]]) -> Table:
    table = Table(
        title="Greedy responses on one thread. Against the first row: equal, median place, median and largest logit gap"
    )
    table.add_column("generator", no_wrap=True)
    for heading in (
        "resp. a CPU-s",
        "ratio",
        "CPU-s",
        "start-up",
        "tok",
        "MiB",
        "equal",
        "differs at tok",
        "gap, nats",
    ):
        table.add_column(heading, justify="right")
    for result in results:
        against = result.get("against_first")
        gaps, places = (against["logit_gap_nats"], against["first_difference_tok"]) if against else ([], [])
        table.add_row(
            result["id"],
            f"{result['responses_per_cpu_s']:.2f}",
            f"{result['responses_per_cpu_s'] / results[0]['responses_per_cpu_s']:.2f}",
            *(f"{result[key]:.0f}" for key in ("cpu_s", "start_up_cpu_s", "new_tok", "peak_mib")),
            f"{against['equal_frac']:.0%}" if against else "-",
            f"{median(places):.0f}" if places else "-",
            f"{median(gaps):.2g}, {max(gaps):.2g}" if gaps else "-",
        )
    return table


if __name__ == "__main__":
    run_verb(main)
