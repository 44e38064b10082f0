"""Real sampling: the shared cases change nothing, and whose completions are learned from is as it was asked."""

import pytest
import torch
from peft import LoraConfig
from torch.utils._python_dispatch import TorchDispatchMode
from trl import GRPOTrainer

from cada_trl.models import cpu_decoding, cpu_weights
from cada_trl.training import cada, scoring_head
from cada_trl.training.cada import CADATrainer

from .preset_run import cada_trainer, distance, request_rows, weights
from .tiny import tiny_llama, tiny_tokenizer


def _lora(**changes):
    return LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", **changes)


@pytest.mark.parametrize("adapter", [None, _lora(init_lora_weights=False)])
def test_where_the_temperature_leaves_no_choice_rollouts_are_trls_own(build, adapter):
    torch.manual_seed(0)
    trainer, _ = build(trainer_class=CADATrainer, peft_config=adapter, max_completion_length=12, temperature=1e-4)
    trainer.model.train()
    trainer._rows = [row for row in request_rows(4) for _ in range(2)]
    prompt_ids = trainer._tokenize_prompts([row["prompt"] for row in trainer._rows])[0]
    drawn = []
    for sample in (CADATrainer._generate_single_turn, GRPOTrainer._generate_single_turn):
        torch.manual_seed(1)
        drawn.append(sample(trainer, prompt_ids, None, {}, 2)[0])
    assert drawn[0] == drawn[1]
    assert len({tuple(ids) for ids in drawn[0]}) > 1


class CastsOf(TorchDispatchMode):
    """Counts how often a weight is copied into another dtype."""

    def __init__(self, weight):
        super().__init__()
        self.address, self.n_casts = weight.data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() == self.address:
            self.n_casts += 1
        return func(*args, **(kwargs or {}))


@pytest.mark.slow
def test_in_bf16_a_weight_is_cast_once_for_all_tokens_and_still_learns(build):
    trainer, _ = build(trainer_class=CADATrainer, bf16=True, max_completion_length=12, learning_rate=1e-2)
    before = weights(trainer.model)
    trainer.train()  # from here on each forward call has an autocast of its own
    assert distance(before, weights(trainer.model)) > 1e-3
    with CastsOf(trainer.model.model.layers[0].mlp.up_proj.weight) as casts:
        said = trainer.sample([row for row in request_rows(4) for _ in range(2)], seed=1)
    assert max(map(len, said)) > 1 and casts.n_casts == 1


@pytest.mark.parametrize("seed", [1, 2])  # whose references were off by more than float32 rounds
def test_in_bf16_rounding_is_not_taken_for_another_architecture(tmp_path, seed):
    tiny_llama(seed).save_pretrained(tmp_path / "tiny")
    tiny_tokenizer().save_pretrained(tmp_path / "tiny")
    trainer, _ = cada_trainer(str(tmp_path / "tiny"), tmp_path / "run", trainer_class=CADATrainer, bf16=True)
    trainer.train()
    for model in (trainer.model, trainer.accelerator.unwrap_model(trainer.ref_model)):
        assert model.config._attn_implementation == scoring_head.NAME
    for sampling in (trainer.sampling_model, trainer.reference_model):
        with sampling() as model:
            assert model.config._attn_implementation == cpu_decoding.NAME


ROWS = request_rows(8).to_list()


@pytest.fixture
def sampler(build):
    """A trainer of eight requests; sampled_by, and whether it has an adapter."""

    def sampler(sampled_by, lora=False):
        values = {"trainer_class": CADATrainer, "n_requests": 8, "sampled_by": sampled_by}
        return build(peft_config=_lora() if lora else None, **values)[0]

    return sampler


def _move(trainer):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.5 * torch.randn_like(parameter))


@pytest.mark.parametrize("lora", [False, True])
def test_the_reference_samples_what_the_untrained_policy_did_however_far_the_policy_has_moved(sampler, lora):
    trainer, policy = sampler("reference", lora), sampler("policy", lora)
    first = policy.sample(ROWS, seed=3)
    for one in (trainer, policy):
        _move(one)
    assert trainer.sample(ROWS, seed=3) == first
    assert policy.sample(ROWS, seed=3) != first  # with the weights that it has now


def test_a_policy_is_whole_again_after_its_adapter_was_off_to_sample(sampler):
    trainer = sampler("reference", lora=True)
    _move(trainer)
    ids = torch.tensor([[7, 8, 9]])
    with torch.no_grad():
        before = trainer.model(input_ids=ids).logits
        trainer.sample(ROWS, seed=3)
        assert torch.equal(trainer.model(input_ids=ids).logits, before)


@pytest.mark.parametrize("training", [True, False])
def test_a_policy_samples_without_its_adapters_dropout_and_has_its_mode_back(build, training):
    adapter = _lora(lora_dropout=0.5, init_lora_weights=False)
    trainer, _ = build(trainer_class=CADATrainer, peft_config=adapter)
    trainer.model.train(training)
    ids = torch.tensor([[7, 8, 9]])
    with trainer.sampling_model() as model:
        assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)
    assert trainer.model.training is training


@pytest.mark.parametrize("sampled_by", ["policy", "reference"])
def test_a_model_that_samples_has_packed_weights_and_decoding_attention_and_has_its_own_back(
    sampler, sampled_by, monkeypatch
):
    trainer = sampler(sampled_by)
    seen = []

    def generate(model, prompts, *_):
        seen.append(("forward" in vars(model.model.layers[0].mlp.up_proj), model.config._attn_implementation))
        return [[7]] * len(prompts)

    monkeypatch.setattr(cada, "generate_with_shared_prefixes", generate)
    trainer.sample(ROWS, seed=3)
    assert seen == [(cpu_weights._takes(trainer.model.lm_head.weight), cpu_decoding.NAME)]
    assert "forward" not in vars(trainer.model.model.layers[0].mlp.up_proj)
    assert trainer.model.config._attn_implementation != cpu_decoding.NAME
