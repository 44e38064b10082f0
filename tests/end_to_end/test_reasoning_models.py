"""Qwen3 and Qwen2 (R1) through a run: tiny, random, their template with <think> in the generation prompt."""

import json

import pytest
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

from cada_trl import evaluate, train
from cada_trl.config import CONF_DIR
from cada_trl.planning.shapes import read_shape
from cada_trl.records import read_jsonl

from .tiny_model import TEMPLATE, tiny_overrides, tiny_tokenizer

CLASSES = {"qwen2": (Qwen2Config, Qwen2ForCausalLM), "qwen3": (Qwen3Config, Qwen3ForCausalLM)}
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 16}
SHAPE = {"num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 2048}
TOKENS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}


def save(folder, kind):
    """Weights and tokenizer; returns the number of parameters."""
    torch.manual_seed(0)
    config_class, model_class = CLASSES[kind]
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = TEMPLATE.replace("'assistant: '", "'assistant: <think>\\n'")
    config = config_class(vocab_size=len(tokenizer), initializer_range=0.2, **SIZES, **SHAPE, **TOKENS)
    model = model_class(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return sum(weight.numel() for weight in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", CLASSES)
def test_it_is_trained_and_asked_with_its_own_tags(tmp_path, kind):
    n_params = save(tmp_path / "model", kind)
    described = json.loads((tmp_path / "model" / "config.json").read_text(encoding="utf-8"))
    assert read_shape(described).n_params == n_params
    assert train.main([*tiny_overrides(tmp_path, tmp_path / "model"), "reasoning_as=think"]) == 0
    run = tmp_path / "runs" / "tiny"
    facts = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["tokenizer_facts"]
    assert "the generation prompt is 'assistant: '" in facts
    assert "<think>" not in AutoTokenizer.from_pretrained(run / "final").chat_template
    assert all("probe/twins/header_auc" in row for _, row in read_jsonl(run / "probes.jsonl"))
    words = [f"model={run}", "benchmarks=twins_harmful", "attacks=none", "limit=2", "max_new_tok=8", "threads=1"]
    assert evaluate.main([*words, f"evals_dir={tmp_path / 'evals'}", "min_coverage=0"]) == 0


def test_every_reasoning_model_asks_for_its_tags_and_shows_cases_in_the_policy():
    files = [file.read_text(encoding="utf-8") for file in (CONF_DIR / "model").glob("*.yaml")]
    thinking = [text for text in files if "reasoning model" in text.splitlines()[1]]
    assert len(thinking) == 6
    assert all("reasoning_as: think" in text and "cases_as: policy" in text for text in thinking)
