"""The lexical classifier's card: its accuracy on hand-labelled BeaverTails prompts, with Wilson 95 % intervals.

    python -m cada_trl.data.classify_card LABELS.json BEAVERTAILS.jsonl [MORE.jsonl ...]

LABELS.json: {"tune": {"random": {...}, "rare": {...}}, "held_out": {the same}}, each group {SHA-256 of the prompt's
comparison form: hazard | safe | other}. random is a random draw of the unsafe prompts, rare adds prompts found by topic
words, so that rare hazards are present. The held-out prompts were drawn and labelled after the lexicon was frozen.
safe and other count as one answer, "none": both are dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from rich.table import Table

from cada_trl.config import load_config
from cada_trl.config.loading import as_override
from cada_trl.console import table_console
from cada_trl.data.classify import NO_HAZARD, classify, read_review
from cada_trl.data.likeness import text_hash
from cada_trl.data.rows import Row, unique_rows
from cada_trl.data.sources import read_beavertails
from cada_trl.errors import UserError, run_verb
from cada_trl.numbers import RATE
from cada_trl.statistics.intervals import Rate
from cada_trl.statistics.paired import Confusion, agreement_line
from cada_trl.storage.files import read_json

Pairs = list[tuple[str, str]]  # (hand label, classifier's answer)


def answer_pairs(rows: Collection[Row], labels: Mapping[str, str]) -> Pairs:
    """(hand label, answer) of every row that has a hand label."""
    labelled = [(row, label) for row in rows if (label := labels.get(text_hash(row.text))) is not None]
    answers = [(label, classify(row.text, row.labels).hazard) for row, label in labelled]
    return [(_answer(label), _answer(answer)) for label, answer in answers]


def rate_text(rate: Rate) -> str:
    """`50.0 % (9.5 to 90.5; 1/2)`."""
    return str(RATE.cell(rate.value, *rate.interval, f"{rate.successes}/{rate.n}")) if rate.n else "no rows"


def _answer(hazard: str) -> str:
    return "none" if hazard in NO_HAZARD else hazard


def _per_hazard(pairs: Pairs) -> Table:
    table = Table("hazard", "precision", "recall", title="held-out prompts, random and rare together")
    for hazard in sorted({hazard for pair in pairs for hazard in pair}):
        counts = Confusion.of([answer == hazard for _, answer in pairs], [label == hazard for label, _ in pairs])
        table.add_row(hazard, rate_text(counts.precision), rate_text(counts.recall))
    return table


def _hand_labels(path: Path) -> dict[str, dict[str, dict[str, str]]]:
    halves = read_json(path, "expected a file of hand labels")
    for half, draws in halves.items():
        for draw, labels in draws.items() if isinstance(draws, dict) else [("", None)]:
            if not isinstance(labels, dict) or not all(isinstance(label, str) for label in labels.values()):
                raise UserError(f"{path}: '{half}' {draw} holds no hand labels; expected {{draw: {{SHA-256: label}}}}")
    return halves


def main(argv: list[str]) -> int:
    """Print the card. Returns 0. Errors: UserError without arguments or when no labelled prompt is in the files."""
    if len(argv) < 2:
        raise UserError(
            "expected: python -m cada_trl.data.classify_card LABELS.json BEAVERTAILS.jsonl [MORE.jsonl ...]"
        )
    labels = _hand_labels(Path(argv[0]))
    sources = [read_beavertails(load_config(["data=beavertails", as_override("file", path)]).data) for path in argv[1:]]
    rows = unique_rows(row for source in sources for row in source.rows if row.key)
    held_out = Pairs()
    table = Table("half", "draw", "labels found", "accuracy", title="lexical classifier, Wilson 95 %")
    for half, draws in labels.items():
        for draw, of_draw in draws.items():
            pairs = answer_pairs(rows, of_draw)
            held_out += pairs if half == "held_out" else []
            accuracy = Rate.of(label == answer for label, answer in pairs)
            table.add_row(half, draw, f"{len(pairs)} of {len(of_draw)}", rate_text(accuracy))
    if not held_out:
        raise UserError("no labelled prompt is in these files; expected BeaverTails 330k or 30k_test prompts")
    console = table_console()
    console.print(table)
    console.print(_per_hazard(held_out))
    console.print(f"the review that goes before it, two labels per prompt: {agreement_line(read_review().agreement)}")
    return 0


if __name__ == "__main__":
    run_verb(main)
