"""The memory plan: parts by hand, what each lever does to it, measured peaks, and the nearest change that fits."""

import re
import shlex
from pathlib import Path

import pytest

from benchmarks.trainers import SHAPES
from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.planning import memory
from cada_trl.planning.device import accelerators, n_machines, zero_stage
from cada_trl.planning.memory import MemoryPlan, nearest_fit, plan_memory
from cada_trl.planning.shapes import CHAT_TOK, Lengths, Shape, longest, read_shape, shape_of

SMALL = Shape(vocab=1000, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate=128, tied=True)
NO_PROBES = "n_probe_harmful=0 n_probe_harmless=0 n_header_pairs=0"
LENGTHS = Lengths(rollout_prompt_tok=30, learn_prompt_tok=10, completion_tok=20)


def planned(*overrides):
    config = load_config([*overrides])
    return plan_memory(config, shape_of(config.model))


def test_a_full_float32_run_by_hand():
    words = ["requests_per_step=8", "micro_batch=4", "benign_frac=0", "steps_per_rollout=1"]
    plan = plan_memory(load_config([*words, *NO_PROBES.split()]), SMALL, LENGTHS)
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
TWO_RANKS = "n_processes=2 launcher=accelerate accelerate_config=launch/cpu.yaml"
A_TOKEN = 2 * 64 * 4  # bytes of keys and values: 2 layers x (32 + 32) numbers of 4
VLLM = "rollout=vllm_colocate"


@pytest.mark.parametrize(
    ("words", "n_tok"),
    [
        # the four judged ones, 30 + 20 tokens each; their anchors, sampled after them, are shorter
        (NO_PROBES, 4 * 50),
        (f"{NO_PROBES} benign_tok=null", 8 * 50),
        (f"{NO_PROBES} steps_per_rollout=5", 5 * 4 * 50),
        (f"{NO_PROBES} {TWO_RANKS}", 4 * 50),  # the first process has all that are judged
        (f"{NO_PROBES} benign_frac=0.875", 7 * (10 + 3)),  # one judged rollout beside seven raw anchors
        (f"{NO_PROBES} benign_frac=0.875 benign_arm=same", 7 * (30 + 3)),
        # at the first token, more than two judged ones of 30 + 20
        (f"{NO_PROBES} first_tok_frac=0.5", 6 * (30 + 1)),
        (f"{NO_PROBES} benign_tok=200", 4 * 50),  # no completion is longer than max_new_tok
        (f"{NO_PROBES} {VLLM}", 0),
        # a probe's batch: raw requests of 10 tokens, completions of 20; more than four rollouts of 50
        ("probe_batch=20", 20 * 30),
        (f"probe_batch=20 {VLLM}", 20 * 30),  # vLLM samples no probe
        (f"probe_batch=20 n_probe_harmful=9 n_probe_harmless=3 {VLLM}", 9 * 30),
        (f"probe_batch=20 {TWO_RANKS}", 20 * 30),  # every process answers all of them
        ("probe_batch=5", 4 * 50),
    ],
)
def test_the_cache_is_that_of_the_most_rollouts_or_probes_sampled_side_by_side(words, n_tok):
    keys = {word.partition("=")[0] for word in words.split()}
    kept = [word for word in ANCHORED if word.partition("=")[0] not in keys]
    plan = plan_memory(load_config([*kept, *words.split()]), SMALL, LENGTHS)
    assert plan.sampling["key-value cache"] == pytest.approx(n_tok * A_TOKEN / 1e9)


def test_learning_takes_the_same_however_many_steps_are_sampled_at_once():
    words = [*ANCHORED[:3], *NO_PROBES.split()]
    one, four = (plan_memory(load_config([*words, f"steps_per_rollout={n}"]), SMALL, LENGTHS) for n in (1, 4))
    assert one.learning == four.learning and one.held == four.held
    prompts = "one layer of the prompts"
    assert four.sampling[prompts] == pytest.approx(4 * one.sampling[prompts])


def test_a_single_micro_batch_never_holds_all_activations_beside_all_gradients():
    words = ["requests_per_step=8", "benign_frac=0", "micro_batch=8"]
    plan = plan_memory(load_config(words), SMALL, LENGTHS)
    assert (plan.learning["gradients"] == 0.0) != (plan.learning["activations"] == 0.0)


N, HEAD, LIVE = 8030261248, 128256 * 4096, 10**9  # of Llama 3 8B; DeepSpeed's live parameters
SMOLLM2_N = 134515008
LORA_N = shape_of(load_config([]).model).lora_params(16)
ZERO3, ZERO2 = "model=llama3 hardware=a100x4", "model=llama3 hardware=a100x4_40gb"
LLAMA3_LORA_N = shape_of(load_config(["model=llama3"]).model).lora_params(16)
NO_KL = "beta_kl=0.0 benign_beta_kl=null"


