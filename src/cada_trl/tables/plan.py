"""A table's cells and the jobs that fill them: which verb with which words, in which order. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cada_trl.config.loading import as_override
from cada_trl.errors import UserError
from cada_trl.evals.settings import EvaluateConfig, load_evaluate_config
from cada_trl.evals.utility.settings import UtilitySettings, load_settings
from cada_trl.evals.utility.task import load_task
from cada_trl.tables.available import Available, available
from cada_trl.tables.job import Job, run_folder
from cada_trl.tables.layout import AskedModel, Column, Layout, Row, asked_model, load_layout, recipe_words
from cada_trl.tables.settings import TableSettings

# What each verb's cells are made of
OWN_KEYS = {
    "train": ("model", "algo", "seed"),
    "evaluate": ("model", "arm", "benchmarks", "attacks"),
    "utility": ("model", "tasks"),
}


@dataclass(frozen=True)
class Block:
    """One row in one column: a job a seed (one for an untrained model). lacking: attack -> (a word, the reason)."""

    row: Row
    column: Column
    jobs: tuple[Job, ...]
    lacking: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class TablePlan:
    """blocks: rows first, then columns. asks_endpoint: the judge is behind an endpoint, its calls may cost."""

    settings: TableSettings
    layout: Layout
    model: AskedModel
    blocks: list[Block]
    asks_endpoint: bool

    @property
    def jobs(self) -> list[Job]:
        """Each once; a training before what asks its model."""
        return list(dict.fromkeys(job for block in self.blocks for job in _with_training(block.jobs)))


def plan_table(settings: TableSettings) -> TablePlan:
    """Errors: UserError for an unknown model, recipe, row or column, and for words that a verb refuses."""
    model = asked_model(settings.model)
    layout = load_layout(settings.table, settings.rows, settings.columns)
    words = _Words(settings, model)
    words.check()
    found = {
        column.name: words.available(column.benchmark, column.attacks) for column in layout.columns if column.benchmark
    }
    blocks = []
    for row in layout.rows:
        trainings = words.trainings(row)
        for column in layout.columns:
            here = found.get(column.name)
            asked = [words.asked(row, training, column, here) for training in trainings]
            jobs = tuple(job for job in asked if job is not None)
            blocks.append(Block(row, column, jobs, here.lacking if here else {}))
    return TablePlan(settings, layout, model, blocks, words.evaluation.judge.base_url is not None)


def _with_training(jobs: tuple[Job, ...]) -> Iterator[Job]:
    for job in jobs:
        yield from ([job.trained, job] if job.trained else [job])


class _Words:
    """The verbs' words for one table."""

    def __init__(self, settings: TableSettings, model: AskedModel) -> None:
        self._settings, self._model = settings, model
        self._base = [f"model={settings.model}"]
        if settings.weights is not None:
            local = {"source": "folder", "path": settings.weights, "revision": None, "gated": False}
            self._base += [as_override(f"model.{key}", value) for key, value in local.items()]

    def check(self) -> None:
        """The words that the user added are refused here, before anything has run."""
        for verb, keys in OWN_KEYS.items():
            for word in getattr(self._settings, verb):
                if word.partition("=")[0] in keys:
                    raise UserError(
                        f"{verb}={word}: the table sets {', '.join(keys)} itself; choose rows= and columns="
                    )
        _ = self.evaluation, self._questions

    @cached_property
    def evaluation(self) -> EvaluateConfig:
        """How the untrained model is asked; the trained ones by the same judge and with the same limit."""
        return load_evaluate_config([*self._base, *self._evaluate()])

    @cached_property
    def _questions(self) -> UtilitySettings:
        return load_settings([*self._base, *self._utility()])

    def available(self, benchmark: str, attacks: Sequence[str]) -> Available:
        config = self.evaluation
        return available(benchmark, attacks, config.data_root, config.limit, config.seed)

    def trainings(self, row: Row) -> list[Job | None]:
        """One a seed; [None] for an untrained model."""
        if row.recipe is None:
            return [None]
        return [self._training(row.recipe, seed) for seed in self._settings.seeds]

    def asked(self, row: Row, training: Job | None, column: Column, here: Available | None) -> Job | None:
        """None where no attack of the column can be had."""
        name = (
            f"{row.id}-{column.name}" if training is None else f"{training.name.removeprefix('train-')}-{column.name}"
        )
        base = self._base if training is None else [f"model={run_folder(training.words)}"]
        if here is None:
            words = (*base, *self._utility(), f"tasks={column.task}")
            limit, n = self._questions.limit, load_task(column.name).n
            return Job("utility", f"utility-{name}", words, training, n if limit is None else min(n, limit))
        if not here.attacks:
            return None
        asked = [f"arm={row.arm or 'none'}", f"benchmarks={column.benchmark}", f"attacks={','.join(here.attacks)}"]
        words = (*base, *self._evaluate(), *asked)
        return Job("evaluate", f"evaluate-{name}", words, training, sum(here.attacks.values()))

    def _training(self, recipe: str, seed: str) -> Job:
        own = self._settings
        folders = [as_override("runs_dir", own.runs_dir), as_override("data_dir", own.data_dir)]
        recipe_own = recipe_words(own.model, recipe)
        words = (*self._base, *self._requests(), *recipe_own, *folders, *own.train, f"seed={seed}")
        run_folder(words)  # refuses what the training would refuse
        return Job("train", f"train-{recipe}-s{seed}", words)

    def _requests(self) -> list[str]:
        """As the Makefile chooses them, unless the added words do."""
        own = self._settings
        if any(word.startswith("data=") for word in own.train):
            return []
        paper = own.model != "smollm2"
        if own.data_root is None:
            return ["data=paper" if paper else "data=twins"]
        compared = as_override("benchmarks_dir", own.data_root)
        if not paper:
            return ["data=twins", compared]
        return ["data=paper", as_override("file", f"{own.data_root}/beavertails/330k_unsafe_prompts.jsonl"), compared]

    def _evaluate(self) -> list[str]:
        own = self._settings
        return [*self._model.evaluate, *self._common(), as_override("evals_dir", own.evals_dir), *own.evaluate]

    def _utility(self) -> list[str]:
        own = self._settings
        return [*self._model.utility, *self._common(), as_override("utility_dir", own.utility_dir), *own.utility]

    def _common(self) -> list[str]:
        own = self._settings
        limit = [] if own.limit is None else [f"limit={own.limit}"]
        return [*limit, *([] if own.data_root is None else [as_override("data_root", own.data_root)])]
