"""The memory plan: parts by hand, what each lever does to it, and measured peaks."""

from __future__ import annotations

import pytest

from benchmarks.trainers import SHAPES
from cada_trl.config import Config, load_config
from cada_trl.planning import memory
from cada_trl.planning.device import accelerators, n_machines, zero_stage
from cada_trl.planning.memory import MemoryPlan, plan_memory
from cada_trl.planning.shapes import CHAT_TOK, Lengths, Shape, longest, read_shape, shape_of

SMALL = Shape(vocab=1000, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate=128, tied=True)
LENGTHS = Lengths(rollout_prompt_tok=30, learn_prompt_tok=10, completion_tok=20)


def planned(*overrides: str) -> MemoryPlan:
    config = load_config([*overrides])
    return plan_memory(config, shape_of(config.model))


def test_a_full_float32_run_by_hand() -> None:
    words = ["requests_per_step=8", "micro_batch=4", "benign_frac=0", "steps_per_rollout=1"]
    plan = plan_memory(load_config(words), SMALL, LENGTHS)
    n = SMALL.n_params
    assert plan.held["weights"] == plan.held["reference"] == pytest.approx(4 * n / 1e9)
    assert plan.held["optimiser"] == pytest.approx(8 * n / 1e9)
    assert plan.learning["gradients"] == pytest.approx(4 * n / 1e9)
    # keys and values: 8 rows x 50 tokens x 2 layers x (32 + 32) numbers of 4 bytes
    assert plan.sampling["key-value cache"] == pytest.approx(8 * 50 * 2 * 64 * 4 / 1e9)
    # a token and layer: two norms of 3 x 64, attention 4 x 64, MLP 4 x 128 numbers; 4 rows x 30 tokens, 2 layers
    assert plan.learning["activations"] == pytest.approx(4 * 30 * 2 * (6 * 64 + 4 * 64 + 4 * 128) * 4 / 1e9)
    assert plan.peak_gb == pytest.approx(sum(plan.held.values()) + sum(plan.learning.values()))


# A step of eight rollouts, four of them harmless, on two processes of two micro-batches each.
ANCHORED = ["requests_per_step=8", "micro_batch=2", "benign_frac=0.5", "steps_per_rollout=1", "benign_tok=3"]
TWO_RANKS = ["n_processes=2", "launcher=accelerate", "accelerate_config=launch/cpu.yaml"]
A_TOKEN = 2 * 64 * 4  # bytes of keys and values: 2 layers x (32 + 32) numbers of 4


@pytest.mark.parametrize(
    ("words", "n_tok"),
    [
        ([], 4 * 50),  # the four judged ones, 30 + 20 tokens each; their anchors, sampled after them, are shorter
        (["benign_tok=null"], 8 * 50),
        (["steps_per_rollout=5"], 5 * 4 * 50),
        (TWO_RANKS, 4 * 50),  # the first process has all that are judged
        (["benign_frac=0.875"], 7 * (10 + 3)),  # one judged rollout beside seven raw anchors
        (["benign_frac=0.875", "benign_arm=same"], 7 * (30 + 3)),
        (["benign_tok=200"], 4 * 50),  # no completion is longer than max_new_tok
    ],
)
def test_the_cache_is_that_of_the_rollouts_sampled_side_by_side(words: list[str], n_tok: int) -> None:
    keys = {word.partition("=")[0] for word in words}
    config = load_config([*(word for word in ANCHORED if word.partition("=")[0] not in keys), *words])
    assert plan_memory(config, SMALL, LENGTHS).sampling["key-value cache"] == pytest.approx(n_tok * A_TOKEN / 1e9)


def test_learning_takes_the_same_however_many_steps_are_sampled_at_once() -> None:
    one, four = (plan_memory(load_config([*ANCHORED[:3], f"steps_per_rollout={n}"]), SMALL, LENGTHS) for n in (1, 4))
    assert one.learning == four.learning and one.held == four.held
    prompts = "one layer of the prompts"
    assert four.sampling[prompts] == pytest.approx(4 * one.sampling[prompts])


def test_a_single_micro_batch_never_holds_all_activations_beside_all_gradients() -> None:
    words = ["requests_per_step=8", "benign_frac=0", "micro_batch=8"]
    plan = plan_memory(load_config(words), SMALL, LENGTHS)
    assert (plan.learning["gradients"] == 0.0) != (plan.learning["activations"] == 0.0)


