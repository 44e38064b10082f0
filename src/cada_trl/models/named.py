"""Which model it is: by one word (a choice of hydra_conf/model, a run folder, a model folder or a hub id), and by its
files, which make two runs of one name comparable or not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cada_trl.config import CONF_DIR, ModelConfig
from cada_trl.config.loading import as_override, check_values, described, nearest
from cada_trl.errors import UserError, first_line
from cada_trl.models.folder import checked_folder, count_params
from cada_trl.models.load import check_hub, is_adapter, resolve_model, run_config
from cada_trl.storage.digest import digests, json_sha256, quick_sha256
from cada_trl.storage.files import read_json
from cada_trl.storage.reading import read_yaml

MODEL_DIR = CONF_DIR / "model"
_DESCRIBING = (
    "*.safetensors",
    "config.json",
    "generation_config.json",
    "tokenizer*",
    "chat_template*",
    "special_*.json",
    "adapter_config.json",
    "*.py",
)
SAVED = "expected a model saved by save_pretrained with its tokenizer"


def named_model(word: str, revision: str | None = None) -> ModelConfig:
    """The configuration of the model that the word names; revision is a hub model's, null for its newest.

    A run folder is its final/ with the run's own model settings, an adapter there merged when it is loaded; a folder or
    a hub model is described by its own files.
    Errors: UserError for a word that is none of these, an unfinished run, and a model whose files do not say its end
    token or its context.
    """
    choices = described(MODEL_DIR)
    if word in choices:
        return check_values(ModelConfig, read_yaml(MODEL_DIR / f"{word}.yaml")["model"])
    folder = Path(word).expanduser()
    if folder.is_dir():
        return _of_run(folder) if (folder / "config.yaml").is_file() else _of_folder(folder)
    if word.count("/") == 1 and not word.startswith((".", "/", "~")) and not folder.parent.is_dir():
        return _of_hub(word, revision)
    raise UserError(f"model={word} is no choice, no folder and no hub id such as org/name; {nearest(word, choices)}")


def model_overrides(model: ModelConfig) -> list[str]:
    """The configuration in Hydra's words, in place of the group `model`."""
    return ["~model", *(as_override(f"++model.{key}", value) for key, value in model.model_dump().items())]


def _of_run(folder: Path) -> ModelConfig:
    config = run_config(folder)
    final = folder / "final"
    manifest = folder / "manifest.json"
    record = read_json(manifest, "restore it") if manifest.is_file() else {}
    state = record.get("exit_state")
    if state != "done":
        raise UserError(f"{folder} is not finished (state: {state or 'unknown'}); the training command goes on with it")
    if not (final / "config.json").is_file() and not is_adapter(final):
        raise UserError(f"{folder} has no model in final/; expected a whole run folder; restore it")
    merged = any(path.is_dir() for path in folder.glob("merged-????????"))  # not its lock, nor what a kill left of it
    is_to_merge = is_adapter(final) and not merged  # later its base is not read again
    began = record.get("initial_model") if is_to_merge else None
    if began and model_fingerprint(config.model) != began:
        raise UserError(f"{config.model.path} is another model now than the one that {folder} began from; restore it")
    own = {"name": folder.resolve().name, "source": "folder", "path": str(final), "revision": None, "gated": False}
    return config.model.model_copy(update=own)


def _of_folder(folder: Path) -> ModelConfig:
    if is_adapter(folder):
        raise UserError(f"{folder} is an adapter alone; give its run folder, as in model=runs/NAME, or merge it first")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no *.safetensors; expected a model folder, a run folder or a hub id")
    n_params = sum(count_params(path) for path in checked_folder(str(folder)).glob("*.safetensors"))
    own = _of_files(folder / "config.json", folder / "tokenizer_config.json")
    return _model(folder.resolve().name, "folder", str(folder), n_params, own)


def _of_hub(hub_id: str, revision: str | None) -> ModelConfig:
    from huggingface_hub import get_safetensors_metadata, hf_hub_download

    check_hub(hub_id, revision)
    try:
        names = ("config.json", "tokenizer_config.json")
        files = [Path(hf_hub_download(hub_id, name, revision=revision)) for name in names]
        n_params = sum(get_safetensors_metadata(hub_id, revision=revision).parameter_count.values())
    except Exception as error:  # the hub's client raises many unrelated types
        raise UserError(
            f"cannot describe {hub_id} from the hub ({first_line(error)}); check its name, `hf auth login` for a gated "
            "one, or give a folder"
        ) from error
    model = _model(hub_id.split("/")[1], "hub", hub_id, n_params, _of_files(*files))
    return model.model_copy(update={"revision": revision})


def _model(name: str, source: str, path: str, n_params: int, own: dict[str, Any]) -> ModelConfig:
    given = {"name": name, "source": source, "path": path, "n_params": n_params}
    return check_values(ModelConfig, {**given, **own, "revision": None, "gated": False, "trust_remote_code": False})


def _of_files(config_file: Path, tokenizer_file: Path) -> dict[str, Any]:
    """dtype, context and special tokens from the model's own files; a pad that is not named is the end token.

    float16 is read as float32, which holds it exactly: bfloat16 would round it.
    """
    config, tokenizer = (read_json(file, SAVED, finite=False) for file in (config_file, tokenizer_file))
    eos = _token(tokenizer.get("eos_token"))
    pad = _token(tokenizer.get("pad_token")) or eos
    context_tok = config.get("max_position_embeddings")
    if eos is None:
        raise UserError(f"{tokenizer_file} names no eos_token; expected an instruct model's tokenizer")
    if not isinstance(context_tok, int):
        raise UserError(f"{config_file} names no max_position_embeddings; expected a causal language model")
    dtype = config.get("dtype") or config.get("torch_dtype")
    return {
        "dtype": "bfloat16" if dtype == "bfloat16" else "float32",
        "context_tok": context_tok,
        "eos": eos,
        "pad": pad,
    }


def _token(value: Any) -> str | None:
    content = value.get("content") if isinstance(value, dict) else value
    return content if isinstance(content, str) and content else None


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


def model_fingerprint(model: ModelConfig) -> str:
    """What tells the model from another one under the same name, within a moment. Errors: as resolve_model."""
    where = resolve_model(model)
    if model.source == "hub":
        return snapshot(model).name
    return json_sha256(digests(Path(where), _DESCRIBING, quick_sha256))


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
