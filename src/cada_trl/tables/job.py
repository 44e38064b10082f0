"""One call of a verb that a table needs, and the folder where the verb keeps its result. No torch.

The verbs' folders are named and skipped by content: a job only asks whether its own result is there.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from cada_trl.config import Config, config_hash, load_config, run_name
from cada_trl.errors import UserError
from cada_trl.evals.settings import EvaluateConfig, load_evaluate_config
from cada_trl.evals.utility.settings import UtilitySettings, load_settings
from cada_trl.report.stored_config import read_config
from cada_trl.storage.files import read_json
from cada_trl.sweeps.job import read_manifest

Verb = Literal["train", "evaluate", "utility"]


@dataclass(frozen=True)
class Job:
    """words: the verb's. trained: the training whose model is asked, None for none. n: answers or questions."""

    verb: Verb
    name: str
    words: tuple[str, ...]
    trained: Job | None = None
    n: int = 0

    @property
    def command(self) -> list[str]:
        return [sys.executable, "-m", f"cada_trl.{self.verb}", *self.words]

    def result(self) -> Path | None:
        """The folder with the finished result; None before that. Errors: UserError for words that the verb refuses."""
        if self.verb == "train":
            return _run(self.words)
        run = self.trained.result() if self.trained is not None else None
        if self.trained is not None and run is None:
            return None
        since = "" if run is None else str(read_manifest(run).get("ended_utc"))
        return _evaluation(self.words, since) if self.verb == "evaluate" else _utility(self.words, since)


def run_folder(words: tuple[str, ...]) -> Path:
    """Where the training with these words writes. Errors: UserError as load_config."""
    config = _training(words)
    return Path(config.runs_dir) / run_name(config)


@cache
def _training(words: tuple[str, ...]) -> Config:
    return load_config(list(words))


@cache
def _asked(words: tuple[str, ...]) -> EvaluateConfig:
    """Of a model that is there: a finished run does not change how it is asked."""
    return load_evaluate_config(words)


def _run(words: tuple[str, ...]) -> Path | None:
    config, folder = _training(words), run_folder(words)
    manifest = read_manifest(folder)
    same = (manifest.get("config_hash"), (manifest.get("seeds") or {}).get("run")) == (config_hash(config), config.seed)
    return folder if same and manifest.get("exit_state") == "done" else None


def _evaluation(words: tuple[str, ...], since: str) -> Path | None:
    """The evaluation with this very configuration that ended well after the training did."""
    config = _asked(words)
    for path in sorted(Path(config.evals_dir).glob("*/config.yaml")):
        manifest = read_manifest(path.parent)
        done = manifest.get("exit_state") == "done" and str(manifest.get("ended_utc")) >= since
        if done and (path.parent / "scores.json").is_file() and _stored(path) == config.model_dump():
            return path.parent
    return None


def _utility(words: tuple[str, ...], since: str) -> Path | None:
    """The finished task's folder, by the model's configuration and what was asked, made after the training ended."""
    settings = load_settings(words)
    for path in sorted(Path(settings.utility_dir).glob("*/config.yaml")):
        after = str(read_manifest(path.parent).get("ended_utc")) >= since
        if after and _stored(path).get("model") == settings.model.model_dump():
            for result in sorted(path.parent.glob(f"{settings.tasks[0]}-*/result.json")):
                if _asks_the_same(result, settings):
                    return result.parent
    return None


def _asks_the_same(result: Path, settings: UtilitySettings) -> bool:
    plan = read_json(result).get("plan") or {}
    seed = None if settings.limit is None else settings.seed
    tokens = plan.get("max_answer_tok") in {None, settings.max_answer_tok}
    return (plan.get("limit"), plan.get("seed")) == (settings.limit, seed) and tokens


def _stored(path: Path) -> dict[str, Any]:
    try:
        return read_config(path)
    except UserError:
        return {}
