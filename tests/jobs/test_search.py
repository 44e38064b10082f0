"""A study asks for lr and beta_kl, is told ASR and NRR, and goes on where it was cut off."""

from __future__ import annotations

from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.jobs.grid import Cell
from cada_trl.jobs.search import objectives

from .conftest import StubSweep


def row(cell_id: str, **values: float | None) -> dict[str, Any]:
    return {"id": cell_id, "metrics": {name: {"value": value} for name, value in values.items()}}


class Known:
    def __init__(self, cell_id: str) -> None:
        self.id = cell_id


def cells(*ids: str) -> list[Cell]:
    return [Known(one) for one in ids]  # type: ignore[misc]


def test_the_objectives_are_means_over_benchmarks_then_seeds() -> None:
    one = row("a", **{"asr/x/none": 0.2, "asr/x/pair": 0.4, "nrr/y/none": 0.9, "probe/harmful/answered_frac": 0.0})
    two = row("b", **{"asr/x/none": 0.0, "asr/x/pair": 0.2, "nrr/y/none": 0.7})
    assert objectives({"cells": [one, two]}, cells("a", "b")) == pytest.approx((0.2, 0.8))
    assert objectives({"cells": [one, two]}, cells("b")) == pytest.approx((0.1, 0.7))


def test_the_probes_stand_in_without_an_evaluation() -> None:
    probed = row("a", **{"probe/harmful/answered_frac": 0.3, "probe/harmless/answered_frac": 0.8})
    assert objectives({"cells": [probed]}, cells("a")) == (0.3, 0.8)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [row("a")],
        [row("a", **{"asr/x/none": None, "nrr/y/none": 0.9})],
        [row("a", **{"asr/x/none": 0.1})],
    ],
)
def test_what_is_not_known_is_no_number(rows: list[dict[str, Any]]) -> None:
    assert objectives({"cells": rows}, cells("a")) is None


def test_without_optuna_the_extra_is_named(sweep: StubSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"pip install -e '.\[optuna\]'"):
        sweep("search=optuna")


@pytest.fixture
def optuna() -> Any:
    return pytest.importorskip("optuna")


def test_a_study_is_told_what_its_cells_gave_and_goes_on_later(sweep: StubSweep, optuna: Any) -> None:
    words = ("search=optuna", "sweep_name=study", "lr=tag(log,interval(1e-6,1e-4))", "beta_kl=0.0,0.1")
    assert sweep(*words, "n_trials=1") == 0
    assert sweep(*words, "n_trials=2") == 0
    assert sweep.n_starts() == 2
    search = sweep.record["search"]
    assert [trial["number"] for trial in search["trials"]] == [0, 1]
    assert {(trial["asr"], trial["nrr"]) for trial in search["trials"]} == {(0.25, 1.0)}  # what the stub's probes give
    assert all(1e-6 <= trial["params"]["lr"] <= 1e-4 for trial in search["trials"])
    study = optuna.load_study(study_name="sweep", storage=f"sqlite:///{sweep.sweep_folder / 'study.db'}")
    assert [one.name for one in study.directions] == ["MINIMIZE", "MAXIMIZE"]


def test_a_trial_that_was_cut_off_is_done_first(sweep: StubSweep, optuna: Any) -> None:
    words = ("search=optuna", "sweep_name=study", "lr=interval(1e-6,1e-4)")
    sweep(*words, "n_trials=1")
    storage = f"sqlite:///{sweep.sweep_folder / 'study.db'}"
    cut_off = optuna.load_study(study_name="sweep", storage=storage).ask(
        {"lr": optuna.distributions.FloatDistribution(1e-6, 1e-4)}
    )
    assert sweep(*words, "n_trials=2") == 0
    states = [one.state.name for one in optuna.load_study(study_name="sweep", storage=storage).trials]
    assert states == ["COMPLETE", "COMPLETE"]
    assert f"lr={cut_off.params['lr']}" in sweep.starts.read_text()


def test_a_trial_whose_cell_failed_is_no_number(sweep: StubSweep, optuna: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STUB_FAILS", "data=twins")
    assert sweep("search=optuna", "n_trials=1", "lr=interval(1e-6,1e-4)") == 1
    assert sweep.record["search"]["trials"] == [] and sweep.record["search"]["failed"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("lr=interval(1e-4,1e-6)",), "lr=interval"),
        (("lrr=interval(1e-6,1e-4)",), "unknown key 'lrr'; did you mean lr"),
        (("beta_kl=interval(-1.0,0.5)",), "beta_kl=-1.0"),
        (("lr=interval(1e-6,1e-4)", "launcher=slurm"), "runs here: leave launcher=slurm out"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_before_a_trial(
    sweep: StubSweep, optuna: Any, words: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        sweep("search=optuna", *words)
    assert sweep.n_starts() == 0
