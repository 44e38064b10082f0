"""export: a finished run, an evaluation or the twins -> a folder with its card, and the hub where that is asked for.

python -m cada_trl.export runs/smollm2-fc6d9248-s0                                (into runs/.../export)
python -m cada_trl.export runs/a-s0 to=models/a evals=evals/a-1234abcd            (its evaluation in the card)
python -m cada_trl.export runs/a-s0 push=org/name                                 (a private repository)
python -m cada_trl.export evals/a-1234abcd to=results push=org/results            (its rates; no request, no answer)
python -m cada_trl.export twins to=twins push=org/twins                           (the embedded pairs, split as trained)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from cada_trl.config.loading import Section, run_words
from cada_trl.config.texts import Folder
from cada_trl.errors import UserError, first_line, run_verb
from cada_trl.evaluation.folder import SCORES
from cada_trl.models.folder import GENERATION
from cada_trl.records import read_jsonl, write_jsonl
from cada_trl.storage.files import whole, writing

TWINS_WORD, SPLITS = "twins", ("train", "held_out")

# final/ also holds training_args.bin: pickled, with the trainer's paths
PUBLISHED = (
    *("*.safetensors", "*.safetensors.index.json", "config.json", "generation_config.json"),
    *("tokenizer*.json", "tokenizer.model", "chat_template*.jinja", "additional_chat_templates/*.jinja"),
    *("special_tokens_map.json", "vocab.json", "merges.txt"),
    "*.py",  # of a model with code of its own
)
# where the trainer's machine had the base; and a mark that lets transformers make the generation config anew
_REWRITTEN = ("config.json", "tokenizer_config.json")
_DROPPED = ("_name_or_path", "name_or_path", "_from_model_config")


class ExportSettings(Section):
    """run: or an evaluation's folder, or `twins`. to: null for <run>/export. push: a hub id. evals: evaluation folders
    of a run's model, commas between."""

    run: str
    to: Folder | None = None
    push: str | None = None
    evals: str | None = None


def main(argv: list[str]) -> int:
    """The verb. Returns 0. Errors: UserError, as in export and push."""
    settings = run_words(argv, ExportSettings)
    if settings.push is not None and settings.push.count("/") != 1:
        raise UserError(f"push={settings.push} is no hub id; expected org/name")
    run, evaluations = Path(settings.run), [Path(word) for word in settings.evals.split(",")] if settings.evals else []
    is_results = (run / SCORES).is_file()
    is_run = not is_results and settings.run != TWINS_WORD
    if evaluations and not is_run:
        raise UserError(f"evals={settings.evals} stands in a model's card; give it with a run folder")
    if settings.to is None and settings.run == TWINS_WORD:
        raise UserError("expected to=<folder> with twins, as in to=exports/twins")
    target = Path(settings.to) if settings.to else run / "export"
    if is_run:
        export(run, target, evaluations)
    elif is_results:
        export_results(run, target)
    else:
        export_twins(target)
    print(target)
    if settings.push is not None:
        print(push(target, settings.push, "model" if is_run else "dataset"))
    return 0


def export_twins(target: Path) -> None:
    """Write the embedded pairs whose labels agree, a JSONL file per split, and their card. Errors: as new_folder."""
    from cada_trl.data.sources import read_twins
    from cada_trl.data.split import pair_roles
    from cada_trl.hazards.pack import TWINS
    from cada_trl.readme import twins_card
    from cada_trl.statistics.paired import agreement_line

    source = read_twins()
    held_out = pair_roles(source.rows, ()).probe
    agreed = {row.pair for row in source.rows}
    rows = [row for _, row in read_jsonl(TWINS) if row["pair"] in agreed]
    parts = {name: [row for row in rows if (row["pair"] in held_out) is (name == "held_out")] for name in SPLITS}
    with new_folder(target) as partial:
        for name, part in parts.items():
            write_jsonl(partial / f"{name}.jsonl", part)
        card = twins_card(agreement_line(source.origin["agreement"]), parts)
        (partial / "README.md").write_text(card, encoding="utf-8")


