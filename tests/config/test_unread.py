"""Keys that the other choices leave unread: each is refused where it would be ignored, and only there."""

from __future__ import annotations

import pytest

from cada_trl.config import Config, load_config
from cada_trl.config.loading import leaf_paths
from cada_trl.config.unread import UNREAD
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import EvaluateConfig, UtilityConfig, load_evaluate_config
from cada_trl.jobs.grid import SweepConfig


def test_the_table_names_keys_that_are_there() -> None:
    schemas = (Config, EvaluateConfig, UtilityConfig, SweepConfig)
    known = {path for schema in schemas for path in leaf_paths(schema).values()}
    named = {word.partition("=")[0].rstrip("!") for conditions in UNREAD for word in conditions.split()}
    assert named | {key for keys in UNREAD.values() for key in keys.split()} <= known


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("hub_id=x", "hub_id=x: nothing reads it with data=twins; leave it out, or change data"),
        ("classifier=llm", "classifier=llm: nothing reads it with data=twins"),
        ("data=jsonl file=a classifier=llm", "classifier=llm: nothing reads it with data=jsonl"),
        ("data=beavertails file=a hub_split=x", "nothing reads it with data=beavertails file=a"),
        ("licence=MIT", "nothing reads it with data=twins file=null"),
        ("decontaminate_n_gram=5", "benchmarks_dir=null"),
        ("revision=main", "source=embedded"),
        ("prompt=none n_cases=2", "n_cases=2: nothing reads it with prompt=none"),
        ("prompt=codes hint=false", "prompt=codes"),
        ("base_url=http://a/v1", "nothing reads it with judge=phrases"),
        ("judge=wildguard max_retries=1", "judge=wildguard base_url=null"),
        ("judge=classifier base_url=http://a/v1", "nothing reads it with judge=classifier"),
        ("benign_frac=0 benign_tok=8", "benign_tok=8: nothing reads it with benign_frac=0"),
        ("baseline=batch baseline_rate=0.5", "baseline=batch"),
        ("lr_schedule=constant warmup_frac=0.2", "lr_schedule=constant"),
        ("epochs=2", "nothing reads it with max_steps=150; leave it out, or change max_steps"),
        ("server_url=http://a:1", "nothing reads it with rollout=transformers; leave it out, or change rollout"),
        ("rollout=vllm_colocate server_url=http://a:1", "rollout=vllm_colocate"),
        ("rollout=vllm_colocate tensor_parallel=2", "rollout=vllm_colocate"),
        ("accelerate_config=launch/cpu.yaml", "launcher=python"),
        ("rank=8", "nothing reads it with peft=none"),
        ("tracking=local wandb_project=x", "wandb=off local_tracker=none"),
        ("kl_jump=off kl_jump_factor=9", "kl_jump=off"),
    ],
)
def test_a_value_that_nothing_reads_is_refused(words: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        load_config(words.split())
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    "words",
    [
        "file=a licence=MIT",
        "judge=wildguard base_url=http://a:1/v1 max_retries=1",
        "data=beavertails classifier=llm base_url=http://a/v1 llm=b",
        "epochs=2 max_steps=null",
        "peft=lora rank=8",
        "tracking=trackio wandb_project=x",
        "rollout=vllm_server server_url=http://a:1",
        "benign_frac=0 benign_tok=16",  # what the files say anyway
        "server_url=null",
        "recipe=smollm2/cada benign_frac=0",
    ],
)
def test_a_value_that_is_read_or_says_nothing_new_is_taken(words: str) -> None:
    assert load_config(words.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("seed=1", "seed=1: nothing reads it with limit=null"),
        ("n_gpu=2", "n_gpu=2: nothing reads it with backend=transformers"),
        ("backend=vllm batch_tok=9", "backend=vllm"),
        ("n_streams=2", "attacker_llm=null"),
    ],
)
def test_an_evaluation_refuses_them_too(words: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load_evaluate_config(words.split())
