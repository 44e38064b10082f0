"""What a benchmark lacks is said by a word, before anything is asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.data.benchmark_items import load_spec
from cada_trl.errors import UserError
from cada_trl.jobs.table_plan import available

ATTACKS = ["none", "pair", "pap"]


def test_a_gated_set_without_access_is_named_so_for_every_attack(tmp_path: Path) -> None:
    here = available("hex_phi", ATTACKS, str(tmp_path), None, 0)
    assert here.attacks == {}
    assert {word for word, _ in here.lacking.values()} == {"no access"}
    assert "it is gated: ask for access" in here.lacking["pair"][1]


def test_a_set_that_anybody_can_have_is_no_question_of_access(tmp_path: Path) -> None:
    here = available("advbench", ["none"], str(tmp_path), None, 0)
    assert here.lacking["none"][0] == "no data"


def test_an_attack_that_nobody_published_leaves_the_raw_requests(tmp_path: Path) -> None:
    folder = tmp_path / "hex_phi"
    folder.mkdir()
    for stem in load_spec("hex_phi").file_categories or {}:
        (folder / f"{stem}.csv").write_text("".join(f"Policy question {stem} {n}\n" for n in range(30)))
    here = available("hex_phi", ATTACKS, str(tmp_path), 20, 0)
    assert here.attacks == {"none": 20}
    assert {attack: word for attack, (word, _) in here.lacking.items()} == {"pair": "no prompts", "pap": "no prompts"}


def test_published_attacks_are_counted(shared_data: Path) -> None:
    here = available("strongreject", ATTACKS, str(shared_data), None, 0)
    assert (here.attacks["none"], here.lacking) == (313, {})
    assert 0 < here.attacks["pair"] <= 313


def test_an_unknown_benchmark_is_a_mistake_and_no_state() -> None:
    with pytest.raises(UserError, match="unknown benchmark 'hexphi'"):
        available("hexphi", ["none"], None, None, 0)
