"""Which weights a model is: what makes two runs of one name comparable or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cada_trl.config import ModelConfig
from cada_trl.errors import UserError
from cada_trl.models.load import is_adapter, resolve_model
from cada_trl.storage.digest import digests
from cada_trl.storage.files import read_json

_DESCRIBING = (
    "*.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "chat_template*",
    "special_*.json",
    "adapter_config.json",
)


def model_identity(model: ModelConfig) -> dict[str, str]:
    """For a folder, file name -> SHA-256 of weights, ends, tokenizer and template; for a hub model its id and commit.

    Reads the weights once (0.5 GB in 0.3 s, 16 GB in 10 s or more). Errors: UserError as in resolve_model, and for a
    run's model that was edited.
    """
    where = resolve_model(model)
    if model.source == "hub":
        return {"hub_id": model.path, "commit": snapshot(model).name}
    folder = Path(model.path).expanduser() if model.source == "folder" else Path(where)
    identity = folder_identity(folder)
    _check_saved(folder, identity)
    return folder_identity(Path(where)) if is_adapter(folder) else identity


def folder_identity(folder: Path) -> dict[str, str]:
    """File name -> SHA-256 of what decides the answers of the model, or of the adapter, in the folder."""
    return digests(folder, _DESCRIBING)


def _check_saved(final: Path, there: Mapping[str, str]) -> None:
    """Errors: UserError names the first file of a run's final/ that is not what the run saved, or is beside it."""
    manifest = final.parent / "manifest.json"
    kept = read_json(manifest, "restore it").get("model") if final.name == "final" and manifest.is_file() else None
    saved = kept if isinstance(kept, dict) else there  # older runs have no hashes
    for name in sorted(there.keys() | saved):
        if there.get(name) != saved.get(name):
            raise UserError(f"{final / name} is not what the run saved, as its manifest.json has it; restore it")


def snapshot(model: ModelConfig) -> Path:
    """The folder of the hub's cache with the files of the pinned revision; its name is the commit."""
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(model.path, "config.json", revision=model.revision)).parent
