"""What the report says of faithfulness and of utility: numbers with intervals, differences in pairs, how asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from cada_trl.console import duration
from cada_trl.document.blocks import Block, Bullets, Document, Facts, Fold, Heading, Section, Shown, Table, Text
from cada_trl.evaluation.faithfulness import INTERVENTIONS, Effect
from cada_trl.evaluation.utility.results import compare
from cada_trl.numbers import ABSENT, RATE, Cell
from cada_trl.report.facts import model_facts, prompt_fact, provenance_facts
from cada_trl.report.names import benchmark_name, labels
from cada_trl.report.paper import paper_match, paper_tables
from cada_trl.report.rates import change_cell, change_columns, measure_cell, share_cell
from cada_trl.report.records import FaithfulnessRecord, UtilityRecord
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


def _asked(name: str, facts: dict[str, str]) -> Fold:
    return Fold(f"How {name} was asked", [Facts(facts)], [Facts(facts)])


def faithfulness_part(records: Sequence[FaithfulnessRecord]) -> Document:
    names, twin = labels(records), []
    meanings = {name.replace("_", " "): meaning for name, meaning in INTERVENTIONS.items()}
    blocks: list[Block] = [Text(_FAITHFULNESS, "note"), Facts(meanings)]
    for record, name in zip(records, names, strict=True):
        config, decides = record.config, record.manifest.get("decides") or {}
        facts: dict[str, str] = scrub(
            {
                **model_facts(config, decides.get("model")),
                "Prompt": prompt_fact(config),
                "Requests": f"{(decides.get('asked') or {}).get('n_items', '?')} of {config.get('items') or 'twins'}",
                "Decoding": str(decides.get("generator", "unknown")),
                "Judge": record.effects.judge_id,
                "Sentences kept of a cut analysis": str(config.get("keep_sentences", "unknown")),
                **provenance_facts(record),
            }
        )
        untouched = [
            f"Untouched, {one.kind} requests: refused {measure_cell(one.refused)}, with reasoning "
            f"{measure_cell(one.reasoning)}"
            for one in record.effects.untouched
        ]
        rows = [_effect(one) for one in record.effects.effects]
        table = Table.of(f"Faithfulness: {name}", rows, grouped=True, strong="Difference")
        heading = Heading(f"{name}, judged by {record.effects.judge_id}")
        blocks += [heading, Bullets(untouched), table, _asked(name, facts)]
        twin.append({"model": name, "facts": facts, **scrub(record.effects.to_json())})
    return Document(", ".join(names), [Section("Faithfulness", blocks, "faithfulness")], {"faithfulness": twin})


def _effect(one: Effect) -> dict[str, Shown]:
    pointless = one.asked and one.followed is None
    return {
        "Intervention": one.intervention.replace("_", " "),
        "Requests": one.kind,
        "Refused before": share_cell(one.refused.before),
        "Refused after": share_cell(one.refused.after),
        "Difference": change_cell(one.refused),
        "Changed": measure_cell(one.changed),
        "Followed": Cell("points to none") if pointless else measure_cell(one.followed),
        "Lacks": str(one.missing or ""),
    }


def utility_part(records: Sequence[UtilityRecord]) -> Document:
    """The section on utility. Errors: UserError for a model that shares no finished task with the first."""
    names = labels(records)
    by_name = dict(zip(names, records, strict=True))
    weights = {name: (one.manifest.get("model") or {}).get("identity") for name, one in by_name.items()}
    facts = {
        name: scrub(model_facts(one.config, weights[name]) | provenance_facts(one)) for name, one in by_name.items()
    }
    matches = {name: paper_match(one) for name, one in by_name.items()}
    shown = "; ".join(f"{name}: {match.label}" for name, match in matches.items() if match)
    note = f"The paper's numbers ({shown}) are for orientation: {paper_tables().asked_differently['utility']}."
    rows, notes = [], []
    for name, record in by_name.items():
        notes += [f"{name}: {task} was not finished; the same command goes on." for task in record.unfinished]
        part: dict[str, None] = {}
        for result in record.results:
            match, row = matches[name], _task(result, name)
            if result["accuracy"]["n"] < (result.get("n_published") or 0):
                part[str(row["Task"])] = None
            paper = match.value(result["plan"]["task"]["name"], "none", "accuracy") if match else None
            rows.append(row | ({"Paper": paper or ABSENT} if shown else {}))
        notes += [f"{name}: only a sample of the questions was asked of {', '.join(part)}."] if part else []
    rows.sort(key=lambda row: str(row["Task"]))
    blocks: list[Block] = [Text(f"{_UTILITY} {note if shown else ''}".rstrip(), "note")]
    blocks.append(Table.of("Utility", rows, grouped=True, strong="Accuracy"))
    compared = {name: compare(records[0].path, one.path) for one, name in zip(records[1:], names[1:], strict=True)}
    for name, tasks in compared.items():
        changes = [
            {"Task": benchmark_name(task), **change_columns(names[0], name, one, "questions")} for task, one in tasks
        ]
        table = Table.of(f"Utility: {name} against {names[0]}", changes, strong="Difference")
        blocks += [Heading(f"{name} against {names[0]}"), Text(_UTILITY_PAIRS, "note"), table]
    blocks += [*([Bullets(notes)] if notes else []), *(_asked(name, own) for name, own in facts.items())]
    twin = {
        "utility": [
            {"model": name, "facts": facts[name], "results": scrub(one.results)} for name, one in by_name.items()
        ],
        "utility_compared_with_the_first": [
            {"model": name, "tasks": [{"task": task, **one.to_json()} for task, one in tasks]}
            for name, tasks in compared.items()
        ],
    }
    return Document(", ".join(names), [Section("Utility", blocks, "utility")], twin)


def _task(result: dict[str, Any], name: str) -> dict[str, Shown]:
    task, accuracy, wall = result["plan"]["task"], result["accuracy"], result.get("wall_s")
    template = "chat template" if task["chat_template"] else "no chat template"
    cut = f", {result['prompts_cut']} prompts cut to the context" if result.get("prompts_cut") else ""
    others, theirs = (result.get("other_filters") or {}).items(), result.get("lm_eval") or {}
    return {
        "Task": benchmark_name(task["name"]),
        "Model": name,
        "Accuracy": RATE.cell(accuracy["value"], accuracy["low"], accuracy["high"], f"n {accuracy['n']}"),
        "Questions": f"{accuracy['n']} of {result.get('n_published', '?')}",
        "lm-eval ± se": f"{RATE.text(theirs.get('accuracy'))} ± {RATE.text(theirs.get('stderr'))}",
        "Asked": f"{task['num_fewshot']}-shot, {template}, {task['filter']}{cut}",
        "Other filters": "; ".join(f"{key}: {RATE.cell(rate['value'])}" for key, rate in others),
        "Wall time": duration(wall) if isinstance(wall, int | float) else "unknown",
    }
