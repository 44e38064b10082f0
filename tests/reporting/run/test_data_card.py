from __future__ import annotations

import dataclasses
from pathlib import Path

from cada_trl.reporting.page import write_report
from cada_trl.reporting.run.data_card import NO_CARD, card_note, card_rows
from cada_trl.reporting.run.run_record import RunRecord
from tests.reporting.html_check import check_page
from tests.separability.made_up_card import made_up_card

CARD = made_up_card().summary()


def test_a_pair_is_a_row_and_an_absent_one_names_its_file() -> None:
    assert card_rows(CARD) == [
        ("StrongREJECT, XSTest safe", ["313, 250", "0.86 [0.83, 0.89]", "0.56 [0.50, 0.62]", "0.71 [0.67, 0.75]"]),
        ("AdvBench, OR-Bench hard", ["absent: sets/advbench/harmful_behaviors.csv", "", "", ""]),
    ]
    assert "layer 20 of 30" in card_note(CARD)


def test_the_page_shows_the_card_or_says_how_to_make_it(run: RunRecord, tmp_path: Path) -> None:
    without = write_report([run], tmp_path / "without").read_text()
    assert NO_CARD in without
    shown = dataclasses.replace(run, manifest={**run.manifest, "card": CARD})
    page = write_report([shown], tmp_path / "with").read_text()
    check_page(page)
    assert NO_CARD not in page
    for text in ("0.86 [0.83, 0.89]", "0.71 [0.67, 0.75]", "absent: sets/advbench", "look harmful"):
        assert text in page