def export_results(path: Path, target: Path) -> None:
    """Write an evaluation's scores.json and their card. Errors: as read_evaluation and new_folder."""
    from cada_trl.readme import results_card
    from cada_trl.report.records import read_evaluation

    record = read_evaluation(path)
    with new_folder(target) as partial:
        shutil.copyfile(path / SCORES, partial / SCORES)
        (partial / "README.md").write_text(results_card(record), encoding="utf-8")


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes `target`, complete or not there. Errors: UserError where target exists or cannot
    be written."""
    if target.exists():
        raise UserError(f"{target} exists; remove it, or choose another folder with to=")
    with writing(target), whole(target) as partial:
        partial.mkdir()
        yield partial


def export(path: Path, target: Path, evaluations: Sequence[Path]) -> None:
    """Write the model folder of a finished run; a LoRA run's adapter is merged.

    Errors: UserError for what is no run, for an unfinished one, for a model that cannot be loaded or is not what the
    run saved, for an evaluation of another model, and where target exists.
    """
    from cada_trl.models.load import load_policy, load_tokenizer, resolve_model
    from cada_trl.models.named import model_identity, named_model
    from cada_trl.readme import model_card
    from cada_trl.report.records import read_evaluated
    from cada_trl.report.run_record import read_run

    run = read_run(path)
    if target.exists():
        raise UserError(f"{target} exists; remove it, or choose another folder with to=")
    model = named_model(str(path))
    identity = model_identity(model)
    tokenizer = load_tokenizer(model)
    if len({folder.resolve() for folder in evaluations}) < len(evaluations):
        raise UserError("evals= names an evaluation twice; expected each once")
    records = [read_evaluated(folder) for folder in evaluations]
    for record in records:
        if _unchanged(record.manifest["decides"]["model"]) != _unchanged(identity):
            raise UserError(f"{record.path} evaluates another model than {path}; give evaluations of this run")
    load_policy(model, tokenizer)  # what cannot be loaded is not written
    rollout = run.config["rollout"]
    # without top_k transformers cuts to the 50 most likely tokens
    sampling = {"do_sample": True, "temperature": rollout["temperature"], "top_p": rollout["top_p"], "top_k": 0}
    write_model_folder(Path(resolve_model(model)), model_card(run, records), sampling, target)


def _unchanged(identity: dict[str, str]) -> dict[str, str]:
    """Of a model's files those that an export copies as they are: an evaluation of the export is one of the run."""
    return {name: digest for name, digest in identity.items() if name not in {*_REWRITTEN, GENERATION}}


def write_model_folder(weights: Path, card: str, sampling: dict[str, Any], target: Path) -> None:
    """Copy what is published of `weights` into `target`, with the card; complete or not there.

    sampling: goes into generation_config.json. Errors: as new_folder.
    """
    with new_folder(target) as partial:
        for path in sorted({path for pattern in PUBLISHED for path in weights.glob(pattern)}):
            copy = partial / path.relative_to(weights)
            copy.parent.mkdir(exist_ok=True)
            shutil.copyfile(path, copy)
        for name in _REWRITTEN:
            _rewrite(partial / name, {})
        _rewrite(partial / GENERATION, sampling)
        (partial / "README.md").write_text(card, encoding="utf-8")


def _rewrite(path: Path, added: dict[str, Any]) -> None:
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    kept = {key: value for key, value in values.items() if key not in _DROPPED}
    path.write_text(json.dumps(kept | added, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def push(folder: Path, hub_id: str, kind: Literal["model", "dataset"]) -> str:
    """Upload the folder to a repository of the hub, made private where it is new; returns its address.

    Errors: UserError with the hub's own first line.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(hub_id, repo_type=kind, private=True, exist_ok=True)
        return str(api.upload_folder(repo_id=hub_id, folder_path=str(folder), repo_type=kind))
    except Exception as error:  # the hub's client raises many unrelated types
        raise UserError(
            f"cannot push to {hub_id}: {first_line(error)}; {folder} is complete; see `hf auth login`"
        ) from error


if __name__ == "__main__":
    run_verb(main)
