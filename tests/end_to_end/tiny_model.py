"""A Llama of two layers and a tokenizer of single bytes, made here in a moment: no hub, no download."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from cada_trl.hazards.pack import TWINS
from cada_trl.records import read_jsonl, write_jsonl

N_PAIRS_A_HAZARD = 12  # a third is probed, the rest is more than any tiny run trains on
_PLACE = TemporaryDirectory()  # until the tests end
SPECIAL = ["<pad>", "<bos>", "<eot>", "<end_of_text>"]
TEMPLATE = (
    "{{ '<bos>' }}{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '<eot>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


def tiny_tokenizer():
    """One token a byte, so that any text can be written and read."""
    from tokenizers import Tokenizer, decoders
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    letters = [*SPECIAL, *sorted(ByteLevel.alphabet())]
    backend = Tokenizer(BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    backend.pre_tokenizer = ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(SPECIAL)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<bos>", eos_token="<eot>", pad_token="<pad>", padding_side="left"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def tiny_model(seed=0, **changes):
    """Random weights, wide enough that two requests get two answers; changes are keys of its configuration."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    shape = {
        "vocab_size": len(tiny_tokenizer()),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    return LlamaForCausalLM(LlamaConfig(**shape | changes))


def save_tiny_model(folder, **changes):
    """Model and tokenizer as `source=folder` reads them."""
    tiny_model(**changes).save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


@cache
def few_twins():
    """A file of the first pairs of each hazard of the embedded ones, which take seconds to compare with one another."""
    pairs = {}
    rows = [row for _, row in read_jsonl(TWINS)]
    for row in rows:
        if row["harmful"]:
            pairs.setdefault(row["hazard"], []).append(row["pair"])
    few = {pair for of_hazard in pairs.values() for pair in of_hazard[:N_PAIRS_A_HAZARD]}
    path = Path(_PLACE.name) / "few_twins.jsonl"
    write_jsonl(path, (row for row in rows if row["pair"] in few))
    return path


def tiny_overrides(folder, model):
    """A whole run of seconds: few twins, two steps of four rollouts, a handful of probes, files under folder."""
    return [
        *(f"model.{key}={value}" for key, value in {"name": "tiny", "source": "folder", "path": str(model)}.items()),
        *("context_tok=2048", "eos='<eot>'", "pad='<pad>'", "n_params=40000"),
        *("data=twins", f"file={few_twins()}", "n_train=12", "prompt=no_cases", "max_new_tok=8"),
        *("requests_per_step=4", "steps_per_rollout=1", "max_steps=2", "baseline=none", "lr=1e-3", "warmup_frac=0.0"),
        *(
            "tracking=local",
            "probe_batch=8",
            "n_probe_harmful=4",
            "n_probe_harmless=4",
            "header_every_steps=1",
            "n_header_pairs=4",
            "save_every_steps=1",
        ),
        *(
            "micro_batch=2",
            "threads=1",
            "bf16=false",
            f"runs_dir={folder / 'runs'}",
            f"data_dir={folder / 'data'}",
            "run_name=tiny",
        ),
    ]