@pytest.mark.parametrize(
    ("words", "phase", "part", "n_bytes"),
    [
        # LoRA has no reference and the optimiser of its adapter; without a KL there is no reference
        ("peft=lora", "held", "reference", 0),
        ("peft=lora", "held", "optimiser", 8 * LORA_N),
        (f"{NO_KL} sampled_by=policy", "held", "reference", 0),
        # ZeRO-3 splits weights and optimiser and gathers the model to sample; ZeRO-2 keeps the weights whole
        (ZERO3, "held", "weights", 2 * N / 4),
        (ZERO3, "held", "optimiser", 12 * N / 4),
        (ZERO3, "sampling", "gathered weights", 2 * N),
        (f"{ZERO2} peft=lora", "held", "weights", 2 * N),
        (f"{ZERO2} peft=lora", "sampling", "gathered weights", 0),
        # while learning under ZeRO-3 the reference's head is held whole
        (ZERO3, "learning", "gathered weights", 2 * (LIVE + HEAD)),
        (f"{ZERO3} peft=lora", "learning", "gathered weights", 2 * (LIVE + HEAD)),
        (f"{ZERO3} {NO_KL}", "learning", "gathered weights", 2 * LIVE),
        (f"{ZERO3} peft=lora {NO_KL}", "learning", "gathered weights", 2 * LIVE),
        # an adapter goes to vLLM alone, other weights one by one; a probe gathers the model
        (f"{ZERO3} {VLLM} peft=lora {NO_PROBES}", "sampling", "gathered weights", 2 * LLAMA3_LORA_N),
        (f"{ZERO3} {VLLM} {NO_PROBES}", "sampling", "gathered weights", 2 * HEAD),
        (f"{ZERO3} {VLLM} peft=lora {NO_PROBES} n_header_pairs=1", "sampling", "gathered weights", 2 * N),
        # vLLM takes its share of a card; on a CPU its libraries, kept and packed weights, and a fixed cache
        (f"{ZERO3} {VLLM}", "held", "vllm", 0.3 * 85e9),
        (VLLM, "held", "vllm", 0.4e9 + 2 * 4 * SMOLLM2_N + 2 * 2**30),
        # sampling holds packed weights on a CPU only
        ("", "sampling", "packed weights", 4 * SMOLLM2_N),
        ("bf16=true", "sampling", "packed weights", 2 * SMOLLM2_N),
        (ZERO3, "sampling", "packed weights", 0),
    ],
)
def test_a_part_takes_what_its_parameters_take(words, phase, part, n_bytes):
    assert getattr(planned(*words.split()), phase)[part] == pytest.approx(n_bytes / 1e9, rel=2e-3)


def test_an_offloaded_optimiser_takes_no_memory_of_the_gpu_and_an_8b_model_fits_on_40_gb():
    words = ("model=llama3", "hardware=a100x4_40gb")
    split = planned(*words, "accelerate_config=launch/accelerate_zero3_4gpu.yaml")
    offloaded = planned(*words, "accelerate_config=launch/accelerate_zero3_offload_4gpu.yaml")
    assert split.held["optimiser"] == pytest.approx(12 * 8030261248 / 4 / 1e9)
    assert offloaded.held["optimiser"] == 0.0
    assert split.learning["gradients"] - offloaded.learning["gradients"] == pytest.approx(4 * 8030261248 / 4 / 1e9)
    assert (split.fits, offloaded.fits) == (False, True)


@pytest.mark.parametrize("words", [("model=llama3", "hardware=a100x4"), ("model=smollm2",)])
def test_checkpointing_a_smaller_micro_batch_and_shorter_completions_each_lower_learning(words):
    shared = [*words, "gradient_checkpointing=false", "micro_batch=2"]
    base = sum(planned(*shared).learning.values())
    for lever in ("gradient_checkpointing=true", "micro_batch=1", "max_new_tok=40"):
        key = lever.partition("=")[0]
        assert sum(planned(*[w for w in shared if not w.startswith(key)], lever).learning.values()) < base, lever


def test_vllm_s_weights_must_fit_into_its_share():
    assert planned(*ZERO3.split(), VLLM).refusal is None
    too_large = planned("model=llama3_70b", "hardware=a100x4", VLLM, "peft=lora")
    assert too_large.fits is False
    assert too_large.refusal == "vLLM's weights of 141 GB do not fit into its share of 26 GB"


def test_what_other_rooms_hold_is_counted_as_they_hold_it():
    from cada_trl.algo import scores

    assert (memory.TILE_TOK, memory.TILE_VOCAB) == (scores.TILE_TOK, scores.TILE_VOCAB)


def test_an_unknown_gpu_is_neither_fitting_nor_not(monkeypatch):
    monkeypatch.setattr(memory, "memory_a_process_gb", lambda hardware: None)
    assert planned("hardware=gpu").fits is None


