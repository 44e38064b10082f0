"""Real vLLM in the trainer's process: weights follow, stale ones end the run, seeds are the step's."""

import json
import os
import subprocess
import sys

import pytest
from training.preset_run import cada_trainer
from training.tiny import tiny_llama, tiny_tokenizer

from cada_trl.errors import UserError
from cada_trl.rollouts.vllm_plugin import prepare_vllm

from .conftest import NEEDS_VLLM

pytestmark = NEEDS_VLLM

VLLM = {"use_vllm": True, "vllm_mode": "colocate", "vllm_max_model_length": 512, "learn_on": "rollout"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tiny model with heads that vLLM's CPU attention has a kernel for."""
    path = tmp_path_factory.mktemp("tiny")
    model = tiny_llama(head_dim=32)
    model.config.max_position_embeddings = 512
    model.save_pretrained(path)
    tiny_tokenizer().save_pretrained(path)
    return str(path)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A trainer with vLLM beside it, three steps of strong updates, and what it recorded."""
    from cada_trl.config import load_config
    from cada_trl.training.cada import CADATrainer

    prepare_vllm(load_config(["rollout=vllm_colocate"]))
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MASTER_PORT", raising=False)
        trainer, records = cada_trainer(
            folder,
            tmp_path_factory.mktemp("run"),
            n_requests=8,
            trainer_class=CADATrainer,
            rollouts_per_request=2,
            baseline="none",
            sgd_lr=0.5,
            importance_cap=2.0,
            **VLLM,
        )
        port = os.environ["MASTER_PORT"]
    trainer.train()
    return trainer, records, port


def test_both_programs_agree_after_each_sync_and_on_each_sampled_token(run):
    for _, metrics, rows in run[1]:
        assert metrics["train/sync_gap_nats"] < 1e-5
        assert metrics["train/sampler_gap_nats"] < 1e-4
        assert metrics["train/importance_capped_frac"] == metrics["train/importance_masked_frac"] == 0.0
        assert len(rows) == 8


def test_the_port_is_none_of_those_that_trl_would_try_in_another_run_too(run):
    assert run[2] not in {"29500", "23456", "12355", "12345"}


def test_rollouts_of_one_prompt_differ_and_a_step_does_not_repeat_another(run):
    steps = [[row["completion"] for row in rows] for _, _, rows in run[1]]
    assert steps[0] != steps[1] != steps[2]
    assert any(one != other for one, other in zip(steps[0][::2], steps[0][1::2], strict=True))


def test_the_same_seed_gives_the_same_rollouts_in_any_order(run):
    import torch

    generation = run[0].vllm_generation
    prompts = [[1, 20, 21], [1, 20, 22], [1, 30]]
    torch.manual_seed(7)
    once = generation.generate(prompts, None, 1)[1]
    assert generation.generate(prompts, None, 1)[1] == once
    assert generation.generate(prompts[::-1], None, 1)[1] == once[::-1]
    torch.manual_seed(8)
    assert generation.generate(prompts, None, 1)[1] != once


def test_a_prefix_that_rows_share_is_found_in_the_cache(run):
    generation = run[0].vllm_generation
    generation.step_metrics()
    shared = [1, *range(10, 60)] * 6  # 306 tokens: two whole blocks of the CPU build's 128
    generation.generate([[*shared, 51], [*shared, 52], [*shared, 53]], None, 1)
    assert generation.step_metrics()["train/prefix_hit_frac"] > 0.4


def test_weights_that_were_not_sent_end_the_run_in_one_line(run, monkeypatch):
    import torch

    trainer = run[0]
    monkeypatch.setattr(trainer.vllm_generation, "_iter_named_params", lambda: iter(()))
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.01)
    with pytest.raises(UserError, match="vLLM does not have the trainer's weights after a sync") as error:
        trainer.vllm_generation.sync_weights()
    assert "\n" not in str(error.value)


TWO_LONG_PROMPTS = """
import json, sys
from cada_trl.rollouts.vllm_plugin import set_environment
set_environment(cpu=True, in_training=False)
from vllm import SamplingParams
from cada_trl.rollouts.in_vllm import ColocatedLLM

size = {"max_model_len": 512, "max_num_batched_tokens": 512, "kv_cache_memory_bytes": 1 << 27}
llm = ColocatedLLM(
    sys.argv[1], whole_prompts=True, skip_tokenizer_init=True, enforce_eager=True, dtype="float32", **size
)
params = SamplingParams(max_tokens=4, seed=3, detokenize=False)
prompts = [{"prompt_token_ids": [1, *(4 + row * place % 59 for place in range(400))]} for row in (1, 2)]
said = [llm.generate(asked, params, use_tqdm=False)[0].outputs[0].token_ids for asked in (prompts, prompts[:1])]
print(json.dumps([list(ids) for ids in said]))
"""


def test_prompts_of_more_tokens_than_one_step_reads_have_the_rollouts_of_their_seeds(folder):
    # in a process of its own: an engine that ends takes along what others of the process need
    command = [sys.executable, "-c", TWO_LONG_PROMPTS, folder]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    beside_another, alone = json.loads(done.stdout.splitlines()[-1])
    assert beside_another == alone and len(alone) == 4
