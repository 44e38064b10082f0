from __future__ import annotations

import pytest
from rich.console import Console

from cada_trl import card as text
from tests.separability.made_up_card import CURVE, made_up_card


def printed(*parts: object) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(*parts)
    return capture.get()


def test_a_pair_shows_both_measures_of_the_probe_and_of_the_words() -> None:
    row = next(line for line in printed(text.pairs_table(made_up_card())).splitlines() if "StrongREJECT" in line)
    for cell in ("313, 250", "0.86 [0.83, 0.89]", "0.56 [0.50, 0.62]", "0.71 [0.67, 0.75]", "0.33 [0.28, 0.40]"):
        assert cell in row


def test_an_absent_pair_is_a_line_and_no_row(capsys: pytest.CaptureFixture[str]) -> None:
    text.show(made_up_card())
    assert "AdvBench | OR-Bench hard: absent: sets/advbench/harmful_behaviors.csv\n" in capsys.readouterr().out
    assert "AdvBench" not in printed(text.pairs_table(made_up_card()))


def test_the_curve_shows_mean_and_range_and_says_where_pairs_lack() -> None:
    assert "0.80 (0.78, 0.83)" in printed(text.curve_table(CURVE))
    cells, lacking = text.curve_lines(made_up_card())
    assert cells.startswith("a pair: twins. Mean (lowest, highest) of 5 draws")
    assert lacking == "9000 pairs: absent: the request set has fewer"


def test_a_curve_without_twins_says_what_a_pair_is() -> None:
    assert "drawn together, since the set has no twins" in text.curve_lines(made_up_card(n_twins=0))[0]


def test_the_head_names_set_model_and_how_the_layer_was_chosen() -> None:
    head = text.head(made_up_card())
    assert "twins-01234567 with smollm2, before any training: 1000 harmful and 990 harmless training rows" in head
    assert "layer 20 of 30, chosen by cross-validation on the training rows (AUC 10: 0.81, 20: 0.90)" in head
