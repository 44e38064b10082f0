"""What a certificate says of two evaluations: refused turns complied round, slices add up, gaps are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.evaluation.compare import compare
from cada_trl.report.certified import ALL, certified, certified_rates, not_tested
from cada_trl.report.eval_record import EvalRecord, read_evaluation

from .made_up_evaluation import answers_most, refuses_most, write_evaluation


@pytest.fixture
def sides(tmp_path: Path) -> tuple[EvalRecord, EvalRecord]:
    before, after = (
        read_evaluation(write_evaluation(tmp_path / name, answers))
        for name, answers in (("before", answers_most), ("after", refuses_most))
    )
    return before, after


def test_the_change_of_the_share_refused_is_that_of_the_share_complied_turned_round(
    sides: tuple[EvalRecord, EvalRecord],
) -> None:
    cells = compare([sides[0].evaluated], [sides[1].evaluated], 0.9).cells
    rates = [one for one in certified_rates(*sides) if one.hazard == ALL]
    for one in rates:
        (cell,) = [cell for cell in cells if (cell.benchmark, cell.attack) == (one.benchmark, one.attack)]
        complied, change = cell.complied, one.change
        if one.measure == "answered":
            assert change == complied
            continue
        assert None not in (complied.before, complied.low, complied.high, complied.difference)
        assert change.before == pytest.approx(1 - (complied.before or 0))
        assert (change.difference, change.low) == (-(complied.difference or 0), -(complied.high or 0))
        assert (change.only_before, change.p_holm) == (complied.only_after, complied.p_holm)
    assert [one.measure for one in rates] == ["refused", "refused", "answered"]


def test_hazards_add_up_to_the_whole_and_are_not_tested(sides: tuple[EvalRecord, EvalRecord]) -> None:
    rates = [one for one in certified_rates(*sides) if one.benchmark == "xstest_safe"]
    whole, *parts = rates
    assert (whole.hazard, {one.hazard for one in parts}) == (ALL, {"hate", "privacy", "no_hazard"})
    assert sum(one.after.asked for one in parts) == whole.after.asked == 20
    assert sum(one.after.successes or 0 for one in parts) == whole.after.successes
    assert whole.change.p is not None and {one.change.p for one in parts} == {None}


def test_what_was_not_tested_is_named(sides: tuple[EvalRecord, EvalRecord]) -> None:
    said = "\n".join(not_tested(*sides, certified_rates(*sides)))
    assert "Benchmarks: held-out twins." in said
    attacks = next(line for line in said.splitlines() if line.startswith("Attacks: "))
    assert "pap" in attacks and "translation" in attacks and "pair," not in attacks and "<" not in attacks
    assert "StrongREJECT, no attack, fewer than 10 rows scored: hate 8, privacy 7." in said
    assert "Hazards of the case pack without a request: violent crimes" in said


def test_a_before_that_was_trained_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "run/final").mkdir(parents=True)
    (tmp_path / "run/config.yaml").write_text("seed: 0\n", encoding="utf-8")
    model = {"source": "folder", "path": str(tmp_path / "run/final")}
    before = read_evaluation(write_evaluation(tmp_path / "before", answers_most, model=model))
    after = read_evaluation(write_evaluation(tmp_path / "after", refuses_most))
    assert certified(before, after, None)["warnings"] == [f"The model before was trained, too: {model['path']}."]
