"""Baselines by hand arithmetic, and what they do not change."""

import json
import math

import pytest
import torch

from cada_trl.algo.baseline import Baselines, RunningMean, centred_b, first_tok_advantage_b

NAN = math.nan


def _centred(rewards, kind, group_size=1, running=None):
    running = running or RunningMean()
    return centred_b(torch.tensor(rewards, dtype=torch.float64), kind, group_size, running).tolist()


@pytest.mark.parametrize(
    ("rate", "start", "step_means", "means"),
    [
        (None, None, [-1.0, 0.0, 0.4], [-1.0, -0.5, -0.2]),  # the plain average of all steps
        (0.25, None, [-1.0, 1.0, 1.0], [-1.0, -0.5, -0.125]),  # -1 + 0.25 (1 - -1); -0.5 + 0.25 (1 - -0.5)
        (None, 0.6, [-1.0, 1.0], [-0.2, 0.2]),  # a start counts as one step: (0.6 - 1) / 2, (0.6 - 1 + 1) / 3
        (0.0, -1.0, [0.5, 1.0], [-1.0, -1.0]),  # held
        (0.5, 0.0, [-1.0, -1.0], [-0.5, -0.75]),  # a start with a rate is left by that rate
    ],
)
def test_the_running_mean_of_the_steps(rate, start, step_means, means):
    running = RunningMean(rate, start)
    assert [running.update(mean) for mean in step_means] == pytest.approx(means)


def test_harmless_requests_have_the_plain_average_where_the_harmful_ones_are_held():
    baselines = Baselines("running", 1, rate=0.0, start=-1.0)
    harmful_b = torch.tensor([True, False])
    first = baselines.centred_b(torch.tensor([1.0, 1.0]), harmful_b)
    second = baselines.centred_b(torch.tensor([1.0, -1.0]), harmful_b)
    assert first.tolist() == [2.0, 0.0]  # the first harmless mean is its own baseline
    assert second.tolist() == [2.0, -1.0]  # (1 - 1) / 2 = 0


def test_running_centres_on_the_mean_that_this_step_went_into():
    running = RunningMean()
    assert _centred([-1.0, -1.0, 1.0, -1.0], "running", running=running) == pytest.approx([-0.5, -0.5, 1.5, -0.5])
    # rbar = (-0.5 + 0.5) / 2 = 0
    assert _centred([1.0, 1.0, 0.0, 0.0], "running", running=running) == pytest.approx([1.0, 1.0, 0.0, 0.0])


def test_running_leaves_unscored_rewards_out_of_the_mean_and_gives_them_no_advantage():
    running = RunningMean()
    assert _centred([1.0, NAN, 0.0, NAN], "running", running=running) == pytest.approx([0.5, 0.0, -0.5, 0.0])
    assert running.value == pytest.approx(0.5)


@pytest.mark.parametrize("value", [None, -0.5])
def test_a_step_without_any_score_has_no_advantage_and_leaves_the_running_mean_as_it_was(value):
    running = RunningMean(value=value, n_steps=7)
    assert _centred([NAN, NAN], "running", running=running) == [0.0, 0.0]
    assert (running.value, running.n_steps) == (value, 7)


@pytest.mark.parametrize(
    ("kind", "group_size", "rewards", "advantages"),
    [
        ("batch", 1, [1.0, -1.0, NAN, 0.0, 1.0], [0.75, -1.25, 0.0, -0.25, 0.75]),
        ("group", 3, [1.0, -1.0, 0.0, 1.0, 1.0, NAN], [1.0, -1.0, 0.0, 0.0, 0.0, 0.0]),
        # the mean of the others: (-1 + 0)/2, (1 + 0)/2, (1 - 1)/2; then 0 and 1, since the third has no score
        ("leave_one_out", 3, [1.0, -1.0, 0.0, 1.0, 0.0, NAN], [1.5, -1.5, 0.0, 1.0, -1.0, 0.0]),
        ("leave_one_out", 2, [1.0, NAN], [0.0, 0.0]),  # no other score
        ("none", 1, [1.0, -1.0, NAN], [1.0, -1.0, 0.0]),
    ],
)
def test_rewards_are_centred_on_the_mean_of_what_was_scored(kind, group_size, rewards, advantages):
    assert _centred(rewards, kind, group_size) == pytest.approx(advantages)


