"""The tokenizers of Llama 3 and 3.1, made of the file in Meta's wheel llama-models: no hub, no gate, no weights.

The file is Meta's own for both (by its SHA-256). The pattern is transformers' default for such files, the templates are
TRL's copies of the models' own, the names of the 256 special tokens those of the hub's tokenizer.json. The wheel has a
licence of its own (Llama Community License); tests and `rehearse` alone ask for it, and nothing of it is imported.
"""

from __future__ import annotations

import base64
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.errors import UserError
from cada_trl.storage.digest import file_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

INSTALL = "pip install --no-deps llama-models==0.3.0"
SHA256 = "82e9d31979e92ab929cd544440f129d9ecd797b69e327f80f17e1c50d5551b55"
N_SPECIAL = 256
_LLAMA3 = {0: "begin_of_text", 1: "end_of_text", 6: "start_header_id", 7: "end_header_id", 9: "eot_id"}
_LLAMA3_1 = {**_LLAMA3, 4: "finetune_right_pad_id", 8: "eom_id", 10: "python_tag"}
# A choice of hydra_conf/model -> its special tokens' names by their place, and its template's name in TRL. Deepthought
# adds four tokens to Llama 3.1's, whose names are not known here: its embedding has their rows, this tokenizer has not.
FAMILIES = {"llama3": (_LLAMA3, "llama3"), "llama3_70b": (_LLAMA3, "llama3"), "deepthought": (_LLAMA3_1, "llama3_1")}


def wheel_file() -> Path:
    """Meta's tokenizer.model in the installed wheel. Errors: UserError where it is not there, or is another file."""
    try:
        file = Path(str(distribution("llama-models").locate_file("llama_models/llama3/tokenizer.model")))
    except PackageNotFoundError as error:
        raise UserError(f"Llama 3's tokenizer is not here: `{INSTALL}` brings it, under its own licence") from error
    if not file.is_file() or file_sha256(file) != SHA256:
        raise UserError(f"{file} is not Llama 3's tokenizer (sha256 {SHA256[:8]}...): `{INSTALL} --force-reinstall`")
    return file


def llama3_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """The tokenizer of a choice of FAMILIES, as the hub's: one BOS before a text, no pad. Errors: as wheel_file."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import TikTokenConverter

    class Converter(TikTokenConverter):
        load_tiktoken_bpe = staticmethod(_ranks)  # transformers' own reads the same lines through another package

    named, template = FAMILIES[name]
    reserved = count()
    special = [f"<|{named.get(at) or f'reserved_special_token_{next(reserved)}'}|>" for at in range(N_SPECIAL)]
    backend = Converter(str(wheel_file()), extra_special_tokens=special).converted()
    bos = special[0]
    adds_bos = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, backend.token_to_id(bos))]
    )
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), adds_bos])
    tokenizer: Any = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=bos,
        eos_token="<|eot_id|>",
        clean_up_tokenization_spaces=True,
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = files("trl").joinpath(f"chat_templates/{template}.jinja").read_text(encoding="utf-8")
    return tokenizer  # type: ignore[no-any-return]


def _ranks(tiktoken_url: str) -> dict[bytes, int]:
    lines = (line.split() for line in Path(tiktoken_url).read_bytes().splitlines() if line)
    return {base64.b64decode(token): int(rank) for token, rank in lines}
