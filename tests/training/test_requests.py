"""The order of requests is a function of seed and epoch alone."""

from collections import Counter

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.prompting.arms import conversation
from cada_trl.records import Request
from cada_trl.training.requests import RolloutSampler, first_tok_only, rollout_dataset


def _sampler(**changes):
    values = {
        "n_harmful": 10,
        "n_benign": 6,
        "requests_per_step": 4,
        "benign_per_step": 0,
        "rollouts_per_request": 1,
        "n_micro": 1,
        "seed": 3,
        "twin_of": {},
    }
    return RolloutSampler(**{**values, **changes})


def _steps(sampler, epoch=0):
    """One list a step, micro-steps included."""
    sampler.set_epoch(epoch)
    rows = list(sampler)
    size = len(rows) // sampler.steps_per_epoch
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def test_another_seed_gives_another_order():
    assert _steps(_sampler()) != _steps(_sampler(seed=4))


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("of_kind", [{"n_harmful": 12}, {"n_harmful": 0, "n_benign": 12, "benign_per_step": 4}])
def test_every_request_comes_once_an_epoch(of_kind, epoch):
    steps = _steps(_sampler(**of_kind), epoch)
    assert sorted(index for step in steps for index in step) == list(range(12))


def test_the_last_step_is_filled_up_from_the_epochs_start():
    steps = _steps(_sampler(n_harmful=10))
    assert [len(step) for step in steps] == [4, 4, 4]
    assert steps[-1][2:] == steps[0][:2]
    assert set(range(10)) == {index for step in steps for index in step}


@pytest.mark.parametrize(("n_benign", "n_steps"), [(0, 3), (1, 4)])  # ceil(10 / 4) and ceil(10 / 3) steps
def test_every_step_holds_its_share_of_harmless_requests_and_no_request_twice(n_benign, n_steps):
    steps = _steps(_sampler(benign_per_step=n_benign))
    assert [sum(index >= 10 for index in step) for step in steps] == [n_benign] * n_steps
    assert all(len(set(step)) == 4 for step in steps)


def test_harmless_requests_take_turns():
    steps = _steps(_sampler(benign_per_step=2, n_harmful=6))
    assert Counter(index for step in steps for index in step if index >= 6) == {index: 1 for index in range(6, 12)}


def test_the_rollouts_of_a_request_are_neighbours():
    for step in _steps(_sampler(rollouts_per_request=3)):
        groups = [step[start : start + 3] for start in range(0, len(step), 3)]
        assert all(len(set(group)) == 1 for group in groups)
        assert len({group[0] for group in groups}) == 4


# Rows 10 to 15 are the harmless twins of rows 0 to 5; rows 6 to 9 have none.
TWIN_OF = {row: row + 10 for row in range(6)}


def test_a_harmful_request_that_has_a_twin_stands_in_one_step_with_it():
    for epoch in range(5):
        for step in _steps(_sampler(benign_per_step=2, twin_of=TWIN_OF), epoch):
            harmful, benign = step[:2], step[2:]
            assert all(row < 10 for row in harmful) and all(row >= 10 for row in benign)
            assert {TWIN_OF[row] for row in harmful if row in TWIN_OF} <= set(benign)


def test_where_twins_are_too_few_others_fill_the_step_up_and_none_comes_twice():
    n_with_twins = set()
    for epoch in range(5):
        for step in _steps(_sampler(requests_per_step=7, benign_per_step=5, twin_of=TWIN_OF), epoch):
            assert len(set(step)) == 7 and sum(row >= 10 for row in step) == 5
            n_with_twins.add(sum(row in TWIN_OF for row in step))
    assert n_with_twins == {0, 1, 2}


def test_where_twins_are_too_many_the_step_keeps_its_share_of_harmless_requests():
    for step in _steps(
        _sampler(n_harmful=6, requests_per_step=5, benign_per_step=1, twin_of={n: n + 6 for n in range(6)})
    ):
        assert [row >= 6 for row in step] == [False] * 4 + [True]
        assert step[4] == step[0] + 6


@pytest.mark.parametrize("n_benign", range(1, 9))
def test_every_step_is_whole_however_few_harmless_targets_were_kept(n_benign):
    twin_of = {place * 7: 60 + place for place in range(n_benign)}
    few = {"n_harmful": 60, "n_benign": n_benign, "requests_per_step": 16, "benign_per_step": 8}
    sampler = _sampler(**few, rollouts_per_request=2, twin_of=twin_of)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        rows = list(sampler)
        steps = [rows[start : start + 32] for start in range(0, len(rows), 32)]
        assert len(rows) == len(sampler)
        assert {sum(row >= 60 for row in step) for step in steps} == {16}
        assert all({twin_of[row] for row in step if row in twin_of} <= set(step) for step in steps)


