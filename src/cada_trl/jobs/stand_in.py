"""What stands in for a model and its GPUs in a rehearsal: a small one of the same tokenizer, a launch file on CPUs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.config import Config, ModelConfig
from cada_trl.errors import UserError
from cada_trl.models.checks import QUESTION
from cada_trl.models.llama3 import FAMILIES, llama3_tokenizer
from cada_trl.models.load import check_hub, load_tokenizer, resolve_model
from cada_trl.models.prompts import request_ids
from cada_trl.planning.device import launch_file
from cada_trl.planning.shapes import shape_of
from cada_trl.storage.files import replace_yaml, whole, writing
from cada_trl.storage.reading import read_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LAYERS, WIDTH, HEAD_DIM = 2, 64, 32  # vLLM's kernels begin at heads of 32
# What the weights spell, no token of it twice; each is as likely as e^LEAD_NATS times all other tokens together.
ANSWER, LEAD_NATS = "#Analysis It harms people. ### Final Response I'm sorry, but you can't have that", 3.0
_LLAMA3_1_ROPE = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


def save_stand_in(model: ModelConfig, folder: Path) -> str:
    """Write a model as `source=folder` reads it and say what it is made of.

    Its tokenizer and config.json are the model's own where they can be had, with few and narrow layers. Its weights are
    random, but that it often spells ANSWER and ends: stop token, parser and reward then have something to read.
    Errors: UserError for a tokenizer that is not here, as load_tokenizer and llama3_tokenizer, and for a model whose
    layers are not as Llama's.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    own = _own_files(model)
    if own is None:
        tokenizer, values, source = llama3_tokenizer(model.name), _llama_values(model), "the wheel llama-models"
        tokenizer.pad_token = model.pad  # load_tokenizer looks for both again
    else:
        tokenizer, values, source = load_tokenizer(model), own, str(model.path)
    small = AutoConfig.for_model(values.pop("model_type"), **values | _small(values))
    torch.manual_seed(0)
    policy = AutoModelForCausalLM.from_config(small, dtype=getattr(torch, model.dtype))
    if not hasattr(getattr(policy.model.layers[0], "mlp", None), "gate_proj"):
        raise UserError(f"{model.path} is a {small.model_type}, of which no small one is made here: not rehearsed")
    with torch.no_grad():
        starts = {request_ids(tokenizer, QUESTION)[-1], _ids(tokenizer, "\n")[-1]}  # with Deepthought's own form
        _spell(policy, starts, [*_ids(tokenizer, ANSWER), tokenizer.eos_token_id])
    policy.generation_config.eos_token_id = values.get("eos_token_id")
    with writing(folder), whole(folder) as partial:
        policy.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    config = f"config.json of {source}" if own else "config.json written here from planning/assets/shapes.yaml"
    n_params = sum(weight.numel() for weight in policy.parameters())
    return (
        f"tokenizer of {source}, {len(tokenizer):,} tokens; {config}; vocabulary {small.vocab_size:,}, "
        f"{LAYERS} layers, width {small.hidden_size}, {n_params / 1e6:.0f} M random parameters in {model.dtype}"
    )


def _own_files(model: ModelConfig) -> dict[str, Any] | None:
    """The model's own config.json; None where the hub cannot be reached and its tokenizer comes from elsewhere."""
    from transformers import AutoConfig

    if model.source == "hub":
        try:
            check_hub(model.path, model.revision)
        except UserError:
            if model.name not in FAMILIES:
                raise
            return None
    revision = {"revision": model.revision or "main"} if model.source == "hub" else {}
    config = AutoConfig.from_pretrained(resolve_model(model), trust_remote_code=model.trust_remote_code, **revision)
    return {"model_type": config.model_type, **config.to_dict()}


def _llama_values(model: ModelConfig) -> dict[str, Any]:
    """config.json of a model of FAMILIES, from its published shape: Llama 3's ends and positions, or 3.1's."""
    shape, is_3_1 = shape_of(model), model.name == "deepthought"
    return {
        "model_type": "llama",
        "vocab_size": shape.vocab,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "tie_word_embeddings": shape.tied,
        "max_position_embeddings": 131072 if is_3_1 else 8192,
        "rms_norm_eps": 1e-5,
        "rope_parameters": {"rope_theta": 500000.0, **(_LLAMA3_1_ROPE if is_3_1 else {"rope_type": "default"})},
        "bos_token_id": 128000,
        "eos_token_id": [128001, 128008, 128009] if is_3_1 else [128001, 128009],
    }


def _small(values: dict[str, Any]) -> dict[str, Any]:
    """As many query heads a key head as the model has, and a width of at least WIDTH that they and eight divide."""
    heads = values["num_attention_heads"] // (values.get("num_key_value_heads") or values["num_attention_heads"])
    width = -(-WIDTH // math.lcm(heads, 8)) * math.lcm(heads, 8)
    small = {
        "hidden_size": width,
        "intermediate_size": width,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": heads,
        "num_key_value_heads": 1,
        "head_dim": HEAD_DIM,
    }
    return small | ({"layer_types": values["layer_types"][:LAYERS]} if values.get("layer_types") else {})


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _spell(policy: Any, starts: set[int], answer: list[int]) -> None:
    """Let each token call the next: place n of the width is the n-th token's, in its embedding and in its row of the
    head, and the first layer moves what stands at place n to n + 1."""
    embedding, head = policy.get_input_embeddings().weight, policy.get_output_embeddings().weight
    n_tok, width = embedding.shape
    spike = (math.log(n_tok) + LEAD_NATS) / math.sqrt(width)
    mlp = policy.model.layers[0].mlp
    embedding[list(starts), 0] += spike
    for place, token in enumerate(answer[: width - 1], start=1):
        for rows in (embedding,) if embedding is head else (embedding, head):
            rows[token, place] += spike
        mlp.gate_proj.weight[place - 1, place - 1] = mlp.up_proj.weight[place - 1, place - 1] = 1.0
        mlp.down_proj.weight[place, place - 1] = 1.0


def save_launch_file(config: Config, n_ranks: int, file: Path) -> None:
    """The run's launch file with its device and machines changed, and of its processes as many as the machine holds."""
    settings = read_yaml(launch_file(config.hardware))
    of_each = config.hardware.n_processes // n_ranks
    changed = {"use_cpu": True, "num_machines": 1, "num_processes": settings["num_processes"] // of_each}
    replace_yaml(file, {key: value for key, value in settings.items() if key != "gpu_ids"} | changed)
