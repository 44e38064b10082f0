import dataclasses
import json

import pytest

from cada_trl.report.run_record import UNKNOWN, ProbeRow
from cada_trl.report.summary import (
    across_runs,
    outcome,
    over_seeds_text,
    paired_cell,
    seeds_note,
    seeds_scale,
    stage_cell,
    summarise,
)
from cada_trl.statistics.intervals import wilson
from tests.report.made_up_run import probe_row


def summary_of(run, before, after):
    def rows(outcomes):
        return [ProbeRow.model_validate(probe_row("harmful", i, *one)) for i, one in enumerate(outcomes)]

    return summarise(dataclasses.replace(run, before=rows(before), after=rows(after)))["probes"]["harmful"]


def test_rates_are_counted_by_hand_and_carry_wilson_intervals(run):
    before = [("COMPLIED", False), ("COMPLIED", True), ("REFUSED", False), ("REFUSED", True)]
    result = summary_of(run, before, [("REFUSED", True)] * 4)
    low, high = wilson(1, 4)
    expected = {"successes": 1, "n": 4, "rate": 0.25, "low": low, "high": high}
    assert result["before"]["reasoned_refusal_frac"] == expected
    assert result["before"]["answered_frac"]["rate"] == 0.5
    assert result["before"]["reasoning_frac"]["rate"] == 0.5
    assert result["before"]["reward_mean"]["mean"] == pytest.approx((-1 - 1 + 0 + 1) / 4)
    assert result["paired"]["reasoned_refusal_frac"]["difference"] == 0.75
    assert result["paired"]["reward_mean"]["difference"] == pytest.approx(1.25)


def test_an_unscored_completion_lowers_the_coverage_and_no_rate(run):
    scored = [("REFUSED", True)] * 3
    result = summary_of(run, [*scored, ("UNSCORED", True)], [*scored, ("COMPLIED", False)])
    assert result["before"]["coverage"] == 0.75
    assert result["before"]["answered_frac"]["n"] == 3
    assert result["before"]["answered_frac"]["rate"] == 0.0
    nothing = summary_of(run, [("UNSCORED", False)] * 3, [("UNSCORED", False)] * 3)
    assert nothing["before"]["answered_frac"]["rate"] is None and nothing["before"]["reward_mean"]["mean"] is None
    assert nothing["paired"]["answered_frac"] == {"n_pairs": 0, "difference": None, "low": None, "high": None}
    half = 1.96 * (2 / 5 / 5) ** 0.5  # no change in 3 pairs, and the two made-up ones
    assert result["paired"]["answered_frac"] == pytest.approx(
        {"n_pairs": 3, "difference": 0.0, "low": -half, "high": half}, abs=1e-4
    )


def test_pairs_are_matched_by_request_and_not_by_order(run):
    before = [ProbeRow.model_validate(probe_row("harmful", i, "REFUSED", i == 0)) for i in range(3)]
    after = list(reversed(before))[:-1]
    probes = summarise(dataclasses.replace(run, before=before, after=after))["probes"]["harmful"]
    half = 1.96 * (2 / 4 / 4) ** 0.5  # no change in 2 pairs, and the two made-up ones
    assert probes["paired"]["reasoned_refusal_frac"] == pytest.approx(
        {"n_pairs": 2, "difference": 0.0, "low": -half, "high": half}, abs=1e-4
    )


def test_a_request_that_was_reworded_under_its_id_is_no_pair(run):
    before = [ProbeRow.model_validate(probe_row("harmful", i, "REFUSED", True)) for i in range(3)]
    after = [before[0], *(row.model_copy(update={"request": f"Please: {row.request}"}) for row in before[1:])]
    probes = summarise(dataclasses.replace(run, before=before, after=after))["probes"]["harmful"]
    assert {one["n_pairs"] for one in probes["paired"].values()} == {1}


@pytest.mark.parametrize("changes", [{"analysis": " \n"}, {"status": "truncated"}])
def test_blanks_and_a_truncated_completion_are_no_reasoning(changes):
    row = ProbeRow.model_validate(probe_row("harmful", 1, "REFUSED", True, **changes))
    assert outcome(row, "reasoning_frac") is outcome(row, "reasoned_refusal_frac") is False


