"""A LoRA run's final/ holds an adapter: merged once into its base model, as a folder that everything else can load."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from cada_trl.config import Config, check_config
from cada_trl.errors import UserError
from cada_trl.storage.digest import file_sha256, sha256
from cada_trl.storage.files import take_lock, whole

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def is_adapter(folder: Path) -> bool:
    """The folder holds an adapter and no whole model."""
    return (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()


def merged_folder(final: Path) -> Path:
    """<run>/merged-<hash8 of the adapter>/ for a LoRA run's final/, made on first use from the base that the run's
    config names, in its dtype.

    Complete or not there, and made once where several ask. Errors: UserError for an adapter outside a run folder, one
    without weights or not of this base, a base that cannot be loaded, and a folder that cannot be written.
    """
    target = final.parent / f"merged-{_hash(final)}"
    if target.is_dir():
        return target
    config = _run_config(final)
    try:
        with take_lock(Path(f"{target}.lock")):
            if not target.is_dir():
                print(f"merging the adapter of {final} once into {target}", file=sys.stderr, flush=True)
                with whole(target, locked=True) as partial:
                    _merge(final, config, partial)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}; free space for the whole model, or fix the permission"
        ) from error
    return target


def _hash(final: Path) -> str:
    if not (final / WEIGHTS).is_file():
        raise UserError(f"{final} has an {ADAPTER} and no {WEIGHTS}; pickled weights are not loaded")
    return sha256(file_sha256(final / WEIGHTS) + (final / ADAPTER).read_text(encoding="utf-8"))[:8]


def _run_config(final: Path) -> Config:
    file = final.parent / "config.yaml"
    if not file.is_file():
        raise UserError(f"{final} is an adapter outside a run folder, so its base is not known; give the run folder")
    return check_config(yaml.safe_load(file.read_text(encoding="utf-8")))


def _merge(final: Path, config: Config, folder: Path) -> None:
    from peft import PeftModel

    from cada_trl.models.load import load_policy, load_tokenizer

    tokenizer = load_tokenizer(config.model)
    base = load_policy(config.model, tokenizer)
    try:
        merged = PeftModel.from_pretrained(base, str(final)).merge_and_unload(safe_merge=True)
    except (RuntimeError, ValueError) as error:  # other shapes, other modules, or a NaN
        raise UserError(
            f"the adapter in {final} does not fit {config.model.path}, the base that the run's config.yaml names: "
            f"{(str(error).splitlines() or [type(error).__name__])[0]}"
        ) from error
    merged.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
