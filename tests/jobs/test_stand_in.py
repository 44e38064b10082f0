"""What stands in for a model and its GPUs: the same tokenizer and launch file, few layers and another device."""

import json
from pathlib import Path

import pytest
import yaml
from end_to_end.tiny_model import save_tiny_model
from models.conftest import model_config

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.jobs.stand_in import LAYERS, save_launch_file, save_stand_in
from cada_trl.models.load import load_policy, load_tokenizer

DEEPTHOUGHT = ["model=deepthought", "hardware=a100x4"]


def test_the_small_model_has_the_models_own_tokenizer_and_config_but_for_its_size(tmp_path):
    own = model_config(path=str(save_tiny_model(tmp_path / "own", rms_norm_eps=1e-4)), dtype="bfloat16")
    said = save_stand_in(own, tmp_path / "small")
    assert f"config.json of {own.path}; vocabulary 260, {LAYERS} layers, width 64" in said
    small = own.model_copy(update={"path": str(tmp_path / "small")})
    tokenizer, policy = load_tokenizer(small), load_policy(small, load_tokenizer(small))
    assert tokenizer.chat_template == load_tokenizer(own).chat_template
    assert tokenizer("Wie weit?")["input_ids"] == load_tokenizer(own)("Wie weit?")["input_ids"]
    kept = ("vocab_size", "max_position_embeddings", "tie_word_embeddings", "rms_norm_eps", "bos_token_id")
    theirs = load_policy(own, load_tokenizer(own)).config
    assert [getattr(policy.config, key) for key in kept] == [getattr(theirs, key) for key in kept]
    assert (policy.config.num_hidden_layers, policy.config.num_key_value_heads) == (LAYERS, 1)
    assert str(policy.dtype) == "torch.bfloat16"


def test_a_model_whose_layers_are_others_is_one_line(tmp_path):
    own = model_config(path=str(save_tiny_model(tmp_path / "own")), dtype="bfloat16")
    file = tmp_path / "own" / "config.json"
    file.write_text(
        json.dumps(json.loads(file.read_text()) | {"model_type": "phi3", "architectures": ["Phi3ForCausalLM"]})
    )
    with pytest.raises(UserError, match=r"is a phi3, of which no small one is made here: not rehearsed$"):
        save_stand_in(own, tmp_path / "small")


def test_the_launch_file_keeps_all_but_device_and_machines(tmp_path):
    config = load_config(["model=llama3", "hardware=a100x16"])
    save_launch_file(config, 4, tmp_path / "launch.yaml")
    own = yaml.safe_load(Path("launch/accelerate_zero3_2x8gpu.yaml").read_text())
    small = yaml.safe_load((tmp_path / "launch.yaml").read_text())
    assert small == {**own, "use_cpu": True, "num_machines": 1, "num_processes": 4}
    # a file that does not fit the run's processes stays one
    save_launch_file(load_config([*DEEPTHOUGHT, "n_processes=2"]), 1, tmp_path / "launch.yaml")
    assert yaml.safe_load((tmp_path / "launch.yaml").read_text())["num_processes"] == 2
