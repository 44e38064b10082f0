"""What a certificate says of two evaluations: refused turns complied round, slices add up, gaps are named."""

from dataclasses import replace

import pytest

from cada_trl.evaluation.compare import compare
from cada_trl.hazards.pack import ALL
from cada_trl.report.certified import certified, certified_rates, not_tested


def test_the_change_of_the_share_refused_is_that_of_the_share_complied_turned_round(before, after):
    cells = compare([before.evaluated], [after.evaluated], 0.9).cells
    rates = [one for one in certified_rates(before, after) if one.hazard == ALL]
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


def test_hazards_add_up_to_the_whole_and_are_not_tested(before, after):
    rates = [one for one in certified_rates(before, after) if one.benchmark == "xstest_safe"]
    whole, *parts = rates
    assert (whole.hazard, {one.hazard for one in parts}) == (ALL, {"hate", "privacy", "no_hazard"})
    assert sum(one.after.asked for one in parts) == whole.after.asked == 20
    assert sum(one.after.successes or 0 for one in parts) == whole.after.successes
    assert whole.change.p is not None
    assert {(one.change.p, one.change.p_holm) for one in parts} == {(None, None)}
    known = [one.change for one in parts if one.change.withheld is None]
    assert sum(one.only_before or 0 for one in known) > 0 == sum(one.only_after or 0 for one in known)


def test_what_was_not_tested_is_named(before, after):
    said = "\n".join(not_tested(before, after, certified_rates(before, after)))
    assert "Benchmarks: held-out twins." in said
    attacks = next(line for line in said.splitlines() if line.startswith("Attacks: "))
    assert "pap" in attacks and "translation" in attacks and "pair," not in attacks and "<" not in attacks
    assert "StrongREJECT, no attack, fewer than 10 rows scored: hate 8, privacy 7." in said
    assert "Hazards of the case pack without a request: violent crimes" in said


def test_a_before_that_was_trained_is_a_warning(before, after, tmp_path):
    (tmp_path / "run/final").mkdir(parents=True)
    (tmp_path / "run/config.yaml").write_text("seed: 0\nrun_name: null\n", encoding="utf-8")
    model = {"source": "folder", "path": str(tmp_path / "run/final")}
    trained = replace(before, config={**before.config, "model": model})
    assert certified(trained, after, None)["warnings"] == [f"The model before was trained, too: {model['path']}."]
