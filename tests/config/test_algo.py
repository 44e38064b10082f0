"""The methods as they are chosen: every file composes, and a value that a method would ignore is refused."""

from importlib import import_module

import pytest

from cada_trl.config import CONF_DIR, load_config
from cada_trl.config.algo import METHODS, UNUSED
from cada_trl.training.run import BUILDERS

ALGOS = sorted(file.stem for file in (CONF_DIR / "algo").glob("*.yaml"))
SHARED = ("lr_schedule", "warmup_frac", "max_grad_norm", "benign_frac", "max_steps")


def test_every_method_has_a_builder_that_is_there():
    assert set(BUILDERS) == set(METHODS)
    for module, function in (builder.split(":") for builder in BUILDERS.values()):
        assert callable(getattr(import_module(module), function))


def test_every_key_that_a_method_may_leave_unread_is_one_of_the_section():
    keys = set(type(load_config([]).algo).model_fields)
    assert set(UNUSED) <= keys
    for method in METHODS.values():
        assert method.reads <= set(UNUSED) and set(method.fixed) <= set(UNUSED)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["smollm2", "llama3"])
def test_all_methods_have_one_budget_of_steps_and_sequences(model):
    from cada_trl.training.run import n_steps

    budgets = set()
    for algo in ALGOS:
        config = load_config([f"model={model}", f"algo={algo}"])
        sequences = config.algo.requests_per_step * config.algo.rollouts_per_request
        budgets.add((n_steps(config, 500), sequences, *(getattr(config.algo, key) for key in SHARED)))
    assert len(budgets) == 1


@pytest.mark.parametrize(
    ("algo", "arm", "method", "keep"),
    [
        ("sft_direct_refusal", "none", "sft", "complete"),
        ("sft_codes", "codes_of_hazard", "sft", "complete"),
        ("sft_cases", "cases", "sft", "complete"),
        ("rejection_sft", "cases", "sft", "reasoned_refusal"),
        ("dpo_cases", "cases", "dpo", "complete"),
    ],
)
def test_a_baseline_is_sampled_on_its_arm(algo, arm, method, keep):
    config = load_config([f"algo={algo}"])
    assert (config.prompt.arm, config.algo.method, config.algo.keep) == (arm, method, keep)


def test_an_arm_that_is_asked_for_wins_over_the_methods_own():
    assert load_config(["algo=sft_codes", "prompt=cases"]).prompt.arm == "cases"


@pytest.mark.slow
def test_the_labs_learning_rates_are_those_of_model_and_method():
    lrs = {
        (model, algo): load_config([f"model={model}", f"algo={algo}"]).algo.lr
        for model in ("llama3", "deepthought")
        for algo in ("sft_cases", "sft_codes", "dpo_cases")
    }
    assert lrs == {
        ("llama3", "sft_cases"): 2e-6,
        ("llama3", "sft_codes"): 1e-6,
        ("llama3", "dpo_cases"): 1e-6,
        ("deepthought", "sft_cases"): 5e-6,
        ("deepthought", "sft_codes"): 5e-6,
        ("deepthought", "dpo_cases"): 1e-6,
    }
    assert load_config(["model=deepthought", "algo=dpo_cases"]).algo.epochs == 6


def test_self_distillation_takes_cadas_batch_rate_and_weights_on_smollm2():
    cada, distilled = (load_config([f"algo={algo}"]).algo for algo in ("cada", "self_distillation"))
    keys = ("lr", "lr_schedule", "requests_per_step", "benign_frac", "benign_tok", "max_steps")
    for key in (*keys, "first_tok_weight", "rollouts_per_request"):
        assert getattr(distilled, key) == getattr(cada, key), key
    assert (distilled.kl_direction, distilled.has_kl) == ("symmetric", True)


def test_smollm2_samples_ten_steps_at_once_only_from_the_frozen_model():
    default, by_vllm, distilled = (
        load_config(words).algo for words in ([], ["rollout=vllm_colocate"], ["algo=self_distillation"])
    )
    assert (default.sampled_by, default.steps_per_rollout) == ("reference", 10)
    assert (by_vllm.sampled_by, by_vllm.steps_per_rollout) == ("policy", 1)
    assert (distilled.sampled_by, distilled.steps_per_rollout) == ("policy", 1)
