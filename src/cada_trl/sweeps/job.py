"""What one process group of a sweep does: train a cell and evaluate it, or evaluate an initial model. No torch."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.config import Config, config_hash, run_name
from cada_trl.config.loading import leaf_paths
from cada_trl.errors import UserError
from cada_trl.evals.settings import load_evaluate_config
from cada_trl.report.stored_config import read_config
from cada_trl.storage.digest import content_hash
from cada_trl.sweeps.grid import Cell


@dataclass(frozen=True)
class Job:
    """config: of the training, whose hardware the job needs. train: its words, None where the model is not trained.

    evaluate: the evaluation's words, None where nothing is evaluated; evaluate_initial: of the model it starts from.
    """

    id: str
    label: str
    config: Config
    train: tuple[str, ...] | None
    evaluate: tuple[str, ...] | None
    evaluate_initial: tuple[str, ...] | None

    @property
    def run_folder(self) -> Path | None:
        return None if self.train is None else Path(self.config.runs_dir) / run_name(self.config)

    @property
    def commands(self) -> list[list[str]]:
        """The verbs in their order; each goes on where an earlier call ended."""
        train = [] if self.train is None else [_verb("train", self.train)]
        return train + ([] if self.evaluate is None else [_verb("evaluate", self.evaluate)])

    def results(self) -> list[Path] | None:
        """The folders of its results, once the files of every one say that it is done; None before that."""
        folders = []
        if self.run_folder is not None:
            if not _is_trained(self.run_folder, self.config):
                return None
            folders.append(self.run_folder)
        if self.evaluate is not None:
            evaluation = _evaluation(self.evaluate, self.run_folder)
            if evaluation is None:
                return None
            folders.append(evaluation)
        return folders


def cell_job(cell: Cell, evaluation: Sequence[str] | None) -> Job:
    """Train and evaluate the cell. evaluation: words without the model; None evaluates nothing."""
    if evaluation is None:
        return Job(cell.id, cell.label, cell.config, cell.words, None, None)
    trained = (f"model={cell.run_folder}", *evaluation)
    return Job(cell.id, cell.label, cell.config, cell.words, trained, (*_model_words(cell), *evaluation))


def initial_job(job: Job) -> Job | None:
    """The evaluation of the model that a cell's job starts from, one for all cells of that model; None without one."""
    words = job.evaluate_initial
    if words is None:
        return None
    return Job(f"initial-{content_hash(words)}", f"initial {job.config.model.name}", job.config, None, words, words)


def script(job: Job, header: Sequence[str] = ()) -> str:
    """The job as a bash script that can also be run by hand: its commands here, a failing one the last."""
    lines = ["#!/bin/bash", *header, f"# {job.label}", "set -e", f"cd {shlex.quote(str(Path.cwd()))}"]
    return "\n".join([*lines, *(shlex.join(command) for command in job.commands)]) + "\n"


def _model_words(cell: Cell) -> list[str]:
    """The cell's words that say which model it starts from, with their whole path."""
    paths = leaf_paths(type(cell.config))
    parts = [word.partition("=") for word in cell.words]
    return [f"{path}={value}" for key, _, value in parts if (path := paths.get(key, key)).split(".")[0] == "model"]


def _verb(name: str, words: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", f"cada_trl.{name}", *words]


def _is_trained(folder: Path, config: Config) -> bool:
    manifest = read_manifest(folder)
    same = (manifest.get("config_hash"), (manifest.get("seeds") or {}).get("run")) == (config_hash(config), config.seed)
    return same and manifest.get("exit_state") == "done" and (folder / "final").is_dir()


def _evaluation(words: Sequence[str], run_folder: Path | None) -> Path | None:
    """The folder that holds this very evaluation, done after the run was; by its stored configuration."""
    try:
        config = load_evaluate_config(words)
    except UserError:  # the trained model is gone or cannot be read: the verb says so in the job's log
        return None
    since = "" if run_folder is None else read_manifest(run_folder).get("ended_utc") or ""
    for path in sorted(Path(config.evals_dir).glob("*/config.yaml")):
        manifest = read_manifest(path.parent)
        if manifest.get("exit_state") != "done" or str(manifest.get("ended_utc")) < since:
            continue
        if _stored(path) == config.model_dump() and (path.parent / "scores.json").is_file():
            return path.parent
    return None


def _stored(path: Path) -> dict[str, Any]:
    try:
        return read_config(path)
    except UserError:
        return {}


def read_manifest(folder: Path) -> dict[str, Any]:
    """A folder's manifest.json; {} where it is absent or damaged."""
    try:
        values = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
