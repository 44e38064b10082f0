"""Two gloo ranks against one process."""

import pytest
import torch

from .preset_run import distance, trained_state
from .two_ranks import on_two_ranks

SHARED = {"kl": "exact", "baseline": "running", "target_kl_nats": 0.01}
CASES = {
    "plain": {**SHARED, "n_requests": 4},
    # each step two harmful requests and their twins: the first rank has what is judged, the second has the anchors
    "anchors": {
        **SHARED,
        "n_requests": 8,
        "n_harmless": 4,
        "benign_per_step": 2,
        "benign_tok": 2,
        "first_tok_per_step": (1, 1),
        "benign_beta_kl": 2.0,
        "twin_of": {0: 4, 1: 5, 2: 6, 3: 7},
        "steps_per_rollout": 2,
        "max_steps": 4,
    },
}
SCRIPT = """
import sys
from pathlib import Path
import torch
from training.preset_run import trained_state
from training.test_two_ranks import CASES

folder, output = sys.argv[1:]
ends = {name: trained_state(folder, Path(output) / name, micro=(2, 2), **case) for name, case in CASES.items()}
if torch.distributed.get_rank() == 0:
    torch.save(ends, Path(output) / "ranks.pt")
"""
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ranks(tiny_folder, tmp_path_factory):
    """What the first of two ranks ends with, of every case."""
    folder = tmp_path_factory.mktemp("two")
    script = folder / "ranks.py"
    script.write_text(SCRIPT)
    on_two_ranks(str(script), tiny_folder, str(folder))
    return torch.load(folder / "ranks.pt", weights_only=False)


@pytest.mark.parametrize("case", CASES)
def test_two_ranks_learn_what_one_process_does(ranks, tiny_folder, tmp_path, case):
    two, one = ranks[case], trained_state(tiny_folder, tmp_path, micro=(8, 1), **CASES[case])
    assert distance(two["weights"], one["weights"]) < 1e-6
    assert two["mean"] == pytest.approx(one["mean"])
    assert two["beta"] == pytest.approx(one["beta"])
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["requests"] == one["requests"]


def test_over_two_ranks_a_step_holds_its_own_requests_and_their_twins(ranks):
    for asked in ranks["anchors"]["requests"]:
        rows = sorted({int(request[1:]) for request in asked})
        assert len(asked) == 8 and rows[2:] == [row + 4 for row in rows[:2]]