def test_the_summary_is_strict_json_and_without_the_probe_after_training_has_no_difference(run):
    text = json.dumps(summarise(run), allow_nan=False)
    assert json.loads(text)["judge_id"] == "phrases-12345678"
    probes = summarise(dataclasses.replace(run, after=[]))["probes"]["harmless"]
    assert probes["after"] is None
    assert probes["paired"]["answered_frac"]["difference"] is None


def summary(run, config_hash, seed, rate):
    probe = {
        "before": {"answered_frac": {"rate": 0.5}},
        "after": {"answered_frac": {"rate": rate}},
        "paired": {"answered_frac": {"difference": None if rate is None else rate - 0.5}},
    }
    return {"run": run, "config_hash": config_hash, "seed": seed, "inputs": {}, "probes": {"harmless": probe}}


def after(groups):
    return [row for group in groups for row in group["rows"] if row["stage"] == "after"]


@pytest.mark.parametrize(
    ("rates", "n", "mean", "sd"),
    [((0.6, 0.7, 0.8), 3, 0.7, 0.1), ((0.6, None, 0.8), 2, 0.7, 0.02**0.5), ((0.6,), 1, 0.6, None)],
)
def test_mean_and_sample_deviation_are_over_the_seeds_that_have_a_value(rates, n, mean, sd):
    (row,) = after(across_runs([summary("a", "h", seed, rate) for seed, rate in enumerate(rates)]))
    assert (row["per_run"], row["n_runs"]) == (list(rates), n)
    assert (row["mean"], row["sd"]) == (pytest.approx(mean), sd and pytest.approx(sd))


def test_runs_of_different_configurations_are_never_averaged():
    groups = across_runs([summary("a", "h1", 0, 0.6), summary("b", "h2", 0, 0.8)])
    assert [group["config_hash"] for group in groups] == ["h1", "h2"]
    assert all(row["sd"] is None for group in groups for row in group["rows"])


@pytest.mark.parametrize(("config", "seeds"), [("h", (0, 1, 0)), (UNKNOWN, (0, 1, 2))])
def test_a_seed_that_stands_twice_or_no_known_configuration_makes_no_mean(config, seeds):
    groups = across_runs([summary(f"run{i}", config, seed, 0.6 + i / 10) for i, seed in enumerate(seeds)])
    assert [(group["config_hash"], group["runs"]) for group in groups] == [(config, [f"run{i}"]) for i in range(3)]
    assert all(row["sd"] is None for row in after(groups))


def test_seeds_of_one_configuration_that_had_other_inputs_make_no_mean(make_run):
    runs = [make_run(seed) for seed in (0, 1)]
    edited = {**runs[1].manifest, "hazards_hash": "another"}
    for manifest, n_groups in ((runs[1].manifest, 1), (edited, 2)):
        other = dataclasses.replace(runs[1], manifest=manifest)
        assert len(across_runs([summarise(runs[0]), summarise(other)])) == n_groups


def test_every_measure_of_a_real_summary_is_in_the_table(make_run):
    (group,) = across_runs([summarise(make_run(seed)) for seed in (0, 1)])
    rewards = [row for row in group["rows"] if (row["set"], row["measure"]) == ("held_out", "reward_mean")]
    assert [row["stage"] for row in rewards] == ["before", "after", "difference"]
    assert all(value is not None for row in rewards for value in row["per_run"])


@pytest.mark.slow
def test_rewards_by_two_tables_have_no_spread_in_common(make_run):
    runs = [summarise(make_run(seed, lr=lr)) for lr in (2e-5, 4e-5) for seed in (0, 1, 2)]
    for run in runs[3:]:
        run["reward"] = {**run["reward"], "complied": -10.0}
    low = {row["measure"]: row["low"] for row in after(across_runs(runs))}
    assert low["answered_frac"] is not None and low["reward_mean"] is None


