from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cada_trl.data.split import pair_roles
from cada_trl.data.twins import read_twins
from cada_trl.errors import UserError
from cada_trl.evals.faithfulness.probe_items import probe_items
from cada_trl.records import write_jsonl


def row(probe_set: str, number: int, harmful: bool) -> dict[str, object]:
    fields = {"request_id": f"{probe_set}-{number}", "request": f"{probe_set} {number}?", "hazard": "privacy"}
    return {"set": probe_set, **fields, "harmful": harmful}


def test_the_twins_that_are_never_trained_on_give_both_kinds_spread_over_the_hazards() -> None:
    twins = read_twins().rows
    items = probe_items(None, 11, 0)
    assert Counter(item.harmful for item in items) == {True: 11, False: 11}
    assert set(Counter((item.hazard, item.harmful) for item in items).values()) == {1}
    assert {item.id for item in items} <= {row.id for row in twins if row.pair in pair_roles(twins, []).probe}
    assert items == probe_items("twins", 11, 0)
    assert items != probe_items("twins", 11, 1)


def test_a_run_gives_its_held_out_probes_and_not_xstest(tmp_path: Path) -> None:
    sets = {"harmful": True, "held_out": True, "harmless": False, "xstest_safe": False}
    rows = [row(name, number, harmful) for name, harmful in sets.items() for number in range(2)]
    write_jsonl(tmp_path / "probes" / "before.jsonl", rows)
    assert [item.id for item in probe_items(str(tmp_path), 9, 0)] == [
        *("harmful-0", "harmful-1", "held_out-0", "held_out-1"),
        *("harmless-0", "harmless-1"),
    ]


def test_a_folder_without_probes_and_a_damaged_row_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no probes/before\.jsonl"):
        probe_items(str(tmp_path), 1, 0)
    write_jsonl(tmp_path / "probes" / "before.jsonl", [{**row("harmful", 0, True), "hazard": None}])
    with pytest.raises(UserError, match=r"row 1: field 'hazard' is None; expected str"):
        probe_items(str(tmp_path), 1, 0)
