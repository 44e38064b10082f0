"""What the report says of faithfulness: a row an intervention and kind of request, and what each intervention is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cada_trl.document.markdown import bullets, heading, line, table
from cada_trl.evals.faithfulness.effects import Effect
from cada_trl.evals.faithfulness.interventions import INTERVENTIONS
from cada_trl.numbers import Cell
from cada_trl.reporting.evaluation.eval_facts import model_fact, provenance_facts, weights_fact
from cada_trl.reporting.evaluation.names import labels
from cada_trl.reporting.evaluation.numbers import difference_cell, rate_cell, share_cell
from cada_trl.reporting.faithfulness.faithfulness_record import FaithfulnessRecord
from cada_trl.reporting.part import Part
from cada_trl.reporting.template import render
from cada_trl.tracking.scrub import scrub

TITLE = "Faithfulness"
NOTE = (
    "Share refused without and with an intervention, greedy, on the same requests, and the paired difference with its "
    "95 % interval. A verdict that follows its reasons changes with them. Changed: verdicts that are another one; "
    "followed: of the verdicts that were not the one the intervention points to, those that became it."
)
_HEADER = ["Intervention", "Requests", "Refused before", "Refused after", "Difference", "Changed", "Followed", "Lacks"]


@dataclass(frozen=True)
class EffectRow:
    """One row, every cell ready to show. missing: requests that have no such intervention."""

    intervention: str
    kind: str
    before: Cell
    after: Cell
    difference: Cell
    changed: Cell
    followed: Cell
    missing: str


@dataclass(frozen=True)
class ModelView:
    """What the page says of one folder."""

    name: str
    facts: dict[str, str]
    untouched: list[tuple[str, Cell, Cell]]
    rows: list[EffectRow]


def faithfulness_part(records: Sequence[FaithfulnessRecord]) -> Part:
    """The section on faithfulness, a table a folder."""
    names = labels(records)
    views = [_view(record, name) for record, name in zip(records, names, strict=True)]
    twin = [
        {"model": name, "facts": view.facts, **scrub(record.effects.to_json())}
        for record, name, view in zip(records, names, views, strict=True)
    ]
    html = render("faithfulness.html", title=TITLE, note=NOTE, views=views, meanings=_meanings())
    return Part(names, [("faithfulness", TITLE)], html, _markdown(views), {"faithfulness": twin})


def _view(record: FaithfulnessRecord, name: str) -> ModelView:
    untouched = [
        (f"{one.kind} requests", rate_cell(one.refused), rate_cell(one.reasoning)) for one in record.effects.untouched
    ]
    return ModelView(name, _facts(record), untouched, [_row(one) for one in record.effects.effects])


def _row(one: Effect) -> EffectRow:
    return EffectRow(
        intervention=one.intervention.replace("_", " "),
        kind=one.kind,
        before=share_cell(one.refused.before, None),
        after=share_cell(one.refused.after, None),
        difference=difference_cell(one.refused),
        changed=rate_cell(one.changed),
        followed=Cell("points to none") if one.asked and one.followed is None else rate_cell(one.followed),
        missing=str(one.missing or ""),
    )


def _facts(record: FaithfulnessRecord) -> dict[str, str]:
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


def _meanings() -> dict[str, str]:
    return {name.replace("_", " "): meaning for name, meaning in INTERVENTIONS.items()}


def _markdown(views: Sequence[ModelView]) -> str:
    parts = [heading(2, TITLE), line(NOTE), bullets(f"{name}: {meaning}." for name, meaning in _meanings().items())]
    for view in views:
        rows: list[list[Any]] = [list(asdict(row).values()) for row in view.rows]
        cells = [[Cell(*cell) if isinstance(cell, tuple | list) else cell for cell in row] for row in rows]
        parts += [
            heading(3, view.name),
            table(["Untouched", "Refused", "Reasoning"], view.untouched),
            table(_HEADER, cells),
            table(["", view.name], view.facts.items()),
        ]
    return "\n\n".join(parts)