def test_lora_has_no_reference_and_the_optimiser_of_its_adapter() -> None:
    plan, shape = planned("peft=lora"), shape_of(load_config([]).model)
    assert plan.held["reference"] == 0.0
    assert plan.held["optimiser"] == pytest.approx(8 * shape.lora_params(16) / 1e9)


def test_without_a_kl_there_is_no_reference() -> None:
    assert planned("beta_kl=0.0", "benign_beta_kl=null", "sampled_by=policy").held["reference"] == 0.0


def test_zero3_splits_weights_gradients_and_optimiser_and_gathers_the_model_to_sample() -> None:
    plan, n = planned("model=llama3", "hardware=a100x4"), 8030261248
    assert plan.held["weights"] == pytest.approx(2 * n / 4 / 1e9)
    assert plan.held["optimiser"] == pytest.approx(12 * n / 4 / 1e9)
    assert plan.sampling["gathered weights"] == pytest.approx(2 * n / 1e9)


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_under_zero3_the_reference_s_head_is_held_whole_while_learning(adapter: str) -> None:
    words, live, head = ("model=llama3", "hardware=a100x4", f"peft={adapter}"), 10**9, 128256 * 4096
    assert planned(*words).learning["gathered weights"] == pytest.approx(2 * (live + head) / 1e9)
    without = planned(*words, "beta_kl=0.0", "benign_beta_kl=null")
    assert without.learning["gathered weights"] == pytest.approx(2 * live / 1e9)


def test_an_offloaded_optimiser_takes_no_memory_of_the_gpu_and_an_8b_model_fits_on_40_gb() -> None:
    words = ("model=llama3", "hardware=a100x4_40gb")
    split = planned(*words, "accelerate_config=launch/accelerate_zero3_4gpu.yaml")
    offloaded = planned(*words, "accelerate_config=launch/accelerate_zero3_offload_4gpu.yaml")
    assert split.held["optimiser"] == pytest.approx(12 * 8030261248 / 4 / 1e9)
    assert offloaded.held["optimiser"] == 0.0
    assert split.learning["gradients"] - offloaded.learning["gradients"] == pytest.approx(4 * 8030261248 / 4 / 1e9)
    assert (split.fits, offloaded.fits) == (False, True)


def test_zero2_keeps_the_weights_whole() -> None:
    plan = planned("model=llama3", "hardware=a100x4_40gb", "peft=lora")
    assert plan.held["weights"] == pytest.approx(2 * 8030261248 / 1e9)
    assert plan.sampling["gathered weights"] == 0.0


@pytest.mark.parametrize("words", [("model=llama3", "hardware=a100x4"), ("model=smollm2",)])
def test_checkpointing_a_smaller_micro_batch_and_shorter_completions_each_lower_learning(words: tuple[str]) -> None:
    shared = [*words, "gradient_checkpointing=false", "micro_batch=2"]
    base = sum(planned(*shared).learning.values())
    for lever in ("gradient_checkpointing=true", "micro_batch=1", "max_new_tok=40"):
        key = lever.partition("=")[0]
        assert sum(planned(*[w for w in shared if not w.startswith(key)], lever).learning.values()) < base, lever


def test_vllm_takes_its_share_of_the_card_and_its_weights_must_fit_into_it() -> None:
    plan = planned("model=llama3", "hardware=a100x4", "rollout=vllm_colocate")
    assert plan.held["vllm"] == pytest.approx(0.3 * 85.0)
    assert plan.refusal is None
    too_large = planned("model=llama3_70b", "hardware=a100x4", "rollout=vllm_colocate", "peft=lora")
    assert too_large.fits is False
    assert too_large.refusal == "vLLM's weights of 141 GB do not fit into its share of 26 GB"


def test_vllm_on_a_cpu_takes_weights_and_a_fixed_cache() -> None:
    from cada_trl.models.vllm import CPU_KV_CACHE_GIB

    assert memory.CPU_KV_CACHE_GIB == CPU_KV_CACHE_GIB
    kept_and_packed = 2 * 4 * 0.1345
    assert planned("rollout=vllm_colocate").held["vllm"] == pytest.approx(0.4 + kept_and_packed + 2 * 1.0737, abs=0.01)


def test_scores_are_counted_by_the_tiles_that_are_made() -> None:
    from cada_trl.algo import scores

    assert (memory.TILE_TOK, memory.TILE_VOCAB) == (scores.TILE_TOK, scores.TILE_VOCAB)


