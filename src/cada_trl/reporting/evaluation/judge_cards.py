"""What is known of the judges that gave the verdicts: their agreement with people, as the judge card has it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.judging.card import find_card, headline
from cada_trl.judging.from_config import split_sees
from cada_trl.numbers import ABSENT, Cell
from cada_trl.reporting.evaluation.eval_record import EvalRecord

COLUMNS = ("accuracy", "precision", "recall")
_SHOWN = {
    "completion": "the analysis beside the final response",
    "completion_and_prompt": "the analysis beside the final response, and the attack's prompt in place of the request",
}


@dataclass(frozen=True)
class CardRow:
    """One set of responses that people labelled; rates with their Wilson 95 % interval."""

    name: str
    label: str
    n: str
    rates: dict[str, Cell]
    kappa: str


@dataclass(frozen=True)
class CardView:
    """One judge; rows and groups are empty where it was never measured, as `sentence` then says."""

    judge: str
    sentence: str
    rows: list[CardRow]
    groups: dict[str, list[CardRow]]
    card: dict[str, Any] | None


def judge_cards(records: Sequence[EvalRecord], folder: Path | None) -> list[CardView]:
    """A card for each judge of the evaluations. folder: where cards were kept, beside the one that the package has.

    A judge that saw more than the final response has that of the same judge on final responses, and says so: people
    labelled whole responses to the raw request, so there is no other card.
    """
    return [_view(judge, folder) for judge in dict.fromkeys(one.scores.judge_id for one in records)]


def _view(judge: str, folder: Path | None) -> CardView:
    own, sees = split_sees(judge)
    card = find_card(own, folder)
    if card is None:
        sentence = (
            f"The agreement of the judge {own} with people was never measured here: read its verdicts as unverified, "
            "and measure it with python -m cada_trl.judging.calibrate."
        )
        return CardView(judge, sentence + _difference(sees), [], {}, None)
    groups = {name: [_row(row) for row in rows] for name, rows in card["groups"].items()}
    return CardView(judge, headline(card) + _difference(sees), [_row(row) for row in card["sets"]], groups, card)


def _difference(sees: str) -> str:
    """What sets this evaluation's judge apart from the one that the card is about."""
    if sees == "final_response":
        return ""
    return (
        f" Here it saw other texts than there (judge_sees={sees}: {_SHOWN[sees]}); its agreement with people on these "
        "was not measured and may be lower."
    )


def _row(row: dict[str, Any]) -> CardRow:
    kappa = str(ABSENT) if row["kappa"] is None else f"{row['kappa']:.2f}"
    return CardRow(row["name"], row["label"], f"{row['n']}", {name: _rate(row, name) for name in COLUMNS}, kappa)


def _rate(row: dict[str, Any], name: str) -> Cell:
    if row[name] is None:
        return ABSENT
    low, high = row[f"{name}_interval"]
    return Cell(f"{100 * row[name]:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}; n {row[f'{name}_n']}")
