"""A model's config -> its tokenizer and its policy, with every mistake found before the weights are read.

A LoRA run's final/ holds an adapter: it is merged once into its base, as a folder that everything else can load.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cada_trl.config import Config, ModelConfig, check_config
from cada_trl.errors import UserError, first_line
from cada_trl.models.checks import USER, check_architecture, check_ids, render
from cada_trl.models.embedded import embedded_folder
from cada_trl.models.folder import ADAPTER, AGAIN, check_files, check_finite, checked_folder, made_once
from cada_trl.storage.digest import CONFIG, file_sha256, found, read_config, sha256
from cada_trl.storage.files import MADE_AGAIN, writing

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

WEIGHTS = "adapter_model.safetensors"
N_SHOWN = 3  # names of weights in a message


def resolve_model(model: ModelConfig) -> str:
    """A local folder or a hub id that transformers can load; the embedded model is converted, and a LoRA run's adapter
    merged, on first use. Errors: UserError as merged_folder, checked_folder and check_hub."""
    if model.source == "embedded":
        return str(embedded_folder(model.path))
    if model.source == "folder":
        folder = Path(model.path).expanduser()
        return str(merged_folder(folder) if is_adapter(folder) else checked_folder(model.path))
    check_hub(model.path, model.revision)
    return model.path


def load_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    """The tokenizer with the config's eos and pad tokens, padding on the left (generation continues at the right).

    A <think> that its template writes into the generation prompt is taken out (ours): whether to reason is then the
    model's own choice, which the reward pays, and a completion holds all of its reasoning. Errors: UserError as
    resolve_model, for a chat template that is missing or fails on one request, for a token outside the vocabulary, and
    as check_ids.
    """
    from transformers import AutoConfig, AutoTokenizer

    tokenizer = _from_pretrained(AutoTokenizer, model, padding_side="left")
    if not tokenizer.chat_template:
        raise UserError(f"{model.path} has no chat template; expected an instruct model, or save one in its tokenizer")
    render(tokenizer, USER, add_generation_prompt=True)
    template = tokenizer.chat_template  # several by name where tools or documents have their own
    tokenizer.chat_template = (
        without_prefill(template)
        if isinstance(template, str)
        else {name: without_prefill(one) for name, one in template.items()}
    )
    vocabulary = tokenizer.get_vocab()
    for role, token in (("eos", model.eos), ("pad", model.pad)):
        if token not in vocabulary:
            raise UserError(f"model.{role}={token} is not in the vocabulary of {model.path}; set one of its own tokens")
    tokenizer.eos_token = model.eos
    tokenizer.pad_token = model.pad
    config = _from_pretrained(AutoConfig, model)
    check_ids(tokenizer, model.path, getattr(config.get_text_config(), "vocab_size", None))
    return tokenizer


def without_prefill(template: str) -> str:
    """The chat template without a <think> that ends a text that it writes, as DeepSeek-R1's distilled models' does."""
    return re.sub(r"""<think>(?:\\n|\n)*(?=['"]\s*-?\}\})""", "", template)


def load_policy(model: ModelConfig, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """The causal LM in the config's dtype, on the CPU (Trainer and accelerate place it), from safetensors only.

    Its generation config keeps nothing but token ids: the ends that the model declares, with the config's eos first,
    and the config's pad (ours: generate() fills every value it is not given from that file, such as Llama 3's
    temperature of 0.6, so sampling would not be what the run's config says).
    Errors: UserError as in resolve_model and check_architecture, for a context_tok beyond the model's positions, and
    for weights that are not those that config.json describes, or not finite.
    """
    from transformers import AutoModelForCausalLM, GenerationConfig

    n_positions = getattr(check_decoded(model), "max_position_embeddings", None)
    if n_positions is not None and model.context_tok > n_positions:
        raise UserError(
            f"context_tok={model.context_tok} exceeds the {n_positions} positions of {model.path}; lower it"
        )
    logging.getLogger("transformers.modeling_utils").addFilter(_no_loading_report)
    how = {"dtype": model.dtype, "use_safetensors": True, "ignore_mismatched_sizes": True, "output_loading_info": True}
    policy, report = _from_pretrained(AutoModelForCausalLM, model, **how)
    check_complete(model.path, report)
    compute_rotary_tables(policy)
    if model.source == "folder":
        check_finite(model.path, Path(resolve_model(model)))
    policy.config.eos_token_id, policy.config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    policy.generation_config = GenerationConfig(
        eos_token_id=all_ends(tokenizer, policy.generation_config.eos_token_id),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    return policy


def check_decoded(model: ModelConfig) -> Any:
    """transformers' config of a model that our own decoding and scoring read. Errors: as check_architecture."""
    from transformers import AutoConfig

    config = _from_pretrained(AutoConfig, model)
    check_architecture(config, model.path)
    return config


def compute_rotary_tables(model: PreTrainedModel) -> None:
    """Once more, in float32 by the model's own rule: ZeRO-3 in bfloat16 rounds what is computed while a model loads."""
    for module in model.modules():
        if "RotaryEmbedding" in type(module).__name__:  # as transformers finds them
            model._init_weights(module.float())


def all_ends(tokenizer: PreTrainedTokenizerBase, declared: Any) -> list[int]:
    """The config's eos, then the ends that the model declares. Errors: UserError for one that is no token's id."""
    ends = [tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])]
    if wrong := [end for end in ends if not isinstance(end, int | None)]:
        raise UserError(
            f"eos_token_id {wrong[0]!r} in generation_config.json or config.json of {tokenizer.name_or_path} is no "
            "token's id; expected a whole number or a list of them"
        )
    return list(dict.fromkeys(end for end in ends if end is not None))


def _no_loading_report(record: logging.LogRecord) -> bool:
    """transformers' table of weights: check_complete says in a line what is in it."""
    return "LOAD REPORT" not in record.getMessage()


def check_complete(path: str, report: dict[str, Collection[Any]]) -> None:
    """Refuse what transformers would start at random, leave out or only warn of; rotary tables are no weights."""
    found = {
        "missing from the file": report["missing_keys"],
        "of another shape": [f"{name} {tuple(there)}" for name, there, _ in report["mismatched_keys"]],
        "unknown to the model": [name for name in report["unexpected_keys"] if "inv_freq" not in name],
    }
    wrong = [
        f"{len(names)} {how} ({', '.join(sorted(names)[:N_SHOWN])}{', ...' if len(names) > N_SHOWN else ''})"
        for how, names in found.items()
        if names
    ]
    if wrong:
        raise UserError(
            f"the weights of {path} are not those that its config.json describes: {'; '.join(wrong)}; bring both from "
            "one model"
        )


def is_adapter(folder: Path) -> bool:
    """The folder holds an adapter and no whole model."""
    return (folder / ADAPTER).is_file() and not (folder / "config.json").is_file()


def run_config(folder: Path) -> Config:
    """Errors: UserError for what is no run, and one that names the file where it is of another version."""
    values = read_config(folder)
    if "run_name" not in values:
        raise UserError(f"{folder} is no run folder: its config.yaml has no run_name; give runs/<name>")
    try:
        return check_config(values)
    except UserError as error:
        raise UserError(f"{folder}/config.yaml is of another version of this package: {error}") from error


def runs_behind(weights: Path) -> Iterator[Path]:
    """The folder of the run whose final/ the weights are, then of that which it began from, and so on. Errors: as
    read_config."""
    seen: set[Path] = set()
    while (folder := weights.parent) not in seen and (folder / CONFIG).is_file():
        run = read_config(folder)
        if "run_name" not in run:
            return  # another program's configuration may stand beside a model
        seen.add(folder)
        yield folder
        model = run.get("model") or {}
        if model.get("source") != "folder":
            return
        weights = found(folder, str(model.get("path")))


def merged_folder(final: Path) -> Path:
    """<run>/merged-<hash8 of the adapter>/ for a LoRA run's final/, made on first use from the base that the run's
    config names, in its dtype.

    Complete or not there, and made once where several ask. Errors: UserError for an adapter outside a run folder, one
    without weights or not of this base, a base that cannot be loaded, and a folder that cannot be written.
    """
    if not (final / WEIGHTS).is_file():
        raise UserError(f"{final} has an {ADAPTER} and no {WEIGHTS}; pickled weights are not loaded")
    adapter = file_sha256(final / WEIGHTS) + (final / ADAPTER).read_text(encoding="utf-8")
    target = final.parent / f"merged-{sha256(adapter)[:8]}"
    if target.is_dir():
        return target
    if not (final.parent / CONFIG).is_file():
        raise UserError(f"{final} is an adapter outside a run folder, so its base is not known; give the run folder")
    config = run_config(final.parent)

    def make(folder: Path) -> None:
        print(f"merging the adapter of {final} once into {target}", file=sys.stderr, flush=True)
        _merge(final, config.model, folder)

    with writing(target, "free space for the whole model, or fix the permission"):
        return made_once(target, make)


def _merge(final: Path, base_model: ModelConfig, folder: Path) -> None:
    from peft import PeftModel

    tokenizer = load_tokenizer(base_model)
    base = load_policy(base_model, tokenizer)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "Found missing adapter keys")
            merged = PeftModel.from_pretrained(base, str(final)).merge_and_unload(safe_merge=True)
    except Exception as error:  # a damaged file, other shapes, other modules, or a NaN
        check_files(final)
        raise UserError(
            f"the adapter in {final} does not fit {base_model.path}, the base that the run's config.yaml names: "
            f"{first_line(error)}"
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
    except MemoryError:
        raise
    except Exception as error:  # each file's reader raises types of its own
        advice = MADE_AGAIN if model.source == "embedded" or is_adapter(Path(model.path).expanduser()) else AGAIN
        check_files(Path(where), advice)
        said = f"cannot load {where}: {first_line(error)}"
        raise UserError(said if model.source == "hub" else f"{said}; {advice}") from error


def check_hub(hub_id: str, revision: str | None) -> None:
    """Fetch config.json alone, so that access is settled first and in the hub's own words.

    What is not in the cache is asked for once before: the hub's client tries six times, in 25 s, without a network.
    Errors: UserError for a hub that cannot be reached, and for a model that is gated, absent or without config.json.
    """
    import huggingface_hub as hub
    from httpx import TransportError
    from huggingface_hub import errors

    try:
        if not isinstance(hub.try_to_load_from_cache(hub_id, "config.json", revision=revision), str):
            hub.get_hf_file_metadata(hub.hf_hub_url(hub_id, "config.json", revision=revision))
        hub.hf_hub_download(hub_id, "config.json", revision=revision)
    except errors.GatedRepoError as error:
        raise UserError(
            f"{hub_id} is gated and this account has no access; accept its licence at "
            f"https://huggingface.co/{hub_id}, then run `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise UserError(f"{hub_id} has no revision '{revision}'; set revision to a commit or main") from error
    except errors.RepositoryNotFoundError as error:
        raise UserError(
            f"no model '{hub_id}' on the hub, or it is private; check model.path, or run `hf auth login`"
        ) from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, TransportError) as error:
        offline = "HF_HUB_OFFLINE is set; unset it"
        reason = offline if hub.is_offline_mode() else "the hub cannot be reached; set HF_ENDPOINT to a mirror"
        raise UserError(
            f"{hub_id} is not in the local cache, nor a folder here, and {reason}, use a local copy (source=folder "
            "path=...), or model=smollm2, which needs no hub"
        ) from error
    except errors.EntryNotFoundError as error:
        raise UserError(f"{hub_id} has no config.json; expected a transformers model") from error
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        raise UserError(f"cannot read {hub_id} from the hub: {first_line(error)}") from error