def test_without_harmless_requests_in_a_step_twins_change_nothing():
    assert _steps(_sampler(twin_of=TWIN_OF)) == _steps(_sampler())


BLOCKS = {"benign_per_step": 1, "rollouts_per_request": 2, "twin_of": TWIN_OF, "n_micro": 3}


def test_a_block_is_the_rows_of_its_steps_repeated_for_each_of_their_micro_steps():
    # ceil(10 / 3) = 4 steps of 8 rows make four blocks of 8, or two of 16
    once = _steps(_sampler(**{**BLOCKS, "n_micro": 1}))
    assert list(_sampler(**BLOCKS)) == [row for step in once for row in step * 3]
    rows = list(_sampler(**BLOCKS, steps_per_rollout=2))
    assert rows == (once[0] + once[1]) * 6 + (once[2] + once[3]) * 6


def test_the_last_block_of_an_epoch_is_filled_up_with_steps_from_the_epochs_start():
    sampler = _sampler(n_harmful=12, steps_per_rollout=2)  # 3 steps of 4
    steps = _steps(_sampler(n_harmful=12))
    assert sampler.steps_per_epoch == 4
    assert list(sampler) == (steps[0] + steps[1]) * 2 + (steps[2] + steps[0]) * 2


def test_of_several_processes_each_is_handed_its_part_of_every_step_of_a_block():
    first, second, *_ = _steps(_sampler(benign_per_step=2, twin_of=TWIN_OF))
    rows = list(_sampler(benign_per_step=2, twin_of=TWIN_OF, steps_per_rollout=2, n_processes=2))
    assert rows[:4] == first[:2] + second[:2]  # TRL gives the first half of the block to the first process
    assert rows[4:8] == first[2:] + second[2:]
    assert rows[8:16] == rows[:8]


@pytest.mark.parametrize("changes", [{}, {**BLOCKS, "steps_per_rollout": 2}])
def test_a_fresh_sampler_set_to_an_epoch_goes_on_as_one_that_ran_there(changes):
    went_through = _sampler(**changes)
    orders = [_steps(went_through, epoch) for epoch in range(3)]
    assert _steps(_sampler(**changes), 2) == orders[2]
    assert orders[0] != orders[1] != orders[2]


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"n_micro": 3},
        {"benign_per_step": 1, "rollouts_per_request": 2},
        {**BLOCKS, "steps_per_rollout": 3},
        {"steps_per_rollout": 2, "n_processes": 2, "twin_of": TWIN_OF, "benign_per_step": 2},
    ],
)
def test_the_length_is_the_number_of_rows_yielded(change):
    sampler = _sampler(**change)
    assert len(sampler) == len(list(sampler))


def test_rollouts_and_evaluations_show_a_request_the_same_nearest_cases():
    config, pack = load_config(["cases_by=similarity", "benign_frac=0"]), load_pack("builtin")
    asked = [Request(str(n), f"How do I track phone number {n}?", "hate", True, "mine") for n in range(16)]
    rows = rollout_dataset(config, asked, [], pack)
    wanted = [conversation(request.text, None, config.prompt, pack) for request in asked]
    assert rows["prompt"][:] == wanted and {len(messages) for messages in wanted} == {7}
    assert rows["learn_prompt"][0] == wanted[0][-1:]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["benign_frac=0.5"],
            "2 harmful requests to train on are fewer than the 16 per step; write 21 more pairs of a hazard, or lower",
        ),
        (["benign_frac=0.5", "n_train=4"], "; raise n_train, or lower requests_per_step"),
        (
            ["benign_frac=0.9375"],
            "1 harmless requests to train on are fewer than the 30 per step; lower benign_frac, or lower",
        ),
    ],
)
def test_a_step_of_more_requests_than_there_are_is_refused(words, said):
    config = load_config(["requests_per_step=32", *words])
    harmful = [Request(f"h{n}", "How do I ...?", "fraud", True, "mine") for n in range(2)]
    harmless = [Request("b0", "How do I ...?", "fraud", False, "mine")]
    with pytest.raises(UserError, match=said):
        rollout_dataset(config, harmful, harmless, load_pack("builtin"))


def test_a_steps_last_pairs_are_those_whose_first_token_alone_is_sampled():
    # three pairs, two of them short, two rollouts each; the sampler yields the harmful requests, then their twins
    of_kind = [False, False, True, True, True, True]
    assert first_tok_only(3, 3, (2, 2), rollouts_per_request=2) == [*of_kind, *of_kind]
    assert first_tok_only(4, 0, (1, 0), rollouts_per_request=1) == [False, False, False, True]
    assert not any(first_tok_only(2, 2, (0, 0), rollouts_per_request=1))
