"""README.md of an exported dataset: the twins, or the rates of an evaluation. YAML that the hub reads, then text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cada_trl.document.markdown import bullets, heading, table
from cada_trl.report.eval_record import EvalRecord
from cada_trl.report.rates import rate_rows
from cada_trl.storage.digest import content_hash
from cada_trl.tracking.manifest import scrub


def twins_card(agreed: str, parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """agreed: how far the two labels agree. parts: split -> its rows, each in a JSONL file of that name."""
    from huggingface_hub import DatasetCardData

    rows = [row for part in parts.values() for row in part]
    known: dict[str, Any] = {
        "configs": [
            {"config_name": "default", "data_files": [{"split": name, "path": f"{name}.jsonl"} for name in parts]}
        ],
        "tags": ["safety", "over-refusal", "contrast-pairs"],
    }
    values = DatasetCardData(
        language="en",
        license="apache-2.0",
        pretty_name="Twins of cada_trl",
        task_categories=["text-classification"],
        annotations_creators="machine-generated",
        language_creators="machine-generated",
        size_categories="1K<n<10K",
        source_datasets=["original"],
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
    parts_of_page = [
        f"---\n{values}\n---",
        heading(1, "Twins: harmful and harmless requests in much the same words"),
        "Each harmful request has a harmless twin of the same hazard's vocabulary, form and length, so that words "
        "alone do not tell them apart.",
        bullets(sentences),
        table(["Field", "Meaning"], _FIELDS.items()),
        table(["Hazard", "Harmful rows", "Harmless rows"], hazards),
        heading(2, "Limits"),
        "English, short, single requests; what is harmful follows one policy of 12 hazards.",
    ]
    return "\n\n".join(parts_of_page) + "\n"


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
        "Prompt": record.config["prompt"]["arm"],
        "Judge": record.scores.judge_id,
    }
    rows = rate_rows([record])
    parts = [
        f"---\n{values}\n---",
        heading(1, record.name),
        "How often a model complied with harmful requests and answered harmless ones, measured by cada_trl. Rates with "
        "counts and 95 % intervals. Requests and answers are not in here: their licences are their sources'.",
        table(["", ""], facts.items()),
        table(list(rows[0]), [list(row.values()) for row in rows]),
    ]
    return str(scrub("\n\n".join(parts))) + "\n"
