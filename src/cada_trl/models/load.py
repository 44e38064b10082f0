"""A model's config -> its tokenizer and its policy, with every mistake found before the weights are read.

A LoRA run's final/ holds an adapter: it is merged once into its base, as a folder that everything else can load.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.config import Config, ModelConfig, check_config
from cada_trl.errors import UserError
from cada_trl.models.embedded import embedded_folder
from cada_trl.storage.digest import file_sha256, sha256
from cada_trl.storage.files import take_lock, whole
from cada_trl.storage.reading import read_yaml

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def resolve_model(model: ModelConfig) -> str:
    """A local folder or a hub id that transformers can load; the embedded model is converted, and a LoRA run's adapter
    merged, on first use.

    Errors: UserError as in merged_folder, for a folder without config.json or safetensors, and for a hub model that
    cannot be reached: no network, gated without access, no such model or revision.
    """
    if model.source == "embedded":
        return str(embedded_folder(model.path))
    if model.source == "folder":
        folder = Path(model.path).expanduser()
        return str(merged_folder(folder) if is_adapter(folder) else _checked_folder(model.path))
    _check_hub(model)
    return model.path


def load_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer with the config's eos and pad tokens, padding on the left (generation continues at the right).

    Errors: UserError as in resolve_model, and for a missing chat template or a token that is not in the vocabulary.
    """
    from transformers import AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, model, padding_side="left")
    if not tokenizer.chat_template:
        raise UserError(f"{model.path} has no chat template; expected an instruct model, or save one in its tokenizer")
    vocabulary = tokenizer.get_vocab()
    for role, token in (("eos", model.eos), ("pad", model.pad)):
        if token not in vocabulary:
            raise UserError(f"model.{role}={token} is not in the vocabulary of {model.path}; set one of its own tokens")
    tokenizer.eos_token = model.eos
    tokenizer.pad_token = model.pad
    return tokenizer


def load_policy(model: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The causal LM in the config's dtype, on the CPU (Trainer and accelerate place it), from safetensors only.

    Its generation config keeps nothing but token ids: the ends that the model declares, with the config's eos first,
    and the config's pad (ours: generate() fills every value it is not given from that file, such as Llama 3's
    temperature of 0.6, so sampling would not be what the run's config says).
    Errors: UserError as in resolve_model, and for a context_tok beyond the model's positions.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    n_positions = getattr(_from_pretrained(AutoConfig, model), "max_position_embeddings", None)
    if n_positions is not None and model.context_tok > n_positions:
        raise UserError(
            f"context_tok={model.context_tok} exceeds the {n_positions} positions of {model.path}; lower it"
        )
    policy = _from_pretrained(AutoModelForCausalLM, model, dtype=model.dtype, use_safetensors=True)
    policy.config.eos_token_id, policy.config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    declared = policy.generation_config.eos_token_id
    ends = [tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])]
    policy.generation_config = GenerationConfig(
        eos_token_id=list(dict.fromkeys(token for token in ends if token is not None)),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    return policy


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
    return check_config(read_yaml(file))


def _merge(final: Path, config: Config, folder: Path) -> None:
    from peft import PeftModel

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


def _from_pretrained(auto_class: Any, model: ModelConfig, **kwargs: Any) -> Any:
    """auto_class.from_pretrained for the config's model. Errors: UserError with the first line of transformers' own."""
    from transformers.utils.logging import disable_progress_bar

    where = resolve_model(model)
    disable_progress_bar()  # a bar per load tells a run's log nothing
    if model.source == "hub":
        kwargs["revision"] = model.revision or "main"
    try:
        return auto_class.from_pretrained(where, trust_remote_code=model.trust_remote_code, **kwargs)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load {where}: {_first_line(error)}") from error


def _checked_folder(path: str) -> Path:
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"model.path={path} is not a folder; give one with config.json and *.safetensors")
    if not (folder / "config.json").is_file():
        raise UserError(f"{folder} has no config.json; expected a model saved by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no *.safetensors; pickled weights are not loaded: save it again as safetensors")
    return folder


def _check_hub(model: ModelConfig) -> None:
    """Fetch config.json alone, so that access is settled first and in the hub's own words (25 s without a network)."""
    from huggingface_hub import hf_hub_download, is_offline_mode
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        hf_hub_download(model.path, "config.json", revision=model.revision)
    except GatedRepoError as error:
        raise UserError(
            f"{model.path} is gated and this account has no access; accept its licence at "
            f"https://huggingface.co/{model.path}, then run `hf auth login`"
        ) from error
    except RevisionNotFoundError as error:
        raise UserError(f"{model.path} has no revision '{model.revision}'; set revision to a commit or main") from error
    except RepositoryNotFoundError as error:
        raise UserError(
            f"no model '{model.path}' on the hub, or it is private; check model.path, or run `hf auth login`"
        ) from error
    except LocalEntryNotFoundError as error:
        offline = "HF_HUB_OFFLINE is set; unset it"
        reason = offline if is_offline_mode() else "the hub cannot be reached; set HF_ENDPOINT to a mirror"
        raise UserError(
            f"{model.path} is not in the local cache and {reason}, use a local copy (source=folder path=...), "
            "or model=smollm2, which needs no hub"
        ) from error
    except EntryNotFoundError as error:
        raise UserError(f"{model.path} has no config.json; expected a transformers model") from error
    except (HfHubHTTPError, HFValidationError) as error:
        raise UserError(f"cannot read {model.path} from the hub: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
