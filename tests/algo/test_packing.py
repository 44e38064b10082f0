"""Where tokens lie in a packed micro-batch, and what an order costs."""

import random

import pytest
import torch

from cada_trl.algo.packing import learned_rows, micro_batch_order, micro_batches, pack, shared_prefix, tokens_of

CPU = torch.device("cpu")


def _scored_tok(order, prompts, completions, size):
    """Tokens that run through the model: counted on the packed micro-batches themselves."""
    total = 0
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        packed = pack([prompts[b] for b in chosen], [completions[b] for b in chosen], True, CPU)
        total += packed.prefix_l.numel() + packed.row_bs.numel()
    return total


def _rollouts(seed):
    """Eight rows of three hazards: a long prefix per hazard, then a request and a completion of any length."""
    draw = random.Random(seed)
    prompts, completions = [], []
    for _ in range(8):
        hazard = draw.randrange(3)
        prompts.append([1, *[10 + hazard] * (5 + 4 * hazard), *draw.choices(range(20, 40), k=draw.randint(1, 9))])
        completions.append(draw.choices(range(40, 60), k=draw.randint(1, 12)))
    return prompts, completions


PROMPTS, COMPLETIONS = [[1, 2, 3], [1, 2, 4, 5]], [[7, 8], [9]]


def test_the_shared_prefix_is_held_once_and_the_rest_is_padded_right():
    packed = pack(PROMPTS, COMPLETIONS, True, CPU)
    assert packed.prefix_l.tolist() == [1, 2]
    assert packed.row_bs.tolist() == [[3, 7, 8], [4, 5, 9]]


def test_every_completion_token_is_read_one_place_before_its_own():
    packed = pack(PROMPTS, COMPLETIONS, True, CPU)
    assert packed.label_n.tolist() == [7, 8, 9]
    assert packed.row_n.tolist() == [0, 0, 1]
    assert packed.at_n.tolist() == [0, 1, 1]
    assert packed.row_bs[packed.row_n, packed.at_n + 1].tolist() == packed.label_n.tolist()


def test_without_sharing_every_row_is_whole():
    packed = pack(PROMPTS, COMPLETIONS, False, CPU)
    assert packed.prefix_l.numel() == 0
    assert packed.row_bs.tolist() == [[1, 2, 3, 7, 8], [1, 2, 4, 5, 9]]


def test_completions_that_start_alike_are_not_taken_for_the_prompt():
    packed = pack([[1, 2], [1, 2]], [[7, 8], [7, 9]], True, CPU)
    assert packed.prefix_l.tolist() == [1]


def test_to_bt_puts_every_token_at_its_place_and_zero_elsewhere():
    packed = pack(PROMPTS, COMPLETIONS, True, CPU)
    assert packed.to_bt(torch.tensor([0.1, 0.2, 0.3]), 3).tolist() == [
        pytest.approx([0.1, 0.2, 0.0]),
        pytest.approx([0.3, 0.0, 0.0]),
    ]


def test_to_bt_passes_the_gradient_on():
    packed = pack([[1, 2], [1, 3]], [[7, 8], [9]], True, CPU)
    value_n = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (packed.to_bt(value_n, 2) * torch.tensor([[1.0, 10.0], [100.0, 1000.0]])).sum().backward()
    assert value_n.grad is not None
    assert value_n.grad.tolist() == [1.0, 10.0, 100.0]


def test_tokens_of_reads_rows_padded_on_either_side():
    ids_bt = torch.tensor([[3, 5, 6], [7, 8, 3]])
    assert tokens_of(ids_bt, torch.tensor([[0, 1, 1], [1, 1, 0]])) == [[5, 6], [7, 8]]


@pytest.mark.parametrize(
    ("prompts", "length"),
    [
        ([[1, 2, 3], [1, 2, 4]], 2),
        ([[1, 2], [1, 2, 3]], 1),
        ([[1], [2]], 0),
        ([[1], [1]], 0),
        ([[1, 2, 3], [1, 2, 3]], 2),
        ([[5, 6]], 1),
        ([[2, 9], [2, 1], [2, 5]], 1),
    ],
)
def test_the_shared_prefix_is_the_longest_that_leaves_every_prompt_its_last_token(prompts, length):
    assert shared_prefix(prompts) == length


@pytest.mark.parametrize("size", [1, 2, 3, 8])
@pytest.mark.parametrize("seed", range(12))
def test_the_order_holds_every_row_once_and_of_two_the_one_that_runs_fewer_tokens_is_taken(seed, size):
    prompts, completions = _rollouts(seed)
    order = micro_batch_order(range(8), prompts, completions, size, True)
    assert sorted(order) == list(range(8))
    by_length = sorted(range(8), key=lambda b: len(prompts[b]) + len(completions[b]))
    by_prompt = sorted(range(8), key=lambda b: (prompts[b], len(completions[b])))
    costs = [_scored_tok(rows, prompts, completions, size) for rows in (by_length, by_prompt, list(range(8)))]
    assert _scored_tok(order, prompts, completions, size) == min(costs)  # nor do the rows as they come run fewer


@pytest.mark.parametrize(
    ("share_prefix", "hazards", "lengths"),
    [(True, (10, 11, 10, 11), (30, 30, 30, 30)), (False, (10, 10, 11, 11), (30, 4, 30, 4))],
)
def test_rows_of_a_hazard_or_without_shared_prefixes_of_a_length_share_a_micro_batch(share_prefix, hazards, lengths):
    prompts = [[1, *[hazard] * n, 9] for hazard, n in zip(hazards, lengths, strict=True)]
    order = micro_batch_order(range(4), prompts, [[40], [41], [42], [43]], 2, share_prefix)
    assert {frozenset(order[:2]), frozenset(order[2:])} == {frozenset({0, 2}), frozenset({1, 3})}


@pytest.mark.parametrize(
    ("least", "fillers"),
    [(1, []), (3, []), (4, [1]), (9, [1, 4])],  # rows 1 and 4 have no advantage and are not kept
)
def test_rows_without_an_advantage_only_fill_up(least, fillers):
    advantages, kept = [2.0, 0.0, 0.0, -1.0, 1e-12], [False, False, True, False, False]
    assert learned_rows(advantages, kept, least) == ([0, 2, 3], fillers)


@pytest.mark.parametrize(
    ("rows", "size", "least", "sizes"),
    [
        (range(8), 3, 1, [2, 3, 3]),
        ([6, 1, 4], 4, 1, [3]),  # the others are in none
        ([6, 1, 4], 4, 2, [1, 2]),  # the fullest is cut where there must be more
        ([6, 1, 4], 4, 3, [1, 1, 1]),
    ],
)
def test_each_micro_batch_has_its_rows_values_and_every_row_is_in_one(rows, size, least, sizes):
    prompts, completions = _rollouts(0)
    batches = micro_batches(prompts, completions, {"advantages": torch.arange(8.0)}, size, True, CPU, rows, least)
    assert sorted(len(batch["rows"]) for batch in batches) == sizes
    assert sorted(row for batch in batches for row in batch["rows"]) == sorted(rows)
    for batch in batches:
        assert batch["advantages"].tolist() == batch["rows"]
        assert torch.bincount(batch["packed"].row_n).tolist() == [len(completions[row]) for row in batch["rows"]]
