"""A utility task: hydra_conf/utility_task/<name>.yaml names lm-eval's definition of it and our settings.

What it will ask is checked and hashed before a model is loaded: its questions and its local rows. Of lm-eval's
definition, which our task files include, only the data's place and the shots are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from cada_trl.config import CONF_DIR
from cada_trl.config.loading import NonNegative, Positive, Section, load_described
from cada_trl.data.benchmark_items import lacks_file, read_rows, spread
from cada_trl.errors import UserError
from cada_trl.evaluation.settings import UtilityConfig
from cada_trl.storage.digest import content_hash, file_sha256, sha256_of
from cada_trl.storage.files import replace_yaml

TASK_DIR = CONF_DIR / "utility_task"


class Files(Section):
    """The task's rows in a local folder; `{subset}` in a path stands for the subset's name.

    field: the JSON key that holds the rows, null for one row per line. subset_column: where one file holds all subsets.
    columns: what each row must have: a text, four texts (the choices) or an index into them.
    """

    format: Literal["json", "parquet"]
    test: str
    fewshot: str | None
    field: str | None
    subset_column: str | None
    columns: dict[str, Literal["text", "four_texts", "index"]]


class TaskSpec(Section):
    """One task. definition, group_definition: lm-eval's files below lm_eval/tasks; leaf, group: its names for them.

    metric, filter: the one of lm-eval's scores that is the accuracy. subsets: name -> number of questions as published.
    """

    name: str
    source: str
    licence: str
    definition: str
    group_definition: str | None
    leaf: str
    group: str | None
    num_fewshot: NonNegative
    chat_template: bool
    fewshot_as_turns: bool  # the examples are earlier turns of the chat, not text before the question
    generates: bool
    metric: Literal["acc", "exact_match"]
    filter: str
    files: Files
    subsets: dict[str, Positive]

    @model_validator(mode="after")
    def _cross_checks(self) -> TaskSpec:
        if (self.group is None) != (self.group_definition is None):
            raise ValueError("group and group_definition go together")
        if self.fewshot_as_turns and not self.chat_template:
            raise ValueError("fewshot_as_turns needs chat_template")
        return self

    @property
    def n(self) -> int:
        return sum(self.subsets.values())

    def leaf_of(self, subset: str) -> str:
        """lm-eval's name of the subset's task."""
        return self.leaf.format(subset=subset)


def load_task(name: str) -> TaskSpec:
    """The task's description; `files` and `subsets` may name another task whose section they share.

    Errors: UserError for an unknown name, with the nearest ones, and for a file that is not a description.
    """
    return load_described(TaskSpec, TASK_DIR, name, "task", ("files", "subsets"))


def check_files(task: TaskSpec, data_root: Path) -> dict[str, str]:
    """Path below data_root -> SHA-256, of every file that the task reads.

    Errors: UserError for a file that is missing or unreadable, a row without one of the columns, a subset with another
    number of rows than published, and too few examples for num_fewshot.
    """
    if not data_root.is_dir():
        raise UserError(f"data_root={data_root} is not a folder; expected one with {task.files.test}, or null: hub")
    counts, hashes = _counts(task, data_root, task.files.test)
    for subset, published in task.subsets.items():
        if counts[subset] != published:
            raise UserError(
                f"{task.name}: {counts[subset]} rows of {subset} in "
                f"{data_root / task.files.test.format(subset=subset)}; "
                f"expected the published {published} ({task.source}): get the file again"
            )
    if task.files.fewshot is not None:
        counts, of_examples = _counts(task, data_root, task.files.fewshot)
        hashes |= of_examples
        for subset in task.subsets:
            if counts[subset] < task.num_fewshot:
                raise UserError(
                    f"{task.name}: {counts[subset]} examples of {subset} in {data_root / task.files.fewshot}; "
                    f"expected at least {task.num_fewshot} ({task.source})"
                )
    return dict(sorted(hashes.items()))


def _counts(task: TaskSpec, data_root: Path, pattern: str) -> tuple[Counter[str], dict[str, str]]:
    """Rows of each subset, all of them checked, and the files' hashes."""
    column = task.files.subset_column
    counts: Counter[str] = Counter()
    hashes = {}
    for name, subset in {pattern.format(subset=subset): subset for subset in task.subsets}.items():
        path = data_root / name
        if not path.is_file():
            raise UserError(
                f"{task.name}: {lacks_file(data_root, name, task.source)}, or set data_root=null for the hub"
            )
        for number, row in read_rows(path, listed=task.files.field or "examples"):
            _check_row(task, path, number, row)
            counts[row[column] if column else subset] += 1
        hashes[name] = file_sha256(path)
    return counts, hashes


