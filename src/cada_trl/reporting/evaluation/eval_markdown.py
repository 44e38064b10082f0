"""The evaluations' part of report.md: the page without hazard slices and without responses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cada_trl.document.markdown import bullets, heading, quote, table
from cada_trl.reporting.evaluation.side_by_side import SideBySide

if TYPE_CHECKING:
    from cada_trl.reporting.evaluation.eval_part import EvalsView
    from cada_trl.reporting.evaluation.paper_beside import PaperBeside


def eval_markdown(view: EvalsView, images: Sequence[str], folded: Sequence[str]) -> str:
    """Rates carry counts and Wilson 95 % intervals; differences are on the same prompts. folded: lines on slices."""
    facts = [one.facts for one in view.evaluations]
    labels = [one.label for one in view.evaluations]
    parts = [
        "## What was evaluated",
        table(["", *labels], ([name, *(one[name] for one in facts)] for name in facts[0])),
        "## Rates",
        _headline(view),
        *(quote(sentence) for sentence in [*view.warnings, *(card.sentence for card in view.cards)]),
        *(f"![Safety against helpfulness]({name})" for name in images),
    ]
    parts += [part for pair in view.pairs for part in _pair(pair)]
    parts += [view.pool] if view.pool else []
    parts += [part for one in view.evaluations if one.paper for part in _paper(one.paper)]
    parts += [bullets(folded)] if folded else []
    missing = [f"{one.label}: {sentence}" for one in view.evaluations for sentence in one.not_run]
    parts += ["## Not run, or missing", bullets([*view.not_run, *missing, *view.absent])]
    return "\n\n".join(parts)


def _headline(view: EvalsView) -> str:
    optional = list(view.headline[0].optional) if view.headline else []
    header = ["Benchmark", "Attack", "Evaluation", "Rate", "Scored", "Missing", "Reasoning", "Truncated", *optional]
    rows = [
        [
            f"{row.benchmark} ({row.metric})",
            f"{row.attack}{', transfer' if row.transfer else ''}",
            *(row.evaluation, row.rate, row.coverage, row.missing, row.reasoning, row.truncated),
            *row.optional.values(),
        ]
        for row in view.headline
    ]
    return table(header, rows)


def _pair(pair: SideBySide) -> list[str]:
    title = heading(2, f"{pair.after} against {pair.before}")
    if pair.reason:
        return [title, pair.reason]
    header = ["Benchmark", "Attack", pair.before, pair.after, "Difference", "Only first / only second", "p (Holm)"]
    rows = [
        [row.benchmark, row.attack, row.before, row.after, row.difference, row.changed, row.p, row.reading]
        for row in [*pair.rows, *pair.pooled]
    ]
    return [title, table([*header, "Reading"], rows)]


def _paper(paper: PaperBeside) -> list[str]:
    return [
        heading(2, f"Paper beside ours, not comparable: {paper.evaluation}"),
        table(
            ["Benchmark", "Attack", "Measure", "Ours", f"Paper: {paper.paper}"],
            ([line.benchmark, line.attack, line.measure, line.ours, line.paper] for line in paper.lines),
        ),
        table(["Different", "Ours", "Paper"], paper.differences),
    ]
