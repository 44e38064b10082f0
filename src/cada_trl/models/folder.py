"""A model folder's files, looked at one by one, so that a damaged one is named. No torch until weights are read."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from cada_trl.errors import UserError, first_line
from cada_trl.storage.files import read_json, take_lock, whole
from cada_trl.storage.reading import MAX_TEXT_BYTES, opened

AGAIN = "copy the model here again, or save it again with save_pretrained"
GENERATION = "generation_config.json"
ADAPTER = "adapter_config.json"
_TEXTS = {".json", ".jinja", ".txt", ".model"}
_OBJECTS = ("*config.json", "tokenizer.json", "special_tokens_map.json", "vocab.json", "*.index.json")


def made_once(target: Path, make: Callable[[Path], None]) -> Path:
    """The folder, made where it is not there: complete or not at all, and by one of those that ask. Errors: OSError."""
    if not target.is_dir():
        with take_lock(Path(f"{target}.lock")):
            if not target.is_dir():
                with whole(target, locked=True) as partial:
                    make(partial)
    return target


def checked_folder(path: str) -> Path:
    """A folder that transformers can be given.

    Errors: UserError for none, for one without config.json or safetensors, with an adapter beside the model, or with
    a pipe or a huge text in it, and for a damaged generation config, in whose place transformers would take its own.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"model.path={path} is not a folder; give one with config.json and *.safetensors")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} has no config.json; expected a model saved by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no *.safetensors; pickled weights are not loaded: save it again as safetensors")
    if (folder / ADAPTER).is_file():  # transformers would attach it and freeze the model; vLLM would leave it out
        raise UserError(
            f"{folder} holds a model and an adapter ({ADAPTER}); merge them (peft: merge_and_unload), or move one away"
        )
    for file in folder.iterdir():  # transformers would wait for a pipe's writer, and read any size
        if file.exists() and not file.is_dir():
            with opened(file, AGAIN, MAX_TEXT_BYTES if file.suffix in _TEXTS else None):
                pass
    if (folder / GENERATION).is_file():
        read_json(folder / GENERATION, AGAIN, finite=False)
    return folder


def check_files(folder: Path, advice: str = AGAIN) -> None:
    """Read every file for its form. Errors: UserError names the first that is damaged, or that the index misses."""
    for file in sorted(file for pattern in _OBJECTS for file in folder.glob(pattern)):
        values = read_json(file, advice, finite=False)  # some published configs hold Infinity
        if file.name.endswith(".index.json"):
            shards = values.get("weight_map")
            if not isinstance(shards, dict):
                raise UserError(f"{file} has no weight_map; {advice}")
            if absent := sorted(name for name in set(shards.values()) if not (folder / str(name)).is_file()):
                raise UserError(f"{file} names {absent[0]}, which is not there; {advice}")
    for file in sorted(folder.glob("*.safetensors")):
        count_params(file, advice)
    for file in sorted(folder.glob("*.jinja")):
        try:
            file.read_text(encoding="utf-8")
        except ValueError as error:
            raise UserError(f"{file} is damaged: it is no text in UTF-8; {advice}") from error


def count_params(file: Path, advice: str = AGAIN) -> int:
    """Parameters of a safetensors file, from its header alone. Errors: UserError for a damaged or cut one."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="numpy") as weights:
            return sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is damaged: {first_line(error)}; {advice}") from error


def check_finite(path: str, folder: Path) -> None:
    """Look once at each tensor of the folder's files, since with one NaN every answer is noise and nothing says so.

    path: how the user named it. Not the loaded model: vLLM keeps its own, and ZeRO-3 leaves each rank a part. Errors:
    UserError names the first tensor that holds a NaN or an infinity, and says how many do.
    """
    import torch
    from safetensors import safe_open

    def is_finite(tensor: torch.Tensor) -> bool:
        if not tensor.is_floating_point() or tensor.numel() == 0:
            return True
        return all(bool(torch.isfinite(end)) for end in torch.aminmax(tensor))  # a NaN is both ends

    wrong = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as stored:
            wrong += [name for name in stored.keys() if not is_finite(stored.get_tensor(name))]  # noqa: SIM118
    if wrong:
        more = f" and {len(wrong) - 1} more tensors" if len(wrong) > 1 else ""
        raise UserError(f"the weights of {path} hold NaN or infinity, in {wrong[0]}{more}; {AGAIN}")
