"""A model's shape: from the table, from a config.json; its parameters and a step's operations by hand, and its time."""

import json

import pytest

from benchmarks.trainers import SHAPES
from cada_trl.config import CONF_DIR, load_config
from cada_trl.errors import UserError
from cada_trl.planning.shapes import (
    PREFILL_EFFICIENCY,
    TRANSFORMERS_TOKEN_S,
    Lengths,
    Shape,
    estimate_step,
    longest,
    read_shape,
    rollout_tflop,
    shape_of,
    update_tflop,
)

MODELS = sorted(file.stem for file in (CONF_DIR / "model").glob("*.yaml"))
SMALL = Shape(vocab=10, hidden=4, layers=2, heads=2, kv_heads=1, head_dim=2, intermediate=6, tied=True)


@pytest.mark.parametrize("name", MODELS)
def test_a_shape_gives_the_parameters_that_the_models_file_states(name):
    model = load_config([f"model={name}"]).model
    assert shape_of(model).n_params == model.n_params


def test_parameters_are_counted_by_hand():
    # a layer: q and o 4x4, k and v 4x2, three 4x6 matrices, two norms of 4; then a norm, and an embedding of 10x4
    layer = 2 * 16 + 2 * 8 + 3 * 24 + 8
    assert SMALL.n_params == 2 * layer + 4 + 40
    assert SMALL.matmul_params == SMALL.n_params
    # rank 3: q 4+4, k and v 4+2 each, o 4+4, gate, up and down 4+6 each
    assert SMALL.lora_params(3) == 2 * 3 * (8 + 6 + 6 + 8 + 30)


def test_a_config_json_is_read():
    read = read_shape({**SHAPES["smollm2"], "tie_word_embeddings": True})
    assert read == shape_of(load_config([]).model)


def test_an_older_config_json_has_as_many_key_heads_as_heads():
    older = {key: value for key, value in SHAPES["smollm2"].items() if key != "num_key_value_heads"}
    assert read_shape(older).kv_heads == SHAPES["smollm2"]["num_attention_heads"]


def test_a_folder_is_described_by_its_own_file_whatever_it_is_called(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(SHAPES["tiny"]), encoding="utf-8")
    model = load_config(["source=folder", f"path={tmp_path}"]).model
    assert model.name == "smollm2"
    assert shape_of(model).hidden == SHAPES["tiny"]["hidden_size"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "not known here"),
        ("{}", "does not say"),
        ("{", "is not a JSON object"),
        (json.dumps(SHAPES["tiny"] | {"num_local_experts": 8}), "no plan of a mixture of experts; train runs it"),
    ],
)
def test_a_folder_without_a_shape_is_one_clear_line(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        shape_of(load_config(["source=folder", f"path={tmp_path}"]).model)


MEDIUM = Shape(vocab=1000, hidden=64, layers=2, heads=4, kv_heads=2, head_dim=16, intermediate=128, tied=True)
LENGTHS = Lengths(rollout_prompt_tok=30, learn_prompt_tok=10, completion_tok=20)


BATCH, ANCHORED = "requests_per_step=8 micro_batch=2", "benign_frac=0.25 benign_tok=3"


@pytest.mark.parametrize(
    ("words", "a_weight", "learned_tok", "sampled_tok"),
    [
        # eight rollouts: learned on 10 + 20 tokens, sampled on 30 + 20
        ("benign_frac=0 beta_kl=0.0 benign_beta_kl=null sampled_by=policy", 6, 8 * 30, 8 * 50),
        ("benign_frac=0", 8, 8 * 30, 8 * 50),
        ("benign_frac=0 gradient_checkpointing=true", 10, 8 * 30, 8 * 50),
        ("benign_frac=0 peft=lora", 6, 8 * 30, 8 * 50),
        # six judged ones and two anchors of 3 tokens after the raw request of 10, or after the prompt of 30
        (ANCHORED, 8, 6 * 30 + 2 * 13, 6 * 50 + 2 * 13),
        (f"{ANCHORED} benign_arm=same", 8, 6 * 30 + 2 * 13, 6 * 50 + 2 * 33),
        # of six harmful requests three are whole, of two harmless ones one; the others end after their first token
        (f"{ANCHORED} first_tok_frac=0.5", 8, 3 * 30 + 13 + 4 * 11, 3 * 50 + 13 + 4 * 31),
    ],
)
def test_operations_of_a_step_by_weight_and_token(words, a_weight, learned_tok, sampled_tok):
    config = load_config([*BATCH.split(), *words.split()])
    assert update_tflop(config, MEDIUM, LENGTHS) == pytest.approx(a_weight * MEDIUM.n_params * learned_tok / 1e12)
    assert rollout_tflop(config, MEDIUM, LENGTHS) == pytest.approx(2 * MEDIUM.n_params * sampled_tok / 1e12)


def _step(*words):
    config = load_config([*words])
    step = estimate_step(config, shape_of(config.model))
    assert step is not None
    return step


def test_ranks_of_one_machine_share_its_cores(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    two = ("launcher=accelerate", "accelerate_config=launch/cpu.yaml", "n_processes=2", "micro_batch=4")
    assert _step(*two, "threads=0").update_s == pytest.approx(_step("threads=0").update_s)
    assert _step(*two, "threads=1").update_s == pytest.approx(2 * _step("threads=0").update_s)


def _decoding_s(*words):
    """Seconds that a step's sampling takes beyond its operations, on a card."""
    words = ("model=llama3", "hardware=a100x4", "rollout=transformers", *words)
    config = load_config([*words])
    n_tflop = rollout_tflop(config, shape_of(config.model), longest(config))
    return _step(*words).rollouts_s - n_tflop / (312 * 4 * PREFILL_EFFICIENCY)


def test_the_rollouts_of_several_steps_are_decoded_side_by_side():
    assert _decoding_s() == pytest.approx(TRANSFORMERS_TOKEN_S * load_config(["model=llama3"]).rollout.max_new_tok)
    assert _decoding_s("steps_per_rollout=5", "save_every_steps=5") == pytest.approx(_decoding_s() / 5)


def test_anchors_are_decoded_after_the_others():
    more = _decoding_s("benign_frac=0.5", "benign_tok=8") - _decoding_s("benign_frac=0.5")
    assert more == pytest.approx(8 * TRANSFORMERS_TOKEN_S)


def test_twice_the_rollouts_take_twice_the_update():
    one, two = (_step("model=llama3", "hardware=a100x4", f"rollouts_per_request={n}") for n in (1, 2))
    assert two.update_s == pytest.approx(2 * one.update_s)


def test_decoding_cannot_be_faster_than_the_weights_are_read():
    words = ["model=llama3_70b", "hardware=a100x16", "rollout=vllm_colocate"]
    assert _step(*words).rollouts_s > load_config(words).rollout.max_new_tok * 139e9 / 2039e9


def test_a_gpu_that_is_not_named_has_no_estimate():
    config = load_config(["model=llama3", "hardware=gpu"])
    assert estimate_step(config, shape_of(config.model)) is None