def test_sampling_holds_packed_weights_on_a_cpu_only() -> None:
    assert planned().sampling["packed weights"] == pytest.approx(4 * 0.1345, abs=0.001)
    assert planned("bf16=true").sampling["packed weights"] == pytest.approx(2 * 0.1345, abs=0.001)
    assert planned("model=llama3", "hardware=a100x4").sampling["packed weights"] == 0


def test_an_adapter_is_merged_on_gathered_weights_before_it_goes_to_vllm() -> None:
    words = ("model=llama3", "hardware=a100x4", "rollout=vllm_colocate")
    assert planned(*words, "peft=lora").sampling["gathered weights"] == pytest.approx(16.06, abs=0.01)
    assert planned(*words).sampling["gathered weights"] == pytest.approx(128256 * 4096 * 2 / 1e9)


def test_an_unknown_gpu_is_neither_fitting_nor_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "memory_a_process_gb", lambda hardware: None)
    assert planned("hardware=gpu").fits is None


def test_a_peak_within_the_usable_part_fits() -> None:
    def plan(gb: float) -> MemoryPlan:
        return MemoryPlan({"weights": gb}, {"cache": 1.0}, {"activations": 2.0}, 100.0)

    assert plan(90.0).peak_gb == 92.0
    assert plan(90.0).fits
    assert not plan(90.1).fits


def test_the_longest_sequences_hold_the_cases_only_where_they_are_sampled_on() -> None:
    config: Config = load_config([])
    lengths = longest(config)
    assert lengths.learn_prompt_tok == config.data.max_prompt_tok + CHAT_TOK
    assert lengths.rollout_prompt_tok > lengths.learn_prompt_tok + 100
    on_rollout = longest(load_config(["learn_on=rollout"]))
    assert on_rollout.learn_prompt_tok == on_rollout.rollout_prompt_tok


def test_every_card_that_a_hardware_can_name_has_its_data() -> None:
    named = load_config(["accelerator=h100_80gb"]).hardware
    for card in accelerators():
        assert load_config([f"accelerator={card}"]).hardware.accelerator == card
    assert named.accelerator in accelerators()


@pytest.mark.parametrize(
    ("hardware", "stage", "machines"), [("cpu", 0, 1), ("a100x4", 3, 1), ("a100x4_40gb", 2, 1), ("a100x16", 3, 2)]
)
def test_the_launch_file_says_how_the_model_is_split(hardware: str, stage: int, machines: int) -> None:
    settings = load_config(["model=llama3", f"hardware={hardware}"]).hardware
    assert (zero_stage(settings), n_machines(settings)) == (stage, machines)


# Peaks of whole processes on two CPU cores, GB (docs/running.md has the commands).
WITHIN = 0.15
SMOLLM2 = shape_of(load_config([]).model)
TINY = read_shape(SHAPES["tiny"])
RUN, PRESET = Lengths(313, 45, 64), Lengths(64, 64, 96)
MEASURED = [
    (TINY, PRESET, ["micro_batch=8"], 0.566),
    (SMOLLM2, PRESET, ["micro_batch=2"], 4.110),
    (SMOLLM2, PRESET, ["micro_batch=8"], 4.780),
    (SMOLLM2, RUN, ["micro_batch=4"], 4.265),
    (SMOLLM2, RUN, ["micro_batch=4", "bf16=true"], 4.506),
    (SMOLLM2, RUN, ["micro_batch=8", "bf16=true"], 4.364),
    (SMOLLM2, RUN, ["micro_batch=4", "peft=lora"], 2.615),
    (SMOLLM2, RUN, ["micro_batch=4", "peft=lora", "bf16=true"], 2.357),
    (SMOLLM2, RUN, ["micro_batch=8", "gradient_checkpointing=true"], 3.709),
    (SMOLLM2, RUN, ["micro_batch=4", "rollout=vllm_colocate"], 7.816),
    (SMOLLM2, RUN, ["micro_batch=4", "rollout=vllm_colocate", "bf16=true"], 7.345),
]


@pytest.mark.parametrize(("shape", "lengths", "words", "peak_gb"), MEASURED)
def test_the_plan_is_within_15_percent_of_the_measured_peak(
    shape: Shape, lengths: Lengths, words: list[str], peak_gb: float
) -> None:
    config = load_config(["requests_per_step=8", "benign_frac=0", "steps_per_rollout=1", *words])
    assert plan_memory(config, shape, lengths).peak_gb == pytest.approx(peak_gb, rel=WITHIN)
