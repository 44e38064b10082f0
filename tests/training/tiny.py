"""A Llama of two layers and a word-level tokenizer, built in place: no hub, no download."""

import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

SPECIAL = ["<unk>", "<bos>", "<eot>", "<pad>"]
N_VOCAB = 64
BOS, EOT, PAD = 1, 2, 3
TEMPLATE = (
    "{{ '<bos>' }}{% for m in messages %}{{ m['role'] + ' ' + m['content'] + '<eot>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant ' }}{% endif %}"
)


def word_tokenizer(words, template, adds_bos=False):
    """A token a word, the special ones first; adds_bos: to plain text, as Llama 3's does."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(WordLevel({word: i for i, word in enumerate([*SPECIAL, *words])}, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    backend.add_special_tokens(SPECIAL)
    if adds_bos:
        backend.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token="<bos>", eos_token="<eot>", pad_token="<pad>"
    )
    tokenizer.chat_template = template
    return tokenizer


def tiny_tokenizer():
    """Words w0, w1, ...: text and ids tell each other at sight."""
    roles = ["user", "system", "assistant"]
    return word_tokenizer([*roles, *(f"w{n}" for n in range(N_VOCAB - len(SPECIAL) - len(roles)))], TEMPLATE)


def tiny_llama(seed=0, dtype=torch.float32, **changes):
    """Weights large enough that different tokens have clearly different probabilities."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=N_VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        bos_token_id=BOS,
        eos_token_id=EOT,
        pad_token_id=PAD,
        initializer_range=0.2,
        **changes,
    )
    return LlamaForCausalLM(config).to(dtype)


SIZES = {
    "vocab_size": N_VOCAB,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
OWN_SIZES = {
    "jetmoe": {"kv_channels": 8},
    "mpt": {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128, "vocab_size": N_VOCAB},
    "openai-gpt": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 128, "vocab_size": N_VOCAB},
    "glm4_moe_lite": {
        "num_key_value_heads": 4,
        "kv_lora_rank": 16,
        "q_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 12,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
}


def tiny_of(kind, seed=0):
    """A decoder of another architecture, its weights as large as tiny_llama's."""
    known = AutoConfig.for_model(kind)
    sizes = {key: value for key, value in SIZES.items() if hasattr(known, key)} | OWN_SIZES.get(kind, {})
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **sizes, pad_token_id=PAD)).eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            torch.nn.init.normal_(weight, std=weight.shape[-1] ** -0.5)
    return model
