"""Calls of the verbs that a sweep or a table needs, and the folders by which each is known to be done. No torch.

The verbs' folders are named and skipped by content: a job asks whether its own results are there, whoever made them.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cada_trl.config import Config, ModelConfig, load_config, run_name
from cada_trl.data.own_sets import TWIN_SETS, is_own
from cada_trl.data.prepared import check_same_files
from cada_trl.errors import StoppedByTripwire, UserError
from cada_trl.evaluation.folder import slug
from cada_trl.evaluation.settings import EvaluateConfig, load_evaluate_config, load_utility_config
from cada_trl.hazards.pack import load_pack, pack_hash
from cada_trl.models.named import folder_identity
from cada_trl.planning.device import n_machines
from cada_trl.report.run_record import if_readable
from cada_trl.storage.digest import change, file_sha256
from cada_trl.storage.files import read_json
from cada_trl.tracking.manifest import is_done

Words = tuple[str, ...]
Verb = Literal["train", "evaluate", "utility"]


@dataclass(frozen=True)
class Call:
    """One call of a verb; it goes on where an earlier one ended."""

    verb: Verb
    words: Words

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", f"cada_trl.{self.verb}", *self.words]

    def result(self, since: str) -> Path | None:
        """The folder with its finished result; None before that. since: when the training of its model ended."""
        try:
            if self.verb == "train":
                return _trained(self.words)
            return _evaluated(self.words, since) if self.verb == "evaluate" else _answered(self.words, since)
        except UserError:  # a model or file is gone, damaged or another one: the verb says so in the job's log
            return None


@dataclass(frozen=True)
class Job:
    """Calls that follow each other in one process group. id: of its log, script and lock; label: for people. trained:
    the job that trains the model that is asked, where its own calls do not. n: answers or questions, estimated."""

    id: str
    label: str
    calls: tuple[Call, ...]
    trained: Job | None = None
    n: int = 0

    @property
    def commands(self) -> list[list[str]]:
        return [call.command for call in self.calls]

    @property
    def run_folder(self) -> Path | None:
        """Where its training writes; None where it trains nothing."""
        return next((run_folder(call.words) for call in self.calls if call.verb == "train"), None)

    @property
    def evaluation(self) -> Words | None:
        return next((call.words for call in self.calls if call.verb == "evaluate"), None)

    def tripwire(self, code: int) -> str | None:
        """What its training says of the tripwire that stopped it; None where it ended with the code for another reason.

        accelerate gives 1 for any code of its ranks: one that failed before it wrote its manifest is told by the last.
        """
        if self.run_folder is None or code not in {1, StoppedByTripwire.exit_code}:
            return None
        said = str(if_readable(self.run_folder / "manifest.json").get("exit_state"))
        return said.removeprefix("stopped: ") if said.startswith("stopped: by the tripwire") else None

    def results(self) -> list[Path] | None:
        """The folders of its calls, once the files of every one say that it is done; None before that."""
        folders: list[Path] = []
        trained = self.trained.results() if self.trained else []
        if trained is None:
            return None
        run = next(iter(trained), None)
        for call in self.calls:
            since = if_readable(run / "manifest.json").get("ended_utc") if run else None
            if (folder := call.result(str(since or ""))) is None:
                return None
            folders.append(folder)
            run = folder if call.verb == "train" else run
        return folders

    def script(self, commands: Sequence[str] | None = None) -> str:
        """A bash script that can also be run by hand: the commands (its own) here, a failing one the last."""
        stops = "trap : USR1  # of which a training stops at a checkpoint, and then this script"
        lines = ["#!/bin/bash", f"# {self.label}", "set -e", stops, f"cd {shlex.quote(str(Path.cwd()))}"]
        return "\n".join([*lines, *(commands or map(shlex.join, self.commands))]) + "\n"


@dataclass(frozen=True, kw_only=True)
class SweepJob(Job):
    """config: of the training, whose hardware the job needs."""

    config: Config

    @property
    def n_machines(self) -> int:
        """Machines that it takes: a training those of its hardware, an evaluation alone one."""
        return 1 if self.run_folder is None else n_machines(self.config.hardware)


@cache
def training(words: Words) -> Config:
    """What `train` makes of the words: composing takes a good part of a second. A key that nothing reads is the grid's
    to refuse. Errors: UserError as load_config."""
    return load_config(list(words), typed=())


@cache
def asking(words: Words) -> EvaluateConfig:
    """What `evaluate` makes of the words: of a run, once it has ended. Errors: UserError as load_evaluate_config."""
    return load_evaluate_config(words)


def run_folder(words: Words) -> Path:
    """Where the training with these words writes. Errors: UserError as load_config."""
    config = training(words)
    return Path(config.runs_dir) / run_name(config)


def ended(
    results_dir: str, since: str = "", model: str | None = None
) -> Iterator[tuple[Path, dict[str, Any], dict[str, Any]]]:
    """(folder, stored configuration, manifest) of what ended since then, or was begun and killed. Times: UTC texts.

    model: folders of another model's name are not read, which would take milliseconds each for every job.
    """
    name = "*" if model is None else f"{slug(model)}-*"
    for path in sorted(Path(results_dir).glob(f"{name}/config.yaml")):
        manifest = if_readable(path.with_name("manifest.json"))
        # A damaged configuration is no result of anything.
        last = manifest.get("ended_utc") or manifest.get("started_utc") or ""  # a killed one has no end
        if str(last) >= since and (stored := if_readable(path)):
            yield path.parent, stored, manifest


def _trained(words: Words) -> Path | None:
    config, folder = training(words), run_folder(words)
    if not (is_done(folder, config, with_files=False) and (folder / "final").is_dir()):
        return None
    check_same_files(folder, config)
    return folder


def _evaluated(words: Words, since: str) -> Path | None:
    """The evaluation with this very configuration, and content of own files and of the case pack that it shows, that
    ended well after the training did; without a training, of the model folder as it is now, where it still is."""
    config = asking(words)
    shows_pack = config.prompt.arm not in {"none", "no_cases"}
    pack = pack_hash(load_pack(config.hazards)) if shows_pack else None
    files = [word for word in config.benchmarks if is_own(word)]
    if config.twins_file and TWIN_SETS.keys() & set(config.benchmarks):
        files.append(config.twins_file)
    own = {file_sha256(Path(word).expanduser()) for word in files}
    weights = _weights(config.model, since)
    for folder, stored, manifest in ended(config.evals_dir, since, config.model.name):
        is_done = manifest.get("exit_state") == "done" and (folder / "scores.json").is_file()
        decides = manifest.get("decides") or {}
        asked = {one.get("sha256") for one in decides.get("asked") or ()}
        is_same = stored == config.model_dump() and own <= asked
        is_same &= pack is None or (decides.get("prompt") or {}).get("hazards") == pack
        if is_done and is_same and weights in (None, decides.get("model")):
            return folder
    return None


def _weights(model: ModelConfig, since: str) -> dict[str, str] | None:
    """Those of a model folder that no training made, where it still is: what was made of others is not of this one."""
    folder = Path(model.path).expanduser()
    may_differ = not since and model.source == "folder" and (folder / "config.json").is_file()
    return folder_identity(folder) if may_differ else None


def _answered(words: Words, since: str) -> Path | None:
    """The finished task's folder, by the model's configuration, its device, its weights as in _evaluated, and what was
    asked."""
    settings = load_utility_config(words)
    limited = (settings.limit, None if settings.limit is None else settings.seed)
    weights = _weights(settings.model, since)
    for folder, stored, manifest in ended(settings.utility_dir, since, settings.model.name):
        is_same = (stored.get("model"), stored.get("device")) == (settings.model.model_dump(), settings.device)
        if is_same and weights in (None, (manifest.get("decides") or {}).get("identity")):
            for result in sorted(folder.glob(f"{settings.tasks[0]}-*/result.json")):
                plan = read_json(result).get("plan") or {}
                has_tokens = plan.get("max_answer_tok") in {None, settings.max_answer_tok}
                is_asked = has_tokens and (plan.get("limit"), plan.get("seed")) == limited
                if is_asked and _is_of_data(plan.get("data"), settings.data_root):
                    return result.parent
    return None


def _is_of_data(data: Any, root: str | None) -> bool:
    """Whether the questions are the hub's, or of the files that are below data_root now."""
    if root is None or not isinstance(data, dict):
        return root is None and data == "hub"
    return not any(change(Path(root).expanduser() / name, digest) for name, digest in data.items())