@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_leave_one_out_is_the_group_advantage_times_g_over_g_minus_1(group_size):
    rewards = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64).tolist()
    stretched = [group_size / (group_size - 1) * a for a in _centred(rewards, "group", group_size)]
    assert _centred(rewards, "leave_one_out", group_size) == pytest.approx(stretched, abs=1e-12)


@pytest.mark.parametrize("kind", ["batch", "group", "leave_one_out"])
def test_the_advantages_of_a_step_sum_to_zero_and_a_constant_added_to_all_rewards_changes_none(kind):
    rewards = [1.0, -1.0, 0.0, 1.0, NAN, -1.0, 0.0, 0.0]
    shifted = [reward + 7.0 for reward in rewards]
    assert _centred(shifted, kind, 4) == pytest.approx(_centred(rewards, kind, 4), abs=1e-12)
    assert sum(_centred([1.0, -1.0, 0.0, 1.0, 1.0, -1.0], kind, 3)) == pytest.approx(0.0, abs=1e-12)


HARMFUL = torch.tensor([True, True, False, False])


def test_harmful_and_harmless_rewards_are_centred_each_on_a_mean_of_its_own():
    baselines = Baselines("running", 1, None, None)
    advantages = baselines.centred_b(torch.tensor([-1.0, 0.0, 1.0, 0.0]), HARMFUL)
    assert advantages.tolist() == pytest.approx([-0.5, 0.5, 0.5, -0.5])
    assert (baselines.harmful.value, baselines.benign.value) == pytest.approx((-0.5, 0.5))


def test_a_rate_above_zero_is_that_of_the_harmless_rewards_too():
    baselines = Baselines("running", 1, 0.1, None)
    for reward in (0.0, 1.0):
        baselines.centred_b(torch.tensor([reward]), torch.tensor([False]))
    assert baselines.benign.value == pytest.approx(0.1)


def test_the_groups_of_a_kind_are_the_requests_rollouts():
    reward_b, harmful_b = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, -1.0]), torch.tensor([True] * 4 + [False] * 2)
    advantage_b = Baselines("group", 2, None, None).centred_b(reward_b, harmful_b)
    assert advantage_b.tolist() == [0.5, -0.5, 0.0, 0.0, 1.0, -1.0]


def test_the_given_start_is_the_harmful_rewards():
    baselines = Baselines("running", 1, 0.5, -1.0)
    # -1 + 0.5 (1 + 1) = 0 of the harmful; the mean of the first step of the harmless
    assert baselines.centred_b(torch.tensor([1.0, 1.0, 1.0, 0.0]), HARMFUL).tolist() == pytest.approx([1, 1, 0.5, -0.5])


def test_rewards_that_are_all_unscored_leave_the_mean_of_their_kind_untouched():
    baselines = Baselines("running", 1, None, None)
    assert baselines.centred_b(torch.tensor([-1.0, 1.0, NAN, NAN]), HARMFUL).tolist() == [-1.0, 1.0, 0.0, 0.0]
    assert (baselines.benign.value, baselines.benign.n_steps) == (None, 0)


def test_baselines_go_on_from_their_state_as_if_never_stopped():
    went_on, fresh = (Baselines("running", 1, None, -1.0) for _ in range(2))
    went_on.centred_b(torch.tensor([0.0, 1.0, 1.0, NAN]), HARMFUL)
    fresh.load(json.loads(json.dumps(went_on.state())))
    assert (fresh.harmful, fresh.benign) == (went_on.harmful, went_on.benign)
    step = torch.tensor([1.0, 0.0, -1.0, 1.0])
    assert fresh.centred_b(step, HARMFUL).tolist() == went_on.centred_b(step, HARMFUL).tolist()
    assert fresh.state() == went_on.state()
    assert went_on.harmful != went_on.benign


def test_a_first_token_is_worth_what_the_judged_completions_that_begin_so_are_on_average():
    advantage_b = torch.tensor([2.0, 0.0, 1.0, 9.0, 0.0, 0.0, 0.0])
    token_b = torch.tensor([7, 7, 8, 7, 7, 8, 6])
    judged_b = torch.tensor([True, True, True, False, False, False, False])  # the fourth is a harmless anchor
    short_b = torch.tensor([False, False, False, False, True, True, True])
    # token 7: (2 + 0) / 2; token 8: 1; nothing that begins with 6 was judged
    assert first_tok_advantage_b(advantage_b, token_b, judged_b, short_b).tolist() == [2, 0, 1, 9, 1, 1, 0]
