"""What one task will ask: its questions, data and settings, all checked and hashed before a model is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cada_trl.data.benchmark_items import spread
from cada_trl.evaluation.settings import UtilityConfig
from cada_trl.evaluation.utility.files import check_files, definitions_sha256, lm_eval_version
from cada_trl.evaluation.utility.task import TaskSpec, load_task
from cada_trl.storage.digest import content_hash


@dataclass(frozen=True)
class Plan:
    """A task with its questions (subset -> row numbers) and everything that decides what is asked and how it is scored.

    Two models answered the same questions where their plans have the same hash: the model is not part of it.
    """

    task: TaskSpec
    questions: dict[str, list[int]]
    data_root: Path | None
    facts: dict[str, Any]

    @property
    def hash(self) -> str:
        return content_hash(self.facts)

    @property
    def folder_name(self) -> str:
        return f"{self.task.name}-{self.hash}"

    @property
    def n(self) -> int:
        return sum(map(len, self.questions.values()))


def plan_tasks(settings: UtilityConfig) -> list[Plan]:
    """A plan for each task named. Errors: UserError as load_task, lm_eval_version and check_files."""
    tasks = [load_task(name) for name in settings.tasks]
    version = lm_eval_version()
    return [_plan(task, settings, version) for task in tasks]


def sampled(subsets: Mapping[str, int], limit: int | None, seed: int) -> dict[str, list[int]]:
    """Subset -> row numbers from 0, ascending, spread by the seed; subsets without a question are absent."""
    texts = {subset: [f"{subset} {row}" for row in range(size)] for subset, size in subsets.items()}
    taken: dict[str, list[int]] = {subset: [] for subset in subsets}
    for subset, row in sorted(spread(texts, limit, seed)):
        taken[subset].append(row)
    return {subset: rows for subset, rows in taken.items() if rows}


def _plan(task: TaskSpec, settings: UtilityConfig, version: str) -> Plan:
    data_root = None if settings.data_root is None else Path(settings.data_root).expanduser()
    questions = sampled(task.subsets, settings.limit, settings.seed)
    facts = {
        "task": task.model_dump(exclude={"files", "subsets", "source", "licence"}),
        "questions": questions,
        "limit": settings.limit,
        "seed": settings.seed if settings.limit is not None else None,
        "max_answer_tok": settings.max_answer_tok if task.generates else None,
        "data": "hub" if data_root is None else check_files(task, data_root),
        "lm_eval": version,
        "definitions_sha256": definitions_sha256(task),
    }
    return Plan(task, questions, data_root, facts)
