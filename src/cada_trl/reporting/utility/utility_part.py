"""What the report says of utility: accuracies with intervals, differences in pairs, the paper beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cada_trl.document.markdown import bullets, heading, line, table
from cada_trl.evals.utility.compare import Comparison, compare
from cada_trl.numbers import ABSENT, Cell
from cada_trl.reporting.evaluation.eval_facts import model_fact, provenance_facts, weights_fact
from cada_trl.reporting.evaluation.names import benchmark_name, labels
from cada_trl.reporting.evaluation.numbers import p_cell
from cada_trl.reporting.evaluation.paper import paper_match, paper_tables
from cada_trl.reporting.part import Part
from cada_trl.reporting.template import render
from cada_trl.reporting.utility.utility_record import UtilityRecord
from cada_trl.statistics import holm
from cada_trl.tracking.progress import duration
from cada_trl.tracking.scrub import scrub

TITLE = "Utility"


@dataclass(frozen=True)
class TaskRow:
    """One task of one model. asked: how it was asked; other_filters: the same answers read otherwise."""

    task: str
    model: str
    accuracy: Cell
    questions: str
    asked: str
    other_filters: str
    paper: Cell
    wall: str


@dataclass(frozen=True)
class PairedTask:
    """One task, two models, the same questions."""

    task: str
    before: Cell
    after: Cell
    difference: Cell
    changed: str
    p: str


def utility_part(records: Sequence[UtilityRecord]) -> Part:
    """The section on utility. Errors: UserError for a model that shares no finished task with the first."""
    names = labels(records)
    rows = [
        _row(record, result, name) for record, name in zip(records, names, strict=True) for result in record.results
    ]
    rows.sort(key=lambda row: row.task)
    compared = [
        (name, compare(records[0].path, record.path)) for record, name in zip(records[1:], names[1:], strict=True)
    ]
    values: dict[str, Any] = {
        "facts": {name: _facts(record) for record, name in zip(records, names, strict=True)},
        "rows": rows,
        "first": names[0],
        "pairs": [(name, _paired(comparisons)) for name, comparisons in compared],
        "paper": _paper_note(records, names),
        "notes": [sentence for record, name in zip(records, names, strict=True) for sentence in _notes(record, name)],
    }
    twin = {
        "utility": [
            {"model": name, "facts": values["facts"][name], "results": scrub(record.results)}
            for record, name in zip(records, names, strict=True)
        ],
        "utility_compared_with_the_first": [
            {"model": name, "tasks": [asdict(one) for one in comparisons]} for name, comparisons in compared
        ],
    }
    return Part(names, [("utility", TITLE)], render("utility.html", title=TITLE, **values), _markdown(**values), twin)


def _facts(record: UtilityRecord) -> dict[str, str]:
    identity = (record.manifest.get("model") or {}).get("identity")
    facts = {"Model": model_fact(record.config), "Weights": weights_fact(identity)}
    facts["State"] = str(record.manifest.get("exit_state") or "unknown")
    scrubbed: dict[str, str] = scrub(facts | provenance_facts(record.manifest))
    return scrubbed


def _row(record: UtilityRecord, result: dict[str, Any], name: str) -> TaskRow:
    task = result["plan"]["task"]
    match = paper_match(record.config)
    paper = match.value(task["name"], "none", "accuracy") if match else None
    template = "chat template" if task["chat_template"] else "no chat template"
    cut = f", {result['prompts_cut']} prompts cut to the context" if result.get("prompts_cut") else ""
    others = (f"{key}: {100 * rate['value']:.1f} %" for key, rate in (result.get("other_filters") or {}).items())
    return TaskRow(
        task=benchmark_name(task["name"]),
        model=name,
        accuracy=_rate_cell(result["accuracy"]),
        questions=f"{result['accuracy']['n']} of {result.get('n_published', '?')}",
        asked=f"{task['num_fewshot']}-shot, {template}, {task['filter']}{cut}",
        other_filters="; ".join(others),
        paper=paper or ABSENT,
        wall=duration(result["wall_s"]) if isinstance(result.get("wall_s"), int | float) else "unknown",
    )


def _rate_cell(rate: dict[str, Any]) -> Cell:
    return Cell(f"{100 * rate['value']:.1f} %", f"{100 * rate['low']:.1f} to {100 * rate['high']:.1f}; n {rate['n']}")


def _paired(comparisons: Sequence[Comparison]) -> list[PairedTask]:
    adjusted = holm([one.p for one in comparisons])
    return [_paired_task(one, p_holm) for one, p_holm in zip(comparisons, adjusted, strict=True)]


def _paired_task(one: Comparison, p_holm: float) -> PairedTask:
    value, low, high = (f"{100 * end:+.1f}" for end in one.difference)
    return PairedTask(
        task=benchmark_name(one.task),
        before=Cell(f"{100 * one.before:.1f} %"),
        after=Cell(f"{100 * one.after:.1f} %"),
        difference=Cell(f"{value} points", f"{low} to {high}; {one.n} questions"),
        changed=f"{one.only_before} / {one.only_after}",
        p=f"{p_cell(one.p)} ({p_cell(p_holm)})",
    )


def _paper_note(records: Sequence[UtilityRecord], names: Sequence[str]) -> str | None:
    """Which of the paper's rows stand beside which model; None where there is none."""
    matches = [(name, paper_match(record.config)) for record, name in zip(records, names, strict=True)]
    shown = [f"{name}: {match.label}" for name, match in matches if match]
    if not shown:
        return None
    return (
        f"The paper's numbers ({'; '.join(shown)}) are for orientation: {paper_tables().asked_differently['utility']}."
    )


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


def _markdown(
    facts: dict[str, dict[str, str]],
    rows: Sequence[TaskRow],
    first: str,
    pairs: Sequence[tuple[str, Sequence[PairedTask]]],
    paper: str | None,
    notes: Sequence[str],
) -> str:
    header = ["Task", "Model", "Accuracy", "Questions", "Asked", "Other filters", "Paper", "Wall time"]
    parts = [
        heading(2, TITLE),
        table(["", *facts], ([key, *(one[key] for one in facts.values())] for key in facts[first])),
        table(header, (list(asdict(row).values()) for row in rows)),
        *([line(paper)] if paper else []),
    ]
    for name, tasks in pairs:
        columns = ["Task", first, name, "Difference", "Only first / only second", "p (Holm)"]
        parts += [heading(3, f"{name} against {first}"), table(columns, ([*asdict(one).values()] for one in tasks))]
    return "\n\n".join([*parts, bullets(notes)])
