"""A study asks for lr and beta_kl, is told ASR and NRR, and goes on where it was cut off."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cada_trl.errors import UserError
from cada_trl.jobs.grid import read_request
from cada_trl.jobs.search import objectives, read_space

pytestmark = pytest.mark.slow

ONE = {"asr/x/none": 0.2, "asr/x/pair": 0.4, "nrr/y/none": 0.9, "probe/harmful/answered_frac": 0.0}
STUDY = ("search=optuna", "sweep_name=study", "lr=interval(1e-6,1e-4)")
TWO = {"asr/x/none": 0.0, "asr/x/pair": 0.2, "nrr/y/none": 0.7}


@pytest.mark.parametrize(
    ("rows", "wanted", "values"),
    [
        ({"a": ONE, "b": TWO}, "ab", (0.2, 0.8)),  # means over attacks, then seeds
        ({"a": ONE, "b": TWO}, "b", (0.1, 0.7)),
        # without an evaluation the probes stand in
        ({"a": {"probe/harmful/answered_frac": 0.3, "probe/harmless/answered_frac": 0.8}}, "a", (0.3, 0.8)),
        # what is not known is no number
        ({}, "a", None),
        ({"a": {}}, "a", None),
        ({"a": {"asr/x/none": None, "nrr/y/none": 0.9}}, "a", None),
        ({"a": {"asr/x/none": 0.1}}, "a", None),
    ],
)
def test_the_objectives_are_means_of_what_is_known_of_every_seed(rows, wanted, values):
    record = {
        "cells": [
            {"id": name, "metrics": {metric: {"value": value} for metric, value in metrics.items()}}
            for name, metrics in rows.items()
        ]
    }
    cells = [SimpleNamespace(id=name) for name in wanted]
    assert objectives(record, cells) == (values and pytest.approx(values))


def test_without_optuna_the_extra_is_named(sweep, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install 'cada_trl\[optuna\]'"):
        sweep("search=optuna")


@pytest.fixture
def optuna():
    return pytest.importorskip("optuna")


def study_of(sweep, optuna):
    return optuna.load_study(study_name="sweep", storage=f"sqlite:///{sweep.sweep_folder / 'study.db'}")


@pytest.mark.parametrize(
    ("words", "searched"),
    [
        ([], ["beta_kl", "lr"]),
        (["recipe=smollm2/cada"], ["beta_kl", "lr"]),  # which fixes both
        (["recipe=smollm2/cada", "lr=1e-5"], ["beta_kl"]),
        (["seed=0,1", "lr=interval(1e-6,1e-4)"], ["lr"]),
    ],
)
def test_what_nobody_typed_is_searched_in_the_default_space_also_around_a_recipe(optuna, words, searched):
    assert sorted(read_space(read_request(["search=optuna", *words])).dimensions) == searched


def test_a_study_is_told_what_its_cells_gave_and_goes_on_later(sweep, optuna):
    words = ("search=optuna", "sweep_name=study", "lr=tag(log,interval(1e-6,1e-4))", "beta_kl=0.0,0.1")
    assert sweep(*words, "n_trials=1") == 0
    assert sweep(*words, "n_trials=2") == 0
    assert sweep.n_starts() == 2
    search = sweep.record["search"]
    assert [trial["number"] for trial in search["trials"]] == [0, 1]
    assert {(trial["asr"], trial["nrr"]) for trial in search["trials"]} == {(0.25, 1.0)}  # what the stub's probes give
    assert all(1e-6 <= trial["params"]["lr"] <= 1e-4 for trial in search["trials"])
    assert [one.name for one in study_of(sweep, optuna).directions] == ["MINIMIZE", "MAXIMIZE"]


def test_a_damaged_record_of_a_search_is_one_line(sweep, optuna):
    folder = sweep.folder / "sweeps" / "study"
    folder.mkdir(parents=True)
    (folder / "sweep.json").write_text('{"cells": [{}]}')
    with pytest.raises(UserError, match=r"sweep\.json is damaged"):
        sweep(*STUDY, "--status")


def test_a_spent_cap_leaves_the_trial_cut_off_and_the_status_shows_its_cell(sweep, optuna):
    words = (*STUDY, "n_trials=2")
    sweep.stub(SLEEP_S=60)
    assert sweep(*words, "max_hours=0.0005") == 1
    assert sweep.record["search"]["failed"] == 0
    sweep.said()
    assert sweep(*words, "--status") == 0 and "max_hours is spent" in " ".join(sweep.said().split())
    sweep.stub(SLEEP_S=0)
    assert sweep(*words) == 0 and len(sweep.record["search"]["trials"]) == 2


def test_a_trial_whose_cell_failed_is_no_number_and_once_it_is_retried_one_of_n_trials(sweep, optuna):
    sweep.stub(FAILS="data=twins")
    words = (*STUDY, "n_trials=1")
    for _ in range(2):  # the second call forgets nothing
        assert sweep(*words) == 1
        assert sweep.record["search"]["trials"] == [] and sweep.record["search"]["failed"] == 1
        assert [row["state"] for row in sweep.record["cells"]] == ["failed"]
    sweep.stub(FAILS=None)
    assert sweep(*words, "--retry") == 0
    assert len(sweep.record["search"]["trials"]) == 1 and sweep.record["search"]["failed"] == 0
    assert sweep(*words) == 0 and sweep.n_starts() == 2
    assert sweep(*STUDY, "n_trials=2") == 0
    assert len(sweep.record["search"]["trials"]) == 2 and len(sweep.record["cells"]) == 2


def test_a_trial_whose_judge_was_silent_fails_the_search_and_is_named(sweep, optuna):
    sweep.stub(SILENT=1)
    for _ in range(2):
        assert sweep(*STUDY, "n_trials=1") == 1
        assert "trials without ASR or NRR, though their cells are done: 0" in sweep.said()
    assert [row["state"] for row in sweep.record["cells"]] == ["done"]
    assert (sweep.record["search"]["trials"], sweep.record["search"]["unmeasured"]) == ([], [0])


def test_a_trial_has_the_numbers_that_its_cells_have_now_and_none_while_they_are_damaged(sweep, optuna):
    words = (*STUDY, "n_trials=2")
    assert sweep(*words) == 0
    assert [trial["best"] for trial in sweep.record["search"]["trials"]] == [True, True]
    probes = Path(sweep.record["cells"][0]["run_folder"]) / "probes" / "after.jsonl"
    probes.write_text(probes.read_text().replace("REFUSED", "COMPLIED"))
    assert sweep(*words) == 1
    search = sweep.record["search"]
    assert [trial["number"] for trial in search["trials"]] == [1]
    assert (search["without_numbers"], search["failed"]) == (1, 0)
    (sweep.sweep_folder / "ledger.jsonl").unlink()  # the files as they are now are what was done
    assert sweep(*words) == 0
    search = sweep.record["search"]
    assert [(trial["asr"], trial["best"]) for trial in search["trials"]] == [(1.0, False), (0.25, True)]
    assert search["without_numbers"] == 0


def test_a_trial_whose_values_do_not_fit_each_other_has_failed_and_the_search_goes_on(sweep, optuna):
    words = ("search=optuna", "sweep_name=study", "micro_batch=4", "requests_per_step=int(interval(8,16))")
    sweep(*words, "n_trials=1")
    study = study_of(sweep, optuna)
    for value in (14, 12):
        study.enqueue_trial({"requests_per_step": value})
        study.ask({"requests_per_step": optuna.distributions.IntDistribution(8, 16)})
    sweep.said()
    for _ in range(2):
        sweep(*words, "n_trials=3")
        assert "trial 1 has failed: requests_per_step=14: " in sweep.said()
        assert [trial.state.name for trial in study.trials[1:]] == ["FAIL", "COMPLETE"]


def test_a_search_is_composed_with_its_own_dimensions_and_its_dry_run_says_what_is_missing(sweep, optuna, monkeypatch):
    words = ("search=optuna", "micro_batch=32", "requests_per_step=32,64", "lr=interval(1e-6,1e-5)", "--dry-run")
    assert sweep(*words) == 0 and "missing here: nothing" in sweep.said()
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert sweep(*words, "judge=strongreject") == 0
    assert "missing here: " in sweep.said()
    with pytest.raises(UserError, match=r"nonexist\.jsonl"):
        sweep(*words, f"file={sweep.folder / 'nonexist.jsonl'}")


def test_a_trial_that_was_stopped_from_outside_goes_on_in_the_next_call(sweep, optuna):
    words = (*STUDY, "n_trials=1")
    sweep.stub(FAILS="data=twins", CODE=75)
    assert sweep(*words) == 1 and sweep.record["search"]["failed"] == 0
    sweep.stub(FAILS=None)
    assert sweep(*words) == 0 and len(sweep.record["search"]["trials"]) == 1


def test_another_search_under_the_same_name_is_refused(sweep, optuna):
    words = ("search=optuna", "sweep_name=study", "n_trials=1")
    assert sweep(*words, "lr=interval(1e-6,1e-4)") == 0
    for other in (("lr=1e-5,1e-4",), ("lr=interval(1e-6,1e-4)", "prompt=codes")):
        with pytest.raises(UserError, match="holds another search; give its words, or a sweep_name of your own"):
            sweep(*words, *other)