def test_a_peak_within_the_usable_part_fits():
    def plan(gb):
        return MemoryPlan({"weights": gb}, {"cache": 1.0}, {"activations": 2.0}, 100.0)

    assert plan(90.0).peak_gb == 92.0
    assert plan(90.0).fits
    assert not plan(90.1).fits


def test_the_longest_sequences_hold_the_cases_only_where_they_are_sampled_on():
    config = load_config([])
    lengths = longest(config)
    assert lengths.learn_prompt_tok == config.data.max_prompt_tok + CHAT_TOK
    assert lengths.rollout_prompt_tok > lengths.learn_prompt_tok + 100
    on_rollout = longest(load_config(["learn_on=rollout"]))
    assert on_rollout.learn_prompt_tok == on_rollout.rollout_prompt_tok


def test_every_card_that_a_hardware_can_name_has_its_data():
    named = load_config(["hardware=gpu", "accelerator=h100_80gb"]).hardware
    for card in accelerators():
        assert load_config(["hardware=gpu", f"accelerator={card}"]).hardware.accelerator == card
    assert named.accelerator in accelerators()


@pytest.mark.parametrize(
    ("hardware", "stage", "machines"), [("cpu", 0, 1), ("a100x4", 3, 1), ("a100x4_40gb", 2, 1), ("a100x16", 3, 2)]
)
def test_the_launch_file_says_how_the_model_is_split(hardware, stage, machines):
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
def test_the_plan_is_within_15_percent_of_the_measured_peak(shape, lengths, words, peak_gb):
    config = load_config(["requests_per_step=8", "benign_frac=0", "steps_per_rollout=1", *words, *NO_PROBES.split()])
    assert plan_memory(config, shape, lengths).peak_gb == pytest.approx(peak_gb, rel=WITHIN)


TOO_LARGE = [
    ["model=llama3"],
    ["model=llama3", "hardware=a100x4_40gb"],
    ["model=deepthought", "hardware=a100x4_40gb", "rollout=vllm_colocate"],
    ["model=llama3", "hardware=gpu", "accelerator=a100_40gb", "micro_batch=8", "rollout=vllm_colocate"],
    ["model=llama3", "hardware=a100x4", "gradient_checkpointing=false", "micro_batch=16"],
]


@pytest.mark.parametrize("overrides", TOO_LARGE, ids=" ".join)
def test_the_change_fits_when_it_is_typed_after_the_runs_own_words(overrides):
    config = load_config(overrides)
    shape = shape_of(config.model)
    assert plan_memory(config, shape).fits is False
    found = nearest_fit(config, shape)
    assert found is not None
    words, plan = found
    changed = load_config([*overrides, *shlex.split(words)])
    assert plan.fits
    assert plan_memory(changed, shape) == plan


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (TOO_LARGE[-1], "gradient_checkpointing=true"),  # what only costs time comes before other hardware and LoRA
        (["model=llama3_70b", "hardware=a100x4"], None),
        (["model=llama3_70b", "hardware=a100x4", "rollout=vllm_server", "peft=lora"], NO_PROBES),
    ],
)
def test_the_cheapest_change_comes_first_and_nothing_is_promised_where_nothing_fits(overrides, words):
    config = load_config(overrides)
    found = nearest_fit(config, shape_of(config.model))
    assert (found and found[0]) == words


def test_a_change_that_the_configuration_refuses_is_passed_over():
    """24 rollouts cannot be cut into micro-batches of 7, 5 or over 16 processes."""
    config = load_config(["model=llama3", "hardware=a100x4_40gb", "requests_per_step=24"])
    found = nearest_fit(config, shape_of(config.model))
    assert found is not None and "a100x16" not in found[0]


def documented():
    """(model, training, rollout, hardware, what its cell says) of the table in docs/running.md."""
    page = (Path(__file__).parents[2] / "docs" / "running.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| model \| training .*(?:\n\|.*)+", page, re.MULTILINE)[0].splitlines()
    header, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(*row[:3], name, cell) for row in rows for name, cell in zip(header[3:], row[3:], strict=True)]


@pytest.mark.parametrize(("model", "training", "rollout", "hardware", "said"), documented())
def test_the_documentation_says_what_a_gpu_needs(model, training, rollout, hardware, said):
    training, _, probes = training.partition(", ")
    peft = "none" if training == "full" else training
    words = NO_PROBES.split() if probes else []
    try:
        plan = planned(f"model={model}", f"peft={peft}", f"rollout={rollout}", f"hardware={hardware}", *words)
    except UserError:  # 16 rollouts of SmolLM2's step over 16 processes of two each
        assert said == "refused"
    else:
        assert said == f"{plan.peak_gb:.0f} GB {'fits' if plan.fits else 'too large'}"