def _check_row(task: TaskSpec, path: Path, number: int, row: Mapping[str, Any]) -> None:
    column = task.files.subset_column
    wanted = dict(task.files.columns) | ({} if column is None else {column: "text"})
    for column, kind in wanted.items():
        value = row.get(column) if isinstance(row, dict) else None
        if not _is(kind, value):
            raise UserError(
                f"{path}, row {number}: '{column}' is {str(value)[:40]!r}; expected {kind.replace('_', ' ')}: is it "
                "the published file?"
            )


def _is(kind: str, value: Any) -> bool:
    if kind == "text":
        return isinstance(value, str) and bool(value.strip())
    if kind == "index":
        return isinstance(value, int) and 0 <= value < 4
    return isinstance(value, list) and len(value) == 4 and all(isinstance(choice, str) for choice in value)


def lm_eval_version() -> str:
    """The installed lm-eval's version. Errors: UserError names the extra when it is not installed."""
    if find_spec("lm_eval") is None:
        raise UserError("lm-eval is not installed; pip install 'cada_trl[utility]'")
    return version("lm_eval")


def definitions_sha256(task: TaskSpec) -> str:
    """SHA-256 over the files beside the published definition: prompts, filters, metrics. Errors: as lm_eval_version."""
    folder = _published(task.definition.format(subset=next(iter(task.subsets)))).parent
    paths = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix != ".pyc")
    return sha256_of(path.name.encode() + b"\0" + path.read_bytes() for path in paths)


def write_definitions(task: TaskSpec, subsets: Collection[str], data_root: Path | None, folder: Path) -> str:
    """Write one YAML file a subset into folder, and the group's; returns the name by which lm-eval loads them all.

    data_root None leaves lm-eval's own source, the hub. Errors: UserError for an lm-eval without the definition.
    """
    for subset in subsets:
        replace_yaml(folder / f"{subset}.yaml", _leaf(task, subset, data_root))
    if task.group is None or task.group_definition is None:
        return task.leaf_of(next(iter(subsets)))
    members = [task.leaf_of(subset) for subset in subsets]
    replace_yaml(folder / "_group.yaml", {"include": str(_published(task.group_definition)), "task": members})
    return task.group


def _leaf(task: TaskSpec, subset: str, data_root: Path | None) -> dict[str, Any]:
    files = task.files
    values: dict[str, Any] = {
        "include": str(_published(task.definition.format(subset=subset))),
        "task": task.leaf_of(subset),
        "num_fewshot": task.num_fewshot,
    }
    if data_root is None:
        return values
    root = data_root.resolve()
    data_files = {"test": str(root / files.test.format(subset=subset))}
    if files.fewshot is not None:
        data_files["dev"] = str(root / files.fewshot.format(subset=subset))
    loading: dict[str, Any] = {"data_files": data_files}
    if files.field is not None:
        loading["field"] = files.field
    if files.subset_column is not None:
        loading["filters"] = [[files.subset_column, "==", subset]]
    return {
        **values,
        "dataset_path": files.format,
        "dataset_name": None,
        "dataset_kwargs": loading,
        "training_split": None,
        "fewshot_split": None if files.fewshot is None else "dev",
    }


def _published(relative: str) -> Path:
    installed, found = lm_eval_version(), find_spec("lm_eval")
    path = Path(str(found and found.origin)).parent / "tasks" / relative
    if not path.is_file():
        raise UserError(f"lm-eval {installed} has no task file {relative}; 'cada_trl[utility]' has it")
    return path


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
