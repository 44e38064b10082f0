"""What the report says of faithfulness and of utility: numbers with intervals, differences in pairs, how asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cada_trl.console import duration
from cada_trl.document.blocks import Block, Bullets, Document, Facts, Fold, Heading, Section, Shown, Table, Text
from cada_trl.evaluation.faithfulness.changes import INTERVENTIONS
from cada_trl.evaluation.faithfulness.effects import Effect
from cada_trl.evaluation.utility.results import Comparison, compare
from cada_trl.numbers import ABSENT, POINTS, RATE, Cell, p_text
from cada_trl.report.facts import model_fact, provenance_facts, weights_fact
from cada_trl.report.names import benchmark_name, labels
from cada_trl.report.paper import paper_match, paper_tables
from cada_trl.report.rates import change_cell, measure_cell, share_cell
from cada_trl.report.records import FaithfulnessRecord, UtilityRecord
from cada_trl.statistics import holm
from cada_trl.tracking.manifest import scrub

_FAITHFULNESS = (
    "Share refused without and with an intervention, greedy, on the same requests, and the paired difference with its "
    "95 % interval. A verdict that follows its reasons changes with them. Changed: verdicts that are another one; "
    "followed: of the verdicts that were not the one the intervention points to, those that became it."
)
_UTILITY = (
    "Accuracy by lm-eval, higher is better, each question once, with the Wilson 95 % interval. MMLU with and without "
    "the chat template are two measurements."
)
_UTILITY_PAIRS = (
    "On the same questions. Only first / second: questions that one of the two alone had right. p: McNemar's exact "
    "test, in brackets adjusted by Holm."
)


def faithfulness_part(records: Sequence[FaithfulnessRecord]) -> Document:
    """The section on faithfulness, a table for each folder."""
    names = labels(records)
    facts = [_faithfulness_facts(record) for record in records]
    meanings = {name.replace("_", " "): meaning for name, meaning in INTERVENTIONS.items()}
    header = ["Intervention", "Requests", "Refused before", "Refused after", "Difference", "Changed", "Followed"]
    blocks: list[Block] = [Text(_FAITHFULNESS, "note"), Facts(meanings)]
    for record, name, own in zip(records, names, facts, strict=True):
        untouched = [
            f"Untouched, {one.kind} requests: refused {measure_cell(one.refused)}, with reasoning "
            f"{measure_cell(one.reasoning)}"
            for one in record.effects.untouched
        ]
        rows = [_effect(one) for one in record.effects.effects]
        blocks += [
            *(Heading(name), Bullets(untouched)),
            Table(f"Faithfulness: {name}", [*header, "Lacks"], rows, grouped=True, strong="Difference"),
            Fold(f"How {name} was asked", [Facts(own)], [Facts(own)]),
        ]
    twin = [
        {"model": name, "facts": own, **scrub(record.effects.to_json())}
        for record, name, own in zip(records, names, facts, strict=True)
    ]
    return Document(", ".join(names), [Section("Faithfulness", blocks, "faithfulness")], {"faithfulness": twin})


def _effect(one: Effect) -> list[Shown]:
    pointless = one.asked and one.followed is None
    return [
        *(one.intervention.replace("_", " "), one.kind, share_cell(one.refused.before), share_cell(one.refused.after)),
        *(change_cell(one.refused), measure_cell(one.changed)),
        Cell("points to none") if pointless else measure_cell(one.followed),
        str(one.missing or ""),
    ]


def _faithfulness_facts(record: FaithfulnessRecord) -> dict[str, str]:
    config, manifest = record.config, record.manifest
    decides = manifest.get("decides") or {}
    prompt, asked = config.get("prompt") or {}, decides.get("asked") or {}
    facts = {
        "Model": model_fact(config),
        "Weights": weights_fact(decides.get("model")),
        "Prompt": "the request alone" if prompt.get("arm") == "none" else f"arm {prompt.get('arm', 'unknown')}",
        "Requests": f"{asked.get('n_items', '?')} of {config.get('items') or 'twins'}",
        "Decoding": str(decides.get("generator", "unknown")),
        "Judge": record.effects.judge_id,
        "Sentences kept of a cut analysis": str(config.get("keep_sentences", "unknown")),
        "State": str(manifest.get("exit_state") or "unknown"),
    }
    scrubbed: dict[str, str] = scrub(facts | provenance_facts(manifest))
    return scrubbed


def utility_part(records: Sequence[UtilityRecord]) -> Document:
    """The section on utility. Errors: UserError for a model that shares no finished task with the first."""
    names = labels(records)
    facts = {name: _utility_facts(record) for record, name in zip(records, names, strict=True)}
    paper = _paper_note(records, names)
    header = ["Task", "Model", "Accuracy", "Questions", "Asked", "Other filters", "Wall time"]
    rows = [
        [*_task(record, result, name), *([_paper(record, result)] if paper else [])]
        for record, name in zip(records, names, strict=True)
        for result in record.results
    ]
    rows.sort(key=lambda row: str(row[0]))
    table = Table("Utility", [*header, *(["Paper"] if paper else [])], rows, grouped=True, strong="Accuracy")
    compared = [(name, compare(records[0].path, one.path)) for one, name in zip(records[1:], names[1:], strict=True)]
    blocks: list[Block] = [Text(f"{_UTILITY} {paper}".rstrip(), "note"), table]
    for name, comparisons in compared:
        blocks += [Heading(f"{name} against {names[0]}"), Text(_UTILITY_PAIRS, "note")]
        blocks.append(_compared(names[0], name, comparisons))
    notes = [sentence for record, name in zip(records, names, strict=True) for sentence in _notes(record, name)]
    blocks += [Bullets(notes)] if notes else []
    blocks += [Fold(f"How {name} was asked", [Facts(own)], [Facts(own)]) for name, own in facts.items()]
    twin = {
        "utility": [
            {"model": name, "facts": facts[name], "results": scrub(record.results)}
            for record, name in zip(records, names, strict=True)
        ],
        "utility_compared_with_the_first": [
            {"model": name, "tasks": [asdict(one) for one in comparisons]} for name, comparisons in compared
        ],
    }
    return Document(", ".join(names), [Section("Utility", blocks, "utility")], twin)


def _utility_facts(record: UtilityRecord) -> dict[str, str]:
    identity = (record.manifest.get("model") or {}).get("identity")
    facts = {"Model": model_fact(record.config), "Weights": weights_fact(identity)}
    facts["State"] = str(record.manifest.get("exit_state") or "unknown")
    scrubbed: dict[str, str] = scrub(facts | provenance_facts(record.manifest))
    return scrubbed


def _task(record: UtilityRecord, result: dict[str, Any], name: str) -> list[Shown]:
    task, accuracy = result["plan"]["task"], result["accuracy"]
    template = "chat template" if task["chat_template"] else "no chat template"
    cut = f", {result['prompts_cut']} prompts cut to the context" if result.get("prompts_cut") else ""
    others = (result.get("other_filters") or {}).items()
    return [
        *(benchmark_name(task["name"]), name),
        RATE.cell(accuracy["value"], accuracy["low"], accuracy["high"], f"n {accuracy['n']}"),
        f"{accuracy['n']} of {result.get('n_published', '?')}",
        f"{task['num_fewshot']}-shot, {template}, {task['filter']}{cut}",
        "; ".join(f"{key}: {RATE.cell(rate['value'])}" for key, rate in others),
        duration(result["wall_s"]) if isinstance(result.get("wall_s"), int | float) else "unknown",
    ]


def _paper(record: UtilityRecord, result: dict[str, Any]) -> Cell:
    match = paper_match(record.config)
    return (match.value(result["plan"]["task"]["name"], "none", "accuracy") if match else None) or ABSENT


def _compared(first: str, second: str, comparisons: Sequence[Comparison]) -> Table:
    adjusted = holm([one.p for one in comparisons])
    rows: list[list[Shown]] = [
        [
            *(benchmark_name(one.task), RATE.cell(one.before), RATE.cell(one.after)),
            POINTS.cell(*one.difference, f"{one.n} questions"),
            f"{one.only_before} / {one.only_after}",
            p_text(one.p, p_holm),
        ]
        for one, p_holm in zip(comparisons, adjusted, strict=True)
    ]
    header = ["Task", first, second, "Difference", "Only first / second", "p (Holm)"]
    return Table(f"Utility: {second} against {first}", header, rows, strong="Difference")


def _paper_note(records: Sequence[UtilityRecord], names: Sequence[str]) -> str:
    """Which of the paper's rows stand beside which model; nothing where there is none."""
    matches = [(name, paper_match(record.config)) for record, name in zip(records, names, strict=True)]
    shown = "; ".join(f"{name}: {match.label}" for name, match in matches if match)
    differently = paper_tables().asked_differently["utility"]
    return f"The paper's numbers ({shown}) are for orientation: {differently}." if shown else ""


def _notes(record: UtilityRecord, name: str) -> list[str]:
    sentences = [f"{name}: {task} was not finished; the same command goes on." for task in record.unfinished]
    part = [
        benchmark_name(one["plan"]["task"]["name"])
        for one in record.results
        if one["accuracy"]["n"] < (one.get("n_published") or 0)
    ]
    if part:
        sentences.append(f"{name}: only a sample of the questions was asked of {', '.join(dict.fromkeys(part))}.")
    return sentences
