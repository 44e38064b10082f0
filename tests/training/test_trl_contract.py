"""What training/cada.py relies on inside TRL. A failure here means: read TRL's changes before moving the pin."""

import inspect

import pytest
import torch
import trl
from accelerate.data_loader import DataLoaderShard
from trl import GRPOConfig, GRPOTrainer

from cada_trl.training.cada import CADATrainer

from .preset_run import request_rows, stock_trainer
from .tiny import EOT, tiny_tokenizer


def test_trl_is_the_version_whose_internals_were_read():
    assert trl.__version__.startswith("1.16.")


SIGNATURES = {
    "_get_train_sampler": "dataset",
    "_calculate_rewards": "inputs prompts completions completion_ids_list",
    "_generate_and_score_completions": "inputs",
    "_generate_single_turn": "prompt_ids images multimodal_fields num_generations has_tool_images",
    "_tokenize_prompts": "prompts",
    "_get_per_token_logps_and_entropies": (
        "model input_ids attention_mask logits_to_keep batch_size compute_entropy compute_aux_loss pixel_values "
        "image_grid_thw num_images pixel_attention_mask spatial_shapes num_tiles image_sizes token_type_ids "
        "mm_token_type_ids image_position_ids"
    ),
    "_prepare_inputs": "generation_batch",
    "_compute_loss": "model inputs",
    "log": "logs start_time",
    "_save_checkpoint": "model trial",
    "_load_optimizer_and_scheduler": "checkpoint",
}


@pytest.mark.parametrize("method", SIGNATURES)
def test_a_method_that_is_overridden_or_called_has_the_parameters_that_were_read(method):
    assert " ".join(inspect.signature(getattr(GRPOTrainer, method)).parameters) == f"self {SIGNATURES[method]}"


def _overridden():
    ours = {name for name, value in vars(CADATrainer).items() if inspect.isfunction(value) and name[:2] != "__"}
    return {name for name in ours if hasattr(GRPOTrainer, name)}


def test_every_override_is_among_the_signatures_that_were_read():
    assert _overridden() <= set(SIGNATURES)
    assert len(_overridden()) >= 8


@pytest.mark.parametrize("method", sorted(_overridden()))
def test_an_override_can_be_called_as_trl_calls_the_original(method):
    trls, ours = (inspect.signature(getattr(owner, method)) for owner in (GRPOTrainer, CADATrainer))
    ours.bind(*trls.parameters)
    ours.bind(*[name for name, parameter in trls.parameters.items() if parameter.default is inspect.Parameter.empty])


@pytest.fixture
def stock(tiny_folder, tmp_path):
    """A stock trainer with a KL penalty, not yet trained."""
    return stock_trainer(tiny_folder, tmp_path, lambda completions, **_: [0.0] * len(completions), beta=0.1)


def test_the_rollouts_come_as_a_dict_of_these_tensors(stock):
    stock.model.train()
    rollouts = stock._generate_and_score_completions([row for row in request_rows(4) for _ in range(2)])
    assert set(rollouts) == {
        "prompt_ids",
        "prompt_mask",
        "completion_ids",
        "completion_mask",
        "advantages",
        "num_items_in_batch",
        "ref_per_token_logps",
    }
    assert rollouts["completion_ids"].shape == rollouts["completion_mask"].shape
    assert rollouts["prompt_ids"].shape[0] == rollouts["completion_ids"].shape[0] == 8


def test_with_beta_zero_after_the_start_trl_scores_no_reference(build):
    trainer, _ = build()
    trainer.model.train()
    rollouts = trainer._generate_and_score_completions([row for row in request_rows(4) for _ in range(2)])
    assert trainer.ref_model is not None
    assert "ref_per_token_logps" not in rollouts
    assert "old_per_token_logps" not in rollouts


def test_prompts_are_tokenised_with_the_turn_to_answer_opened(stock):
    ids, images, fields = stock._tokenize_prompts([row["learn_prompt"] for row in request_rows(2)])
    assert (images, set(fields)) == (None, set())
    assert tiny_tokenizer().decode(ids[0]).replace(" ", "") == "<bos>userw0w1<eot>assistant"


def test_the_attributes_that_are_used_are_there(stock):
    assert (stock._step, stock._buffered_inputs) == (0, None)
    assert EOT in stock.eos_token_ids
    assert stock.num_generations == 2
    assert stock.max_completion_length == 6
    assert stock.ref_model is not None


def test_rewards_come_back_gathered_as_rows_by_functions(stock):
    inputs = [dict(row) for row in request_rows(2)]
    rewards = stock._calculate_rewards(
        inputs, [row["prompt"] for row in inputs], [[{"content": "w1"}]] * 2, [[8, 2]] * 2
    )
    assert rewards.shape == (2, 1)
    assert rewards.dtype == torch.float32


def test_the_loss_is_left_unscaled_by_the_number_of_micro_batches(stock):
    # transformers divides a step's loss by the accumulation steps unless this says that the trainer did it
    assert stock.model_accepts_loss_kwargs is False or stock.loss_is_scaled_for_ga is True


def test_the_defaults_that_docs_and_tests_speak_of_hold(tmp_path):
    arguments = GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False)
    assert arguments.loss_type == "dapo"
    assert arguments.scale_rewards == "group"
    assert arguments.use_bias_correction_kl is True
    assert arguments.max_completion_length == 512
    assert arguments.num_iterations == 1
    assert arguments.remove_unused_columns is False
    assert arguments.steps_per_generation == arguments.gradient_accumulation_steps


def test_trl_still_refuses_one_rollout_a_request(tmp_path):
    with pytest.raises(ValueError, match="at least 2 generations"):
        GRPOConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, num_generations=1)


def test_accelerate_tells_the_sampler_its_epoch():
    assert "set_epoch" in inspect.getsource(DataLoaderShard.set_epoch)


@pytest.mark.parametrize("steps_per_rollout", [1, 3])
def test_a_generation_holds_the_micro_batches_of_the_steps_that_are_sampled_at_once(build, steps_per_rollout):
    trainer, _ = build(micro=(4, 2), steps_per_rollout=steps_per_rollout)
    assert trainer.args.steps_per_generation == 2 * steps_per_rollout
    assert trainer.args.generation_batch_size == 8 * steps_per_rollout
    assert trainer.args.num_generations == trainer.num_generations == 2


def test_rollouts_that_do_not_make_whole_groups_are_refused(build):
    with pytest.raises(ValueError, match="groups of 3"):
        build(rollouts_per_request=3)


def test_gradient_checkpointing_turns_the_shared_prefix_off(build):
    assert build(gradient_checkpointing=True)[0].args.share_prefix is False
