"""The request set's card in the run's manifest as a reader wants it: what the set can teach, before any training."""

from __future__ import annotations

from typing import Any

NO_CARD = "no card: make card"
COLUMNS = ("harmful, harmless", "n", "probe AUC", "probe J", "bag of words AUC")


def card_rows(card: dict[str, Any] | None) -> list[tuple[str, list[str]]]:
    """(pair, its other COLUMNS) of every pair; a pair whose file was not there says which was expected."""
    return [_row(pair) for pair in (card or {}).get("pairs", [])]


def card_note(card: dict[str, Any] | None) -> str:
    """Which set, model and layer; or that there is no card."""
    if not card:
        return NO_CARD
    return (
        f"Before any training: a linear probe on the states of {card['model']} after layer {card['layer']} of "
        f"{card['n_layers']}, fitted on {card['n_harmful']} harmful and {card['n_harmless']} harmless training rows. "
        "J is taken at the best threshold; in brackets 95 % bootstrap intervals. OR-Bench hard: prompts that look "
        "harmful and are not."
    )


def _row(pair: dict[str, Any]) -> tuple[str, list[str]]:
    name = f"{pair['harmful']}, {pair['harmless']}"
    probe, words = pair["probe"], pair["bag_of_words"]
    if not probe or not words:
        return name, [f"absent: {pair['absent']}", "", "", ""]
    counts = f"{pair['n_harmful']}, {pair['n_harmless']}"
    return name, [counts, *(_value(one) for one in (probe["auc"], probe["j"], words["auc"]))]


def _value(one: dict[str, float]) -> str:
    return f"{one['value']:.2f} [{one['low']:.2f}, {one['high']:.2f}]"
