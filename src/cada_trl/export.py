"""export: a finished run -> a model folder with its card, and the hub where that is asked for.

python -m cada_trl.export runs/smollm2-fc6d9248-s0                                (into runs/.../export)
python -m cada_trl.export runs/a-s0 to=models/a evals=evals/a-1234abcd            (its evaluation in the card)
python -m cada_trl.export runs/a-s0 push=org/name                                 (a private repository)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cada_trl.config.loading import Section, run_words
from cada_trl.errors import UserError, first_line, run_verb
from cada_trl.storage.files import whole, writing

# final/ also holds training_args.bin: pickled, with the trainer's paths
PUBLISHED = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer*.json", "tokenizer.model", "chat_template*.jinja"),
    *("special_tokens_map.json", "vocab.json", "merges.txt"),
)
# where the trainer's machine had the base; and a mark that lets transformers make the generation config anew
_DROPPED = ("_name_or_path", "name_or_path", "_from_model_config")


class ExportSettings(Section):
    """to: null for <run>/export. push: a hub id. evals: evaluation folders of this model, commas between."""

    run: str
    to: str | None = None
    push: str | None = None
    evals: str | None = None


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, as in export and push."""
    settings = run_words(argv, ExportSettings)
    if settings.push is not None and settings.push.count("/") != 1:
        raise UserError(f"push={settings.push} is no hub id; expected org/name")
    run = Path(settings.run)
    evaluations = [Path(word) for word in settings.evals.split(",")] if settings.evals else []
    folder = export(run, Path(settings.to) if settings.to else run / "export", evaluations)
    print(folder)
    if settings.push is not None:
        print(push(folder, settings.push))
    return 0


def export(path: Path, target: Path, evaluations: Sequence[Path] = ()) -> Path:
    """Write the model folder of a finished run and return it; a LoRA run's adapter is merged.

    Errors: UserError for what is no run, for an unfinished one, for a model that cannot be loaded or is not what the
    run saved, for an evaluation of another model, and where target exists.
    """
    from cada_trl.model_card import model_card
    from cada_trl.models.identity import model_identity
    from cada_trl.models.load import load_policy, load_tokenizer, resolve_model
    from cada_trl.models.named import named_model
    from cada_trl.report.eval_record import read_evaluation
    from cada_trl.report.run_record import read_run
    from cada_trl.storage.kept import check_kept

    run = read_run(path)
    check_kept(path, run.manifest)
    state = run.manifest.get("exit_state")
    if state != "done":
        raise UserError(f"{path} is not finished (state: {state or 'unknown'}); the training command goes on with it")
    if target.exists():
        raise UserError(f"{target} exists; remove it, or choose another folder with to=")
    model = named_model(str(path))
    identity = model_identity(model)
    tokenizer = load_tokenizer(model)
    records = [read_evaluation(folder) for folder in evaluations]
    for record in records:
        check_kept(record.path, record.manifest)
        if record.manifest["decides"]["model"] != identity:
            raise UserError(f"{record.path} evaluates another model than {path}; give evaluations of this run")
    load_policy(model, tokenizer)  # what cannot be loaded is not written
    rollout = run.config["rollout"]
    sampling = {"do_sample": True, "temperature": rollout["temperature"], "top_p": rollout["top_p"]}
    write_model_folder(Path(resolve_model(model)), model_card(run, records), sampling, target)
    return target


def write_model_folder(weights: Path, card: str, sampling: dict[str, Any], target: Path) -> None:
    """Copy what is published of `weights` into `target`, with the card; complete or not there.

    sampling: goes into generation_config.json. Errors: UserError where target exists or cannot be written.
    """
    if target.exists():
        raise UserError(f"{target} exists; remove it, or choose another folder with to=")
    with writing(target), whole(target) as partial:
        partial.mkdir()
        for path in sorted({path for pattern in PUBLISHED for path in weights.glob(pattern)}):
            shutil.copyfile(path, partial / path.name)
        for name in ("config.json", "tokenizer_config.json"):
            _rewrite(partial / name, {})
        _rewrite(partial / "generation_config.json", sampling)
        (partial / "README.md").write_text(card, encoding="utf-8")


def _rewrite(path: Path, added: dict[str, Any]) -> None:
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = {key: value for key, value in values.items() if key not in _DROPPED}
    path.write_text(json.dumps(kept | added, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def push(folder: Path, hub_id: str) -> str:
    """Upload the folder to a repository of the hub, made private where it is new; returns its address.

    Errors: UserError with the hub's own first line.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(hub_id, repo_type="model", private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=hub_id, folder_path=str(folder), repo_type="model"))
    except Exception as error:  # the hub's client raises many unrelated types
        raise UserError(
            f"cannot push to {hub_id}: {first_line(error)}; {folder} is complete; see `hf auth login`"
        ) from error


if __name__ == "__main__":
    run_verb(main)
