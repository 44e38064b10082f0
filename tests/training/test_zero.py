"""DeepSpeed's ZeRO-2 and ZeRO-3 on two gloo ranks: what is learned, saved, decoded and resumed equals one process."""

import importlib.util

import pytest
import torch
from peft import PeftModel

from . import zero_run
from .preset_run import distance, load, weights
from .two_ranks import on_two_ranks

# Float32 sums in another order, and AdamW's steps of 1e-3 in the direction of their sign.
TOLERANCE = 2e-5

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="needs the extra [deepspeed]"),
]


@pytest.fixture(scope="module", params=[2, 3], ids=["zero2", "zero3"])
def ranks(request, tiny_folder, tmp_path_factory):
    """(stage, folder, what each rank ends with) of every case of zero_run."""
    output = tmp_path_factory.mktemp(f"zero{request.param}")
    on_two_ranks("-m", zero_run.__name__, tiny_folder, str(output), str(request.param))
    return request.param, output, [torch.load(output / f"rank{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.fixture(scope="module")
def one(tiny_folder, tmp_path_factory):
    """The same cases in this process, without DeepSpeed."""
    folder = tmp_path_factory.mktemp("one")
    cases = {"full": zero_run.full, "lora": zero_run.lora}
    return {name: case(tiny_folder, folder / name, micro=(8, 1)) for name, case in cases.items()}


@pytest.mark.parametrize("case", ["full", "lora"])
def test_two_ranks_learn_what_one_process_does(ranks, one, case):
    for end in (rank[case] for rank in ranks[2]):
        assert distance(end["weights"], one[case]["weights"]) < TOLERANCE
        assert end["mean"] == pytest.approx(one[case]["mean"])
        assert end["beta"] == pytest.approx(one[case]["beta"], rel=1e-4)
        assert end["kl"] == pytest.approx(one[case]["kl"], rel=1e-4, abs=1e-6)
        assert end["grad_norm"] == pytest.approx(one[case]["grad_norm"], rel=1e-4)
        assert end["kl"][0] == 0.0 < end["kl"][1]


def test_zero3_leaves_no_weight_whole_between_steps(ranks):
    stage, _, ends = ranks
    for case in ("full", "lora"):
        n_whole = sum(parameter.numel() for parameter in ends[0][case]["weights"].values())
        assert ends[0][case]["local"] == (0 if stage == 3 else n_whole)


def test_a_resumed_run_ends_as_the_uninterrupted_one(ranks):
    for end in ranks[2]:
        assert distance(end["resumed"]["weights"], end["full"]["weights"]) == 0.0
        assert end["resumed"]["mean"] == end["full"]["mean"]


def test_the_saved_model_loads_without_deepspeed_and_is_the_trained_one(ranks):
    _, output, ends = ranks
    assert distance(weights(load(str(output / "full" / "final"))), ends[0]["full"]["weights"]) == 0.0


def test_the_saved_adapter_loads_without_deepspeed_and_is_the_trained_one(ranks, tiny_folder):
    _, output, ends = ranks
    saved = weights(PeftModel.from_pretrained(load(tiny_folder), output / "lora" / "final"))
    assert distance(saved, ends[0]["lora"]["weights"]) == 0.0


@pytest.mark.parametrize("case", ["full", "lora"])
def test_the_references_weights_are_hashed_whole_before_and_after(ranks, one, case):
    for end in ranks[2]:
        assert set(end[case]["hashes"]) == set(one[case]["hashes"])
        assert len(set(end[case]["hashes"])) == 1


def test_a_float32_model_that_zero2_rounds_to_bfloat16_is_no_changed_reference(ranks):
    stage, _, ends = ranks
    for end in (rank["lora_bf16"] for rank in ends):
        rounded = {weight.dtype for weight in end["weights"].values()} == {torch.bfloat16}
        assert rounded == (stage == 2)
        assert len(set(end["hashes"])) == 1
        assert end["kl"][0] == 0.0 < end["kl"][1]


def test_rotary_tables_are_not_rounded_with_the_weights(ranks, tiny_folder):
    exact = dict(load(tiny_folder).named_buffers())
    for tables in (rank["rotary"][model] for rank in ranks[2] for model in ("policy", "reference")):
        assert tables.keys() == exact.keys() and all(torch.equal(tables[name], exact[name]) for name in exact)
        assert {table.dtype for table in tables.values()} == {torch.float32}


def test_ranks_that_make_different_numbers_of_calls_decode_and_read_what_one_process_does(ranks):
    _, output, ends = ranks
    model = load(str(output / "full" / "final")).eval()
    for rank, end in enumerate(ends):
        assert end["full"]["answers"] == zero_run.decoded(model, rank)
        assert end["full"]["nll_nats"] == pytest.approx(zero_run.nll_nats(model, rank))
