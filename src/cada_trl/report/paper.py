"""The paper's numbers for a model and a method that it has, beside ours, and what is different about them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cada_trl.numbers import Cell
from cada_trl.report.facts import eval_facts, shows_cases
from cada_trl.report.names import attack_name, benchmark_name, cell_name
from cada_trl.report.rates import measure_cell
from cada_trl.report.records import EvalRecord
from cada_trl.report.run_record import Folder, of_training
from cada_trl.storage.files import JsonRecord
from cada_trl.storage.reading import read_yaml

Measure = Literal["asr", "harmful_score", "nrr", "accuracy"]
_SCORE: Measure = "harmful_score"
MEASURES: dict[Measure, str] = {"asr": "ASR", "nrr": "NRR", "harmful_score": "harmful score", "accuracy": "accuracy"}


class PaperModel(JsonRecord):
    """The paper's name of a model, and its hub id, by which ours is known to be the same."""

    name: str
    hub_id: str


class PaperRow(JsonRecord):
    """Numbers of one table, in percent: attack -> [value] or [value, standard deviation over three runs]."""

    table: int
    model: str
    method: str
    benchmark: str
    measure: Measure
    values: dict[str, list[float]]


class PaperTables(JsonRecord):
    """assets/paper_tables.yaml. arms: prompt arm of an untrained model -> the paper's method."""

    models: dict[str, PaperModel]
    arms: dict[str, str]
    asked_differently: dict[str, str]
    rows: list[PaperRow]


@dataclass(frozen=True)
class PaperMatch:
    """The paper's model and method that an evaluated model is."""

    model: str
    method: str

    @property
    def label(self) -> str:
        return f"{paper_tables().models[self.model].name}, {self.method}"

    def value(self, benchmark: str, attack: str, measure: Measure) -> Cell | None:
        """`20.4 % ± 1.2 (Table 3)`, a harmful score in [0, 1], or None; of two tables the later, with its deviation."""
        found = [
            row
            for row in paper_tables().rows
            if (row.model, row.method, row.benchmark, row.measure) == (self.model, self.method, benchmark, measure)
            and attack in row.values
        ]
        if not found:
            return None
        table, (value, *deviation) = f"Table {found[-1].table}", found[-1].values[attack]
        if measure == "harmful_score":
            return Cell(f"{value / 100:.4f}", table)
        return Cell(f"{value:g} %" + (f" ± {deviation[0]:g}" if deviation else ""), table)


@cache
def paper_tables() -> PaperTables:
    return PaperTables.from_json(read_yaml(Path(__file__).parent / "assets" / "paper_tables.yaml"))


def paper_match(record: Folder) -> PaperMatch | None:
    """Which of the paper's rows an evaluated model belongs to; None where the paper has none.

    An untrained hub model is known by its id and its prompt arm. The model of a run folder has the method that its
    training's configuration spells out, where the run trained a model of the paper and is asked without a prompt.
    """
    model, arm = record.config.get("model") or {}, _arm(record.config)
    untrained, run = model.get("source") == "hub", of_training(record).config
    hub_id = (model if untrained else run.get("model") or {}).get("path")
    known = next((key for key, one in paper_tables().models.items() if one.hub_id == hub_id), None)
    method = paper_tables().arms.get(arm) if untrained else _method(run) if arm == "none" else None
    return PaperMatch(known, method) if known and method else None


def _arm(config: Mapping[str, Any]) -> str:
    """The prompt's; cases without a case are no arm of the paper's."""
    prompt = config.get("prompt") or {}
    arm = str(prompt.get("arm", "none"))
    return "no case" if arm == "cases" and not shows_cases(prompt) else arm


def _method(run: Mapping[str, Any]) -> str | None:
    """The paper's name of what a training did, all on the raw request; None for controls that the paper lacks."""
    algo, arm = run.get("algo") or {}, _arm(run)
    method, targets = algo.get("method", "cada"), algo.get("targets")
    if algo.get("learn_on") != "request" or algo.get("keep") == "reasoned_refusal":
        return None
    if (method, targets) == ("sft", "direct_refusal"):
        return "SFT w DR"
    names: dict[tuple[Any, Any], str] = {
        ("cada", "cases"): "CADA",
        ("sft", "codes_of_hazard"): "SFT w S_c",
        ("sft", "cases"): "SFT w CR",
        ("dpo", "cases"): "DPO w CR",
    }
    return names.get((method, arm))


@dataclass(frozen=True)
class PaperBeside:
    """One evaluated model beside the paper's. lines: the numbers by name. differences: (what, ours, the paper's)."""

    evaluation: str
    paper: str
    lines: list[dict[str, Any]]
    differences: list[tuple[str, str, str]]


def paper_beside(record: EvalRecord, label: str) -> PaperBeside | None:
    """None where the paper has no such model and method, or no number for anything that was run."""
    match = paper_match(record)
    lines = [
        {
            "benchmark": benchmark_name(cell.benchmark),
            "attack": attack_name(cell.attack),
            "measure": MEASURES[measure],
            "ours": measure_cell(ours),
            "paper": paper,
        }
        for cell in (record.scores.cells if match else ())
        for measure, ours in ((cell.metric, cell.headline), (_SCORE, cell.total.harmful_score))
        if match and (paper := match.value(cell.benchmark, cell.attack, measure)) is not None
    ]
    if not match or not lines:
        return None
    theirs, facts = paper_tables().asked_differently, eval_facts(record)
    differences = {
        "judge": f"{facts['Judge']}, which sees {facts['The judge sees']}",
        "attacks": f"{facts['Attacks']}; where their prompts come from is said with the rates",
        "decoding": facts["Decoding"],
        "items": f"{facts['Benchmarks']}; {facts['Items per benchmark']}",
    }
    return PaperBeside(label, match.label, lines, [(what, ours, theirs[what]) for what, ours in differences.items()])


def attack_sources(record: EvalRecord) -> list[str]:
    """Where each frozen attack's prompts come from, a sentence a benchmark and attack."""
    kinds = record.manifest.get("attacks") or {}
    notes = Counter(
        (one.item.benchmark, one.attack, one.note)
        for one in record.attempts
        if (kinds.get(one.attack) or {}).get("kind") == "frozen"
    )
    return [
        f"{cell_name(benchmark, attack)}: {note} ({n} prompt{'s' if n > 1 else ''})"
        for (benchmark, attack, note), n in notes.items()
    ]
