"""What a response costs with each backend, and how far the backends agree, on a benchmark's requests.

    python -m benchmarks.generation data_root=<folder with xstest/>            (needs vllm; several minutes)
    python -m benchmarks.generation data_root=<folder> limit=20 max_new_tok=32 --json generation.json

Each variant runs in a process of its own on one thread. CPU-seconds are user and system time of that process while it
answers (vLLM's engine runs inside it on a CPU), after a first answer that loads the weights; wall time is not quoted,
since it tells how busy the machine was.
"""

from __future__ import annotations

import resource
import time
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import ONE_THREAD, in_own_process, parser, show, tell, words, write_json
from cada_trl.config import ModelConfig, load_config
from cada_trl.data.benchmark_items import load_items, load_spec
from cada_trl.errors import UserError, run_verb
from cada_trl.evaluation.model import generator_id
from cada_trl.evaluation.settings import Backend, GenerationConfig

DEFAULTS = {"model": "smollm2", "benchmark": "xstest_safe", "data_root": "", "limit": "100", "max_new_tok": "128"}
BATCH_TOK = 16384  # ours: SmolLM2-135M in float32 holds them in about 0.8 GB
VARIANTS: list[tuple[Backend, str]] = [
    ("transformers", "float32"),
    ("vllm", "float32"),
    ("transformers", "bfloat16"),
    ("vllm", "bfloat16"),
]


COLUMNS = (
    "generator",
    "resp. a CPU-s",
    "ratio",
    "CPU-s",
    "start-up",
    "tok",
    "MiB",
    "equal",
    "differs at tok",
    "gap, nats",
)


def main(argv: list[str]) -> int:
    """Errors: UserError for an unknown argument, a benchmark that cannot be had, and vllm not installed."""
    arguments = parser("generation", "Cost of a response.", ", ".join(DEFAULTS)).parse_args(argv)
    values = words(arguments.overrides, DEFAULTS)
    limit, max_new_tok = (_whole(key, values[key]) for key in ("limit", "max_new_tok"))
    model = load_config([f"model={values['model']}"]).model
    data_root = Path(values["data_root"]) if values["data_root"] else None
    requests = [item.request for item in load_items(load_spec(values["benchmark"]), data_root, limit, 0)]
    results = []
    for backend, dtype in VARIANTS:
        variant = model.model_copy(update={"dtype": dtype})
        generator_id(variant, _settings(backend, max_new_tok))  # installed?
        tell(f"{backend} {dtype} ...")
        given = (variant.model_dump(), backend, requests, max_new_tok)
        results.append(in_own_process(measure, *given, environment=ONE_THREAD))
    for result in results[1:]:
        result["against_first"] = agreement(model, requests, results[0]["answers"], result["answers"])
    title = "Greedy responses on one thread. Against the first row: equal, median place, median and largest logit gap"
    show(title, COLUMNS, (_line(result, results[0]) for result in results))
    write_json(arguments.json, {**values, "limit": limit, "max_new_tok": max_new_tok, "results": results})
    return 0


def _settings(backend: Backend, max_new_tok: int) -> GenerationConfig:
    return GenerationConfig(backend=backend, max_new_tok=max_new_tok, batch_tok=BATCH_TOK, threads=1)


def _whole(key: str, text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise UserError(f"{key}={text}; expected a whole number from 1")
    return int(text)


def measure(fields: dict[str, Any], backend: Backend, requests: list[str], max_new_tok: int) -> dict[str, Any]:
    """Answer every request with the model of these fields now; CPU-seconds, tokens and the answers' ids."""
    from cada_trl.evaluation.engines import make_engine
    from cada_trl.models.load import load_tokenizer

    model = ModelConfig(**fields)
    settings = _settings(backend, max_new_tok)
    prompts, ends = _prompts(model, requests, max_new_tok)
    engine = make_engine(model, settings, load_tokenizer(model), ends)
    list(engine.complete(prompts[:1]))
    start_up_s = time.process_time()
    answers = dict(engine.complete(prompts))
    cpu_s = time.process_time() - start_up_s
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
        place = next(place for place, pair in enumerate(zip(ours, theirs, strict=False)) if pair[0] != pair[1])
        with torch.inference_mode():
            logits_v = policy(torch.tensor([prompts[index] + ours[:place]])).logits[0, -1]  # type: ignore[misc]
        places.append(place)
        gaps.append(float(logits_v[ours[place]] - logits_v[theirs[place]]))
    return {"equal_frac": 1.0 - len(differing) / len(reference), "first_difference_tok": places, "logit_gap_nats": gaps}


def _prompts(model: ModelConfig, requests: list[str], max_new_tok: int) -> tuple[list[list[int]], frozenset[int]]:
    from cada_trl.models.load import load_tokenizer
    from cada_trl.models.prompts import end_ids, prompt_ids

    tokenizer = load_tokenizer(model)
    conversations = [[{"role": "user", "content": request}] for request in requests]
    return prompt_ids(tokenizer, conversations, model.context_tok, max_new_tok), end_ids(model, tokenizer)


def _line(result: dict[str, Any], first: dict[str, Any]) -> list[str]:
    against = result.get("against_first")
    gaps, places = (against["logit_gap_nats"], against["first_difference_tok"]) if against else ([], [])
    return [
        result["id"],
        f"{result['responses_per_cpu_s']:.2f}",
        f"{result['responses_per_cpu_s'] / first['responses_per_cpu_s']:.2f}",
        *(f"{result[key]:.0f}" for key in ("cpu_s", "start_up_cpu_s", "new_tok", "peak_mib")),
        f"{against['equal_frac']:.0%}" if against else "-",
        f"{median(places):.0f}" if places else "-",
        f"{median(gaps):.2g}, {max(gaps):.2g}" if gaps else "-",
    ]


if __name__ == "__main__":
    run_verb(main)
