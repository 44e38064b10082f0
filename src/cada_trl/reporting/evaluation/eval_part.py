"""What the report says of evaluations: rates with intervals, differences in pairs, slices, judge, responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from cada_trl.reporting.evaluation.eval_facts import eval_facts
from cada_trl.reporting.evaluation.eval_markdown import eval_markdown
from cada_trl.reporting.evaluation.eval_not_run import eval_not_run
from cada_trl.reporting.evaluation.eval_record import EvalRecord
from cada_trl.reporting.evaluation.headline import OPTIONAL, HeadlineRow, headline_rows
from cada_trl.reporting.evaluation.judge_cards import COLUMNS, CardView, judge_cards
from cada_trl.reporting.evaluation.names import attack_name, labels
from cada_trl.reporting.evaluation.paper_beside import PaperBeside, attack_sources, paper_beside
from cada_trl.reporting.evaluation.reward_judge import reward_judge_warnings
from cada_trl.reporting.evaluation.samples import PER_CELL, SAMPLE_SEED, sampled
from cada_trl.reporting.evaluation.side_by_side import SideBySide, pool_words, side_by_side
from cada_trl.reporting.evaluation.slices import folded_lines, hazard_tables
from cada_trl.reporting.evaluation.tradeoff import attacks_shown, tradeoff_png, tradeoff_svg
from cada_trl.reporting.part import Part
from cada_trl.reporting.small_slices import folded_words
from cada_trl.reporting.template import render, svg_uri
from cada_trl.tracking.scrub import scrub

_CONTENTS = {
    "evaluated": "What was evaluated",
    "rates": "Rates",
    "pairs": "Differences in pairs",
    "tradeoff": "Safety against helpfulness",
    "paper": "Paper beside ours",
    "hazards": "By hazard",
    "judge": "The judge",
    "responses": "Responses",
    "not-run": "Not run, or missing",
}


@dataclass(frozen=True)
class EvalView:
    """What the page says of one evaluation alone. not_run: beyond what holds for all of them."""

    label: str
    facts: dict[str, str]
    not_run: list[str]
    paper: PaperBeside | None
    config: str


@dataclass(frozen=True)
class EvalsView:
    """What the page says of all of them together.

    sources: where frozen attacks' prompts come from. pool: how seeds were pooled. not_run: what holds for each of them.
    """

    evaluations: list[EvalView]
    warnings: list[str]
    headline: list[HeadlineRow]
    sources: list[str]
    pairs: list[SideBySide]
    pool: str
    cards: list[CardView]
    not_run: list[str]
    absent: list[str]


def eval_part(records: Sequence[EvalRecord], cards: Path | None, absent: Sequence[str]) -> Part:
    """The evaluations' sections, with safety_helpfulness.png beside them where XSTest was run.

    cards: folder with judge cards. absent: sentences on what the page lacks. Errors: UserError as side_by_side.
    """
    names = labels(records)
    attacks = attacks_shown(records)
    not_run = [eval_not_run(record) for record in records]
    shared = [sentence for sentence in not_run[0] if all(sentence in other for other in not_run)]
    view = EvalsView(
        [_view(record, label, shared) for record, label in zip(records, names, strict=True)],
        reward_judge_warnings(records),
        headline_rows(records),
        list(dict.fromkeys(sentence for record in records for sentence in attack_sources(record))),
        side_by_side(records),
        pool_words(records),
        judge_cards(records, cards),
        shared,
        list(absent),
    )
    hazards = hazard_tables(records)
    contents = {key: title for key, title in _CONTENTS.items() if key != "pairs" or view.pairs}
    html = render(
        "evaluations.html",
        view=view,
        names=names,
        contents=contents,
        optional=[words for words in OPTIONAL.values() if any(words in row.optional for row in view.headline)],
        panels=[(attack_name(attack), svg_uri(tradeoff_svg(records, attack))) for attack in attacks],
        hazards=hazards,
        folded_words=folded_words,
        differs=[key for key in view.evaluations[0].facts if len({one.facts[key] for one in view.evaluations}) > 1],
        samples=sampled(records),
        card_columns=COLUMNS,
        per_cell=PER_CELL,
        sample_seed=SAMPLE_SEED,
    )
    images = {"safety_helpfulness.png": tradeoff_png(records)} if attacks else {}
    text = eval_markdown(view, list(images), folded_lines(hazards))
    return Part(names, list(contents.items()), html, text, _twin(records, view), images)


def _view(record: EvalRecord, label: str, shared: Sequence[str]) -> EvalView:
    return EvalView(
        label=label,
        facts=scrub(eval_facts(record)),
        not_run=[sentence for sentence in eval_not_run(record) if sentence not in shared],
        paper=paper_beside(record, label),
        config=yaml.safe_dump(scrub(record.config), sort_keys=False, allow_unicode=True),
    )


def _twin(records: Sequence[EvalRecord], view: EvalsView) -> dict[str, Any]:
    evaluations = [
        {
            "evaluation": one.label,
            "facts": one.facts,
            "scores": record.scores.to_json(),
            "attack_prompts": attack_sources(record),
            "not_run": view.not_run + one.not_run,
            "paper": asdict(one.paper) if one.paper else None,
        }
        for record, one in zip(records, view.evaluations, strict=True)
    ]
    return {
        "evaluations": evaluations,
        "compared_with_the_first": [pair.to_json() for pair in view.pairs],
        "warnings": view.warnings,
        "judge_cards": {card.judge: card.card for card in view.cards},
        "not_on_this_page": view.absent,
    }
