"""card: what a request set can teach, before any training: how well a probe on the frozen model separates benchmarks.

    python -m cada_trl.card data=twins benchmarks_dir=<folder>            (the overrides of cada_trl.prepare)
    python -m cada_trl.card data=twins --curve 75,150,300                 (and what fewer pairs would teach)

Prepares the request set, fits the probe on its training rows, asks it about pairs of benchmarks and about the held-out
twins. Kept as <data_dir>/card-<hash8>.json; the same set and model are measured once. A training shows the card that is
there and never makes one.
"""

from __future__ import annotations

from cada_trl.config import load_config
from cada_trl.console import table_console
from cada_trl.errors import UserError, run_verb
from cada_trl.launching import quiet_libraries, set_environment
from cada_trl.prepare import prepare
from cada_trl.separability import text
from cada_trl.separability.card import Card, card_file, card_inputs, read_card, write_card

CURVE = "--curve"


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError as prepare and make_card, and for sizes that are no whole numbers."""
    overrides, sizes = split_curve(argv)
    config = load_config(overrides)
    set_environment(config.hardware.threads)
    quiet_libraries()
    data = prepare(config)
    inputs = card_inputs(config, data)
    file = card_file(config.data_dir, inputs)
    card = read_card(file)
    known = card is not None and (not sizes or [point.n_pairs for point in card.curve] == sizes)
    if card is None or not known:
        from cada_trl.separability.making import make_card

        card = make_card(config, data, inputs, sizes)
        write_card(card, file)
    show(card)
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


def show(card: Card) -> None:
    """Print the card."""
    console = table_console()
    console.print(text.head(card), highlight=False, soft_wrap=True)
    console.print(text.pairs_table(card))
    for line in text.absent_lines(card):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    if card.curve:
        console.print(text.curve_table(card.curve))
        for line in text.curve_lines(card):
            console.print(line, highlight=False)
    for note in text.NOTES:
        console.print(note, highlight=False, markup=False)


if __name__ == "__main__":
    run_verb(main)
