"""Real trainings of a tiny model, explained: a repetition and a planted difference."""

import pytest

from cada_trl import train
from cada_trl.why import explain
from end_to_end.tiny_model import save_tiny_model, tiny_overrides


@pytest.mark.slow
def test_a_repetition_is_the_same_and_a_planted_difference_is_found_where_it_acts(tmp_path):
    base = tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model"))
    changes = {"plain": [], "again": [], "heavier_kl": ["beta_kl=0.5"]}
    for name, change in changes.items():
        train.main([*base, f"run_name={name}", *change])
    plain, again, heavier_kl = (tmp_path / "runs" / name for name in changes)

    same = explain([plain, again])
    assert [one["what"] for one in same.twin["config"]] == ["run_name"]
    assert (same.twin["origins"], same.twin["parting"]["step"]) == ([], None)
    assert "The trained weights are the same, bit for bit." in str(same.sections[0].blocks)

    kl = explain([plain, heavier_kl])
    assert kl.twin["config"][0]["what"] == "algo.beta_kl"
    assert (kl.twin["parting"]["step"], kl.twin["parting"]["what"]) == (1, "numbers")
    assert kl.twin["parting"]["metrics"]["train/beta_kl"] == (0.01, 0.5)
    assert "The trained weights are not the same." in str(kl.sections[0].blocks)
