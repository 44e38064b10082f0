"""A command line's words go to the sweep, the training or the evaluation."""

from __future__ import annotations

import pytest

from cada_trl.config import CONF_DIR, Config
from cada_trl.config.loading import groups, leaf_paths
from cada_trl.errors import UserError
from cada_trl.sweeps.settings import SweepConfig, read_request


def test_words_are_sorted_and_an_evaluations_lose_their_prefix() -> None:
    request = read_request(["beta_kl=0,1", "evaluate=quick", "jobs=2", "evaluate.attacks=none,pair", "--dry-run"])
    assert request.training == ("beta_kl=0,1",)
    assert request.evaluates_with == ("suite=quick", "attacks=none,pair")
    assert (request.config.jobs, request.dry_run, request.retry) == (2, True, False)


def test_without_a_suite_nothing_is_evaluated() -> None:
    assert read_request(["beta_kl=0,1"]).evaluates_with is None


@pytest.mark.parametrize("place", ["slurm", "slurm_array"])
def test_the_launcher_slurm_is_the_queue_and_the_others_are_the_trainings(place: str) -> None:
    assert read_request([f"launcher={place}"]).config.submit == place
    assert read_request(["launcher=accelerate"]).training == ("launcher=accelerate",)


def test_no_key_of_the_sweep_is_a_key_of_the_training() -> None:
    assert set(leaf_paths(SweepConfig)).isdisjoint({*leaf_paths(Config), *groups(CONF_DIR, "config")})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--retri", "unknown flag --retri; did you mean --retry"),
        ("evaluate=quik", "evaluate=quik: no such suite; did you mean quick"),
        ("jobs=0", "jobs=0: Input should be greater than or equal to 1"),
        ("evaluate.limit=3", "evaluate.limit=3 needs an evaluation"),
        ("submit=elsewhere", "submit='elsewhere'"),
    ],
)
def test_a_wrong_word_is_refused_with_what_is_right(word: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_request([word])


def test_an_evaluation_of_another_model_is_refused() -> None:
    with pytest.raises(UserError, match="a sweep evaluates its own models"):
        read_request(["evaluate=quick", "evaluate.model=llama3"])
