"""Several optimiser steps whose rollouts are sampled at once: each learns what it would from a sampling of its own."""

from pathlib import Path

import pytest

from cada_trl.training.cada import CADATrainer
from cada_trl.training.checkpoints import newest_complete

from .preset_run import distance, load, preset_completion, rows_of, weights

pytestmark = pytest.mark.slow

# Eight harmful requests, of which a step takes two beside two of six harmless ones, two rollouts each.
STEPS = {
    "n_requests": 14,
    "n_harmless": 6,
    "benign_per_step": 2,
    "twin_of": {0: 8, 1: 9, 2: 10},
    "max_steps": 6,
    "save_strategy": "no",
}


class _SamePreset(CADATrainer):
    """A completion is a function of prompt and place in the group, whenever it is sampled; notes how many at once."""

    sampled: list[int]

    def _generate_single_turn(self, prompt_ids, *_, **__):
        completions = [preset_completion(prompt, 0, row % 2) for row, prompt in enumerate(prompt_ids)]
        self.__dict__.setdefault("sampled", []).append(len(completions))
        return completions, None


@pytest.fixture
def steps(run):
    """STEPS trained with changes, on presets."""
    return lambda **changes: run(**{"trainer_class": _SamePreset, **STEPS, **changes})


@pytest.mark.parametrize("benign_tok", [None, 2])
@pytest.mark.parametrize("baseline", ["running", "batch", "group"])
def test_two_steps_sampled_at_once_learn_what_two_samplings_do(tiny_folder, steps, baseline, benign_tok):
    changes = {"baseline": baseline, "benign_tok": benign_tok, "target_kl_nats": 0.05, "micro": (4, 2)}
    (one, ones), (two, twos) = (steps(steps_per_rollout=n, **changes) for n in (1, 2))
    assert (one.sampled, two.sampled) == ([8] * 6, [16] * 3)
    assert [step for step, _, _ in twos] == [1, 2, 3, 4, 5, 6]
    for (_, metrics, rows), (_, wanted, wanted_rows) in zip(twos, ones, strict=True):
        for name in ("loss", "reward_mean", "baseline", "kl_nats", "benign_kl_nats", "beta_kl", "grad_norm"):
            assert metrics[f"train/{name}"] == pytest.approx(wanted[f"train/{name}"], rel=1e-4, abs=1e-6, nan_ok=True)
        for key in ("request_id", "completion", "truncated", "anchor", "completion_tok"):
            assert [row[key] for row in rows] == [row[key] for row in wanted_rows]
        assert [row["advantage"] for row in rows] == pytest.approx([row["advantage"] for row in wanted_rows], abs=1e-6)
    assert distance(weights(one.model), weights(two.model)) < 1e-6
    assert distance(weights(one.model), weights(load(tiny_folder))) > 1e-3


@pytest.mark.parametrize("micro", [(8, 1), (2, 4)])
def test_rollouts_without_an_advantage_can_be_left_out_of_the_update(steps, micro):
    """With no KL on harmful requests they change nothing but the cost; with one, theirs is missing."""
    changes = {"baseline": "running", "baseline_start": -1.0, "baseline_rate": 0.0, "benign_tok": 2, "micro": micro}
    without_kl = changes | {"beta_kl": 0.0, "benign_beta_kl": 1.0}
    (all_rows, records), (kept, kept_records) = (
        steps(skip_zero_advantage=skip, **without_kl) for skip in (False, True)
    )
    rows, kept_rows = rows_of(records), rows_of(kept_records)
    assert [row["advantage"] for row in rows] == pytest.approx([row["advantage"] for row in kept_rows])
    useless = [not (row["anchor"] or row["advantage"]) for row in rows]
    assert 0 < sum(useless) < len(rows)
    assert [row["kl_nats"] is None for row in kept_rows] == useless
    assert sum("logp_nats" in row for row in kept_rows) < len(rows) == sum("logp_nats" in row for row in rows)
    assert distance(weights(all_rows.model), weights(kept.model)) < 1e-6
    with_kl = [steps(skip_zero_advantage=skip, beta_kl=1.0, **changes)[0] for skip in (False, True)]
    assert distance(weights(with_kl[0].model), weights(with_kl[1].model)) > 1e-6


@pytest.mark.parametrize("micro", [(8, 1), (2, 4)])
def test_judged_harmless_rollouts_keep_their_kl_whatever_their_advantage(steps, micro):
    _, records = steps(micro=micro, baseline="group", benign_beta_kl=1.0, skip_zero_advantage=True)
    harmless = [row for row in rows_of(records) if not row["harmful"]]
    assert any(row["advantage"] == 0.0 for row in harmless)
    assert all(row["kl_nats"] is not None for row in harmless)


@pytest.mark.parametrize(("sampled_by", "temperature"), [("policy", 0.7), ("reference", 1.0)])
def test_the_references_samples_are_scored_at_temperature_one(steps, sampled_by, temperature):
    cold, warm = (steps(sampled_by=sampled_by, max_steps=1, temperature=value) for value in (0.7, 1.4))
    assert cold[0].score_temperature == temperature
    logps, other_logps = ([row["logp_nats"] for row in rows_of(records)] for _, records in (cold, warm))
    assert (logps == pytest.approx(other_logps)) is (sampled_by == "reference")  # preset completions, one model


@pytest.mark.parametrize(
    ("asked_at", "steps_per_rollout", "saved_at"), [(3, 1, 3), (1, 2, 2), (2, 2, 2), (3, 2, 4), (1, 3, 3), (5, 4, 6)]
)
def test_a_stop_waits_for_the_rollouts_that_are_left_and_saves_there(build, asked_at, steps_per_rollout, saved_at):
    trainer, records = build(trainer_class=_SamePreset, steps_per_rollout=steps_per_rollout, **STEPS)
    recorded = trainer._record

    def record(step, metrics, rows):
        recorded(step, metrics, rows)
        if step >= asked_at:
            assert trainer.stop_here() == saved_at

    trainer._record = record
    trainer.train()
    assert len(records) == trainer.state.global_step == saved_at
    if saved_at < STEPS["max_steps"]:  # else the run's own end comes first
        checkpoint = Path(trainer.args.output_dir) / f"checkpoint-{saved_at}"
        assert newest_complete(checkpoint.parent) == (checkpoint, saved_at)