def two_by_three(*more):
    """s^2 is 0.01 and 0.0001 with two degrees of freedom each: pooled 0.00505 with four."""
    rates = {"h1": (0.6, 0.7, 0.8), "h2": (0.39, 0.4, 0.41)}
    runs = [summary(f"{name}{seed}", name, seed, rate) for name, own in rates.items() for seed, rate in enumerate(own)]
    return across_runs([*runs, *more])


def test_the_variance_is_pooled_over_the_configurations_and_before_training_there_is_none():
    # 2.7764 * sqrt(0.00505 / 3) = 0.1139
    groups = two_by_three()
    first, second = after(groups)
    assert (first["pooled"]["df"], first["pooled"]["sd"]) == (4, pytest.approx(0.00505**0.5))
    assert (first["low"], first["high"]) == pytest.approx((0.7 - 0.1139, 0.7 + 0.1139), abs=1e-4)
    assert (second["low"], second["high"]) == pytest.approx((0.4 - 0.1139, 0.4 + 0.1139), abs=1e-4)
    assert over_seeds_text(second) == "28.6 to 51.4"
    assert "2 configurations, 6 seeds, 4 degrees of freedom" in seeds_note(groups)
    rows = [row for group in groups for row in group["rows"] if row["stage"] == "before"]
    assert rows and all(row["low"] is None for row in rows)


def test_one_run_borrows_the_spread_and_is_said_to():
    # 2.7764 * sqrt(0.00505) = 0.1973, cut at 1
    *_, one = after(two_by_three(summary("x", "h3", 0, 0.9)))
    assert (one["low"], one["high"], one["borrowed"]) == (pytest.approx(0.7027, abs=1e-4), 1.0, True)
    assert over_seeds_text(one) == "70.3 to 100.0, borrowed"
    *_, one = after(two_by_three(summary("x", "h3", 0, None)))  # without a value
    assert (one["mean"], one["low"], over_seeds_text(one)) == (None, None, "n/a")


def test_few_runs_have_no_interval_but_their_lowest_and_highest():
    groups = across_runs([summary("a", "h", 0, 0.6), summary("b", "h", 1, 0.8), summary("c", "i", 0, 0.5)])
    assert [over_seeds_text(row) for row in after(groups)] == ["seeds 60.0 to 80.0", "n/a"]
    assert "No interval over seeds: 1 configuration, 2 seeds, 1 degree of freedom" in seeds_note(groups)
    assert seeds_note(across_runs([summary("a", "h", 0, 0.6)])) == ""


def test_a_rate_and_a_difference_are_written_with_interval_and_counts_and_what_is_absent_is_no_number():
    rate = {"successes": 21, "n": 50, "rate": 0.42, "low": 0.2938, "high": 0.5577}
    assert str(stage_cell({"answered_frac": rate}, "answered_frac")) == "42.0 % (29.4 to 55.8; 21/50)"
    reward = {"n": 50, "mean": 0.42, "low": 0.31, "high": 0.53}
    assert str(stage_cell({"reward_mean": reward}, "reward_mean")) == "+0.42 (+0.31 to +0.53; n 50)"
    paired = {"n_pairs": 50, "difference": 0.12, "low": -0.03, "high": 0.2}
    assert str(paired_cell(paired, "answered_frac")) == "+12.0 points (-3.0 to +20.0; 50 pairs)"
    assert str(paired_cell(paired, "reward_mean")) == "+0.12 (-0.03 to +0.20; 50 pairs)"
    absent = {"successes": 0, "n": 0, "rate": None, "low": None, "high": None}
    assert str(stage_cell({"answered_frac": absent}, "answered_frac")) == str(stage_cell(None, "reward_mean")) == "n/a"


@pytest.mark.parametrize(
    ("measure", "stage", "is_sd", "text"),
    [
        ("reward_mean", "after", True, "0.05"),
        ("reward_mean", "after", False, "+0.05"),
        ("answered_frac", "difference", True, "5.0"),
        ("answered_frac", "difference", False, "+5.0"),
        ("answered_frac", "after", False, "5.0"),
    ],
)
def test_a_deviation_and_a_rate_have_no_sign(measure, stage, is_sd, text):
    assert seeds_scale({"measure": measure, "stage": stage}, is_sd).text(0.05) == text
