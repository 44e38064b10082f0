"""The card as its verb prints it."""

from __future__ import annotations

from rich.table import Table

from cada_trl.separability.card import Card
from cada_trl.separability.curve import CurvePoint, Spread
from cada_trl.separability.features import MAX_CHARS
from cada_trl.separability.measures import Interval

NOTES = (
    "AUC: the chance that a harmful request scores above a harmless one; a coin has 0.50. J: the share of harmful ones "
    "above the best threshold less that of harmless ones; a coin's is above 0, about 0.1 for two sets of 100. "
    "In brackets: 95 % bootstrap intervals.",
    "probe: a logistic regression on the states of the untrained model. bag of words: the same on the words alone.",
    "OR-Bench hard: prompts that look harmful and are not.",
    f"Requests longer than {MAX_CHARS} characters are cut.",
)


def head(card: Card) -> str:
    """What was learned from, and which layer was read."""
    tried = ", ".join(f"{layer}: {auc:.2f}" for layer, auc in card.layer_auc.items())
    return (
        f"card of {card.request_set} with {card.model}, before any training: {card.n_harmful} harmful and "
        f"{card.n_harmless} harmless training rows, {card.n_twins} pairs of twins among them\n"
        f"layer {card.layer} of {card.n_layers}, chosen by cross-validation on the training rows (AUC {tried})"
    )


def pairs_table(card: Card) -> Table:
    """A row a pair that could be asked about."""
    title = "how well the set teaches to tell them apart"
    table = Table("harmful | harmless", "n", "probe AUC", "probe J", "bag of words AUC", "bag of words J", title=title)
    for one in card.pairs:
        if one.probe and one.bag_of_words:
            measures = (one.probe.auc, one.probe.j, one.bag_of_words.auc, one.bag_of_words.j)
            table.add_row(one.name, f"{one.n_harmful}, {one.n_harmless}", *(with_interval(value) for value in measures))
    return table


def absent_lines(card: Card) -> list[str]:
    """A line a pair that could not."""
    return [f"{one.name}: absent: {one.absent}" for one in card.pairs if one.absent]


def curve_table(curve: list[CurvePoint]) -> Table:
    """A column a size; mean and, in parentheses, lowest and highest of the draws."""
    title = "the probe fitted on so many training pairs"
    table = Table("harmful | harmless", "", *(str(point.n_pairs) for point in curve), title=title)
    names = list(dict.fromkeys(name for point in curve for name in point.auc))
    for name in names:
        table.add_row(name, "AUC", *(_spread(point.auc.get(name)) for point in curve))
        table.add_row("", "J", *(_spread(point.j.get(name)) for point in curve))
    return table


def curve_lines(card: Card) -> list[str]:
    """What the curve's cells are, and a line a size for which there are too few pairs."""
    drawn = max(point.n_draws for point in card.curve)
    kind = "twins" if card.n_twins else "a harmful and a harmless row drawn together, since the set has no twins"
    cells = f"a pair: {kind}. Mean (lowest, highest) of {drawn} draws, whose smaller sizes are parts of the larger."
    lacking = [point.n_pairs for point in card.curve if not point.n_draws]
    return [cells, *(f"{n} pairs: absent: the request set has fewer" for n in lacking)]


def with_interval(value: Interval) -> str:
    """`0.86 [0.83, 0.89]`."""
    return f"{value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"


def _spread(value: Spread | None) -> str:
    return "absent" if value is None else f"{value.mean:.2f} ({value.low:.2f}, {value.high:.2f})"
