"""card: what a request set can teach, before any training: how well a probe on the frozen model separates benchmarks.

    python -m cada_trl.card data=twins benchmarks_dir=<folder>            (the overrides of cada_trl.prepare)
    python -m cada_trl.card data=twins --curve 75,150,300                 (and what fewer pairs would teach)

Prepares the request set, fits the probe on its training rows, asks it about pairs of benchmarks and about the held-out
twins. Kept as <data_dir>/card-<hash8>.json; the same set and model are measured once. A training shows the card that is
there and never makes one.
"""

from __future__ import annotations

import sys

from cada_trl.config import load_config
from cada_trl.config.loading import HELP
from cada_trl.console import table_console
from cada_trl.data.prepared import prepare
from cada_trl.document.blocks import Block, Document, Section, Table, Text
from cada_trl.document.render import show
from cada_trl.errors import UserError, run_verb
from cada_trl.launching import quiet_libraries, set_environment
from cada_trl.report.facts import card_blocks
from cada_trl.separability.card import Card, card_file, card_inputs, make_card, read_card
from cada_trl.separability.features import MAX_CHARS
from cada_trl.separability.probe import CurvePoint, Spread
from cada_trl.storage.files import replace_json

CURVE = "--curve"
NOTES = (
    "AUC: the chance that a harmful request scores above a harmless one; a coin has 0.50. J: the share of harmful ones "
    "above the best threshold less that of harmless ones; a coin's is above 0, about 0.1 for two sets of 100. "
    "In brackets: 95 % intervals from resamples.",
    "probe: a logistic regression on the states of the untrained model. bag of words: the same on the words alone.",
    "OR-Bench hard: prompts that look harmful and are not.",
    f"Requests longer than {MAX_CHARS} characters are cut.",
)


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError as prepare and make_card, and for sizes that are no whole numbers."""
    overrides, sizes = split_curve(argv)
    if not HELP.intersection(argv):
        print("reading the configuration", file=sys.stderr, flush=True)
    config = load_config(overrides)
    set_environment(config.hardware.threads)
    quiet_libraries()
    data = prepare(config)
    inputs = card_inputs(config, data)
    file = card_file(config.data_dir, inputs)
    card = read_card(file)
    known = card is not None and (not sizes or [point.n_pairs for point in card.curve] == sizes)
    if card is None or not known:
        card = make_card(config, data, inputs, sizes)
        replace_json(file, card.to_json(), "free space or choose another data_dir")
    show(card_page(card), table_console())
    print(f"{'made already' if known else 'made'}: {file}")
    return 0


def split_curve(argv: list[str]) -> tuple[list[str], list[int]]:
    """(the overrides, the sizes after --curve). Errors: UserError for sizes that are none."""
    if CURVE not in argv:
        return argv, []
    at = argv.index(CURVE)
    given = "".join(argv[at + 1 : at + 2])
    words = given.split(",")
    if not all(word.isdecimal() and int(word) > 0 for word in words):
        raise UserError(f"{CURVE} {given}: expected numbers of pairs, as in {CURVE} 75,150,300")
    return argv[:at] + argv[at + 2 :], sorted({int(word) for word in words})


def card_page(card: Card) -> Document:
    """The card for the terminal."""
    sections = [Section("How well the set teaches to tell them apart", card_blocks(card.to_json()))]
    if card.curve:
        curve: list[Block] = [curve_table(card.curve), *map(Text, curve_lines(card))]
        sections.append(Section("The probe fitted on so many training pairs", curve))
    return Document(head(card), [*sections, Section("How to read it", [*map(Text, NOTES)])])


def head(card: Card) -> str:
    """What was learned from, and which layer was read."""
    tried = ", ".join(f"{layer}: {auc:.2f}" for layer, auc in card.layer_auc.items())
    return (
        f"card of {card.request_set} with {card.model}, before any training: {card.n_harmful} harmful and "
        f"{card.n_harmless} harmless training rows, {card.n_twins} pairs of twins among them\n"
        f"layer {card.layer} of {card.n_layers}, chosen by cross-validation on the training rows (AUC {tried})"
    )


def curve_table(curve: list[CurvePoint]) -> Table:
    """A column per size; mean and, in parentheses, lowest and highest of the draws."""
    rows = []
    for name in dict.fromkeys(name for point in curve for name in point.auc):
        rows.append([name, "AUC", *(_spread(point.auc.get(name)) for point in curve)])
        rows.append(["", "J", *(_spread(point.j.get(name)) for point in curve)])
    return Table("", ["harmful | harmless", "", *(str(point.n_pairs) for point in curve)], rows)


def curve_lines(card: Card) -> list[str]:
    """What the curve's cells are, and a line per size for which there are too few pairs."""
    drawn = max(point.n_draws for point in card.curve)
    kind = "twins" if card.n_twins else "a harmful and a harmless row drawn together, since the set has no twins"
    cells = f"a pair: {kind}. Mean (lowest, highest) of {drawn} draws, whose smaller sizes are parts of the larger."
    lacking = [point.n_pairs for point in card.curve if not point.n_draws]
    return [cells, *(f"{n} pairs: absent: the request set has fewer" for n in lacking)]


def _spread(value: Spread | None) -> str:
    return "absent" if value is None else f"{value.mean:.2f} ({value.low:.2f}, {value.high:.2f})"


if __name__ == "__main__":
    run_verb(main)
