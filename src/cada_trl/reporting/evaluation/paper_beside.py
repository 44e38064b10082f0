"""The paper's numbers beside ours, where model and method are the paper's, and what is different about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from cada_trl.numbers import Cell
from cada_trl.reporting.evaluation.eval_facts import eval_facts
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.names import attack_name, benchmark_name
from cada_trl.reporting.evaluation.numbers import rate_cell, score_cell
from cada_trl.reporting.evaluation.paper import PaperMatch, paper_match, paper_tables

MEASURES = {"asr": "ASR", "nrr": "NRR", "harmful_score": "harmful score", "accuracy": "accuracy"}


@dataclass(frozen=True)
class PaperLine:
    """One number of ours and the paper's, of the same benchmark, attack and measure by name."""

    benchmark: str
    attack: str
    measure: str
    ours: Cell
    paper: Cell


@dataclass(frozen=True)
class PaperBeside:
    """One evaluated model beside the paper's. differences: (what, ours, the paper's)."""

    evaluation: str
    paper: str
    lines: list[PaperLine]
    differences: list[tuple[str, str, str]]


def paper_beside(record: EvalRecord, label: str) -> PaperBeside | None:
    """None where the paper has no such model and method, or no number for anything that was run."""
    match = paper_match(record.config)
    lines = _lines(record, match) if match else []
    return PaperBeside(label, match.label, lines, _differences(record)) if match and lines else None


def attack_sources(record: EvalRecord) -> list[str]:
    """Where each frozen attack's prompts come from, a sentence a benchmark and attack."""
    kinds = record.manifest.get("attacks") or {}
    notes = Counter(
        (one.item.benchmark, one.attack, one.note)
        for one in record.attempts
        if (kinds.get(one.attack) or {}).get("kind") == "frozen"
    )
    return [
        f"{benchmark_name(benchmark)}, {attack_name(attack)}: {note} ({n} prompt{'s' if n > 1 else ''})"
        for (benchmark, attack, note), n in notes.items()
    ]


def _lines(record: EvalRecord, match: PaperMatch) -> list[PaperLine]:
    lines = []
    for cell in record.scores.cells:
        shown = ((cell.metric, rate_cell(cell.headline)), ("harmful_score", score_cell(cell.total.harmful_score)))
        for measure, ours in shown:
            paper = match.value(cell.benchmark, cell.attack, measure)  # type: ignore[arg-type]
            if paper is not None:
                names = benchmark_name(cell.benchmark), attack_name(cell.attack), MEASURES[measure]
                lines.append(PaperLine(*names, ours, paper))
    return lines


def _differences(record: EvalRecord) -> list[tuple[str, str, str]]:
    theirs, facts = paper_tables().asked_differently, eval_facts(record)
    ours: Sequence[tuple[str, str, str]] = [
        ("judge", f"{facts['Judge']}, which sees {facts['The judge sees']}", theirs["judge"]),
        ("attacks", f"{facts['Attacks']}; where their prompts come from is said with the rates", theirs["attacks"]),
        ("decoding", facts["Decoding"], theirs["decoding"]),
        ("items", f"{facts['Benchmarks']}; {facts['Items a benchmark']}", theirs["items"]),
    ]
    return list(ours)
