"""training.guard: when a run is stopped, and what it is told."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from cada_trl.config import load_config
from cada_trl.errors import StoppedByTripwire, UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.training.guard import Guard


@pytest.mark.parametrize("is_main", [True, False])
@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_ends_every_rank(tmp_path, norm, is_main):
    folder = SimpleNamespace(is_main=is_main, path=tmp_path)
    run = SimpleNamespace(config=load_config([]), folder=folder, pack=load_pack("builtin"), say=print, n_steps=10)
    guard = Guard(run, SimpleNamespace(asked=None))
    guard.step(3, {"train/grad_norm": 1e6}, [])
    with pytest.raises(UserError, match="the training diverged: the gradient of step 4 is not finite"):
        guard.step(4, {"train/grad_norm": norm}, [])


def test_a_rank_that_watches_nothing_ends_as_the_first_one_does(tmp_path):
    folder = SimpleNamespace(is_main=False, path=tmp_path)
    run = SimpleNamespace(config=load_config([]), folder=folder, pack=load_pack("builtin"), say=print, n_steps=10)
    told_by_the_first = SimpleNamespace(any_rank=lambda here: True, state=SimpleNamespace(global_step=8))
    with pytest.raises(StoppedByTripwire):
        Guard(run, SimpleNamespace(asked=None)).raise_if_stopped(told_by_the_first)


@pytest.mark.parametrize(("ended_at", "stops"), [(8, True), (10, False)])
def test_a_stop_ends_a_run_unless_its_last_step_is_done_and_is_told_either_way(tmp_path, ended_at, stops):
    """ended_at: of ten steps the last that was trained, as steps that are sampled at once end together."""
    tripped, said = [], []
    run = SimpleNamespace(
        config=load_config(["sampler_gap=stop"]),
        folder=SimpleNamespace(is_main=True, path=tmp_path, append_tripwire=tripped.append),
        pack=load_pack("builtin"),
        say=said.append,
        n_steps=10,
    )
    guard = Guard(run, SimpleNamespace(asked=None))
    guard.step(7, {"train/sampler_gap_nats": 0.5}, [])
    trainer = SimpleNamespace(any_rank=bool, state=SimpleNamespace(global_step=ended_at))
    assert guard.must_stop(trainer)
    with pytest.raises(StoppedByTripwire, match="sampler_gap at step 7") if stops else nullcontext():
        guard.raise_if_stopped(trainer)
    assert [one["action"] for one in tripped] == ["stop"] and "tripwire sampler_gap, step 7" in said[0]
