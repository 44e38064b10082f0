"""A table's settings and layout (recipes/tables/), and the jobs that fill its cells: words, order, cost. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from cada_trl.config import CONF_DIR, RECIPES_DIR
from cada_trl.config.loading import NonNegative, Positive, Section, as_override, compose_config, load_described, nearest
from cada_trl.config.run_config import recipe_words
from cada_trl.config.texts import Folder
from cada_trl.data.benchmark_items import load_items, load_spec
from cada_trl.data.sources import local_beavertails
from cada_trl.errors import UserError
from cada_trl.evaluation.attacks import make_attack
from cada_trl.evaluation.attacks.attack import NotRun
from cada_trl.evaluation.folder import folder_name
from cada_trl.evaluation.settings import WHICH_MODEL, load_evaluate_config, load_utility_config
from cada_trl.evaluation.utility.task import load_task
from cada_trl.jobs.job import Call, Job, Verb, run_folder
from cada_trl.report.paper import Measure

# What a table's cells are made of, by verb
_SET_HERE = {
    "train": ("model", "algo", "method", "seed", "recipe", "run_name", "source", "path"),
    "evaluate": ("model", "prompt", "arm", "suite", "benchmarks", "attacks", "limit", "shard", *WHICH_MODEL),
    "utility": ("model", "tasks", "limit", *WHICH_MODEL),
}


class TableSettings(Section):
    """One call of the verb: hydra_conf/table/table.yaml."""

    table: Literal[1, 2, 3, 4]
    model: str
    seeds: list[str]
    rows: list[str]
    columns: list[str]
    limit: Positive | None
    weights: str | None
    data_root: str | None
    train: list[str]
    evaluate: list[str]
    utility: list[str]
    runs_dir: Folder
    data_dir: Folder
    evals_dir: Folder
    utility_dir: Folder
    tables_dir: Folder

    @model_validator(mode="after")
    def _cross_checks(self) -> TableSettings:
        if not self.seeds or len(set(self.seeds)) < len(self.seeds) or not all(seed.isdigit() for seed in self.seeds):
            raise ValueError(f"seeds={','.join(self.seeds)}: expected numbers from 0, each once, as in seeds=0,1,2")
        return self

    @property
    def folder(self) -> Path:
        """<tables_dir>/table<N>-<model>-<hash8>: another limit, seed or word is another table."""
        folders = {name for name in type(self).model_fields if name.endswith("_dir")}
        return Path(self.tables_dir) / folder_name(f"table{self.table}-{self.model}", self.model_dump(exclude=folders))


class TableRow(Section):
    """A method of the paper: an untrained model under a prompt arm, or a recipe that trains it."""

    id: str
    method: str
    arm: str | None = None
    recipe: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> TableRow:
        if (self.arm is None) == (self.recipe is None):
            raise ValueError(f"row {self.id}: expected an arm or a recipe")
        return self


class TableColumn(Section):
    """A benchmark under attacks, or a utility task."""

    benchmark: str | None = None
    attacks: list[str]
    measures: list[Measure]
    task: str | None = None

    @property
    def name(self) -> str:
        return str(self.benchmark or self.task)


class Layout(Section):
    title: str
    rows: list[TableRow]
    columns: list[TableColumn]


class Gpus(Section):
    """GPUs that a job takes; 0 is a CPU."""

    train: NonNegative
    evaluate: NonNegative


class AskedModel(Section):
    """How a model is asked, and the estimates of the dry run. paper: the model whose published numbers stand beside."""

    paper: str
    evaluate: list[str]
    utility: list[str]
    machine: str
    n_gpu: Gpus
    train_h: float
    response_s: float
    question_s: float


class Models(Section):
    judge_usd: float
    models: dict[str, AskedModel]

    def named(self, name: str) -> AskedModel:
        if name not in self.models:
            raise UserError(f"model={name} has no entry in recipes/tables/models.yaml; {nearest(name, self.models)}")
        return self.models[name]


def load_table_settings(overrides: Sequence[str]) -> TableSettings:
    """The file lies in a folder of its own: `model` is a plain word here and would be a group in hydra_conf/."""
    return compose_config(TableSettings, CONF_DIR / "table", "table", overrides)


def load_models() -> Models:
    return load_described(Models, RECIPES_DIR / "tables", "models", "list of models", ())


def load_layout(table: int, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Layout:
    """The table, or the named rows and columns of it. Errors: UserError for a name that it does not have."""
    layout = load_described(Layout, RECIPES_DIR / "tables", f"table{table}", "table", ())
    known: dict[str, dict[str, TableRow] | dict[str, TableColumn]] = {
        "row": {row.id: row for row in layout.rows},
        "column": {column.name: column for column in layout.columns},
    }
    for word, names in (("row", rows), ("column", columns)):
        for name in names:
            if name not in known[word]:
                raise UserError(f"table {table} has no {word} '{name}'; {nearest(name, known[word])}")
        if names:
            chosen = [one for name, one in known[word].items() if name in names]
            layout = layout.model_copy(update={f"{word}s": chosen})
    return layout


@dataclass(frozen=True)
class Available:
    """attacks: those that can be put to the benchmark -> prompts; lacking: the others -> (a word, the reason)."""

    attacks: dict[str, int]
    lacking: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Block:
    """One row in one column: a job per seed (one for an untrained model). lacking: attack -> (a word, the reason)."""

    row: TableRow
    column: TableColumn
    jobs: tuple[Job, ...]
    lacking: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class TablePlan:
    """blocks: rows first, then columns. call_usd: of the judge behind an endpoint, None for another judge."""

    settings: TableSettings
    layout: Layout
    model: AskedModel
    blocks: list[Block]
    call_usd: float | None

    @property
    def jobs(self) -> list[Job]:
        """Each once; a training before what asks its model."""
        return list(dict.fromkeys(job for row in self.layout.rows for job in self.jobs_for(row)))

    def jobs_for(self, row: TableRow) -> list[Job]:
        """Those of one method, in the same order."""
        asking = [job for block in self.blocks if block.row == row for job in block.jobs]
        return list(dict.fromkeys(each for job in asking for each in (job.trained, job) if each is not None))

    def cost(self, jobs: Sequence[Job]) -> str:
        """What the jobs may take, in words: a guess by the number of answers; models.yaml says what was measured."""
        hours = gpu_hours = 0.0
        n_calls = 0
        for job in jobs:
            verb, model = job.calls[0].verb, self.model
            item_s = {"train": 0.0, "evaluate": model.response_s, "utility": model.question_s}[verb]
            own = model.train_h if verb == "train" else job.n * item_s / 3600
            hours += own
            gpu_hours += own * (model.n_gpu.train if verb == "train" else model.n_gpu.evaluate)
            n_calls += job.n if verb == "evaluate" and self.call_usd is not None else 0
        judge = f", {n_calls} judge calls (about ${n_calls * (self.call_usd or 0.0):.2f})" if n_calls else ""
        return f"about {hours:.2f} h{f', {gpu_hours:.2f} GPU h' if gpu_hours else ''}{judge}"


def plan_table(settings: TableSettings) -> TablePlan:
    """Errors: UserError for an unknown model, recipe, row or column, and for words that a verb refuses."""
    if (root := settings.data_root) is not None and not Path(root).expanduser().is_dir():
        raise UserError(f"data_root={root} is not a folder; make data DATA_ROOT={root} fills one, or null for the hub")
    models = load_models()
    model = models.named(settings.model)
    layout = load_layout(settings.table, settings.rows, settings.columns)
    words = _Words(settings, model)
    config = words.evaluation
    can_be_had = {
        column.name: available(column.benchmark, column.attacks, config.data_root, config.limit, config.seed)
        for column in layout.columns
        if column.benchmark
    }
    blocks = []
    for row in layout.rows:
        trainings = words.trainings(row)
        for column in layout.columns:
            here = can_be_had.get(column.name)
            asked = [words.asked(row, training, column, here) for training in trainings]
            jobs = tuple(job for job in asked if job is not None)
            blocks.append(Block(row, column, jobs, here.lacking if here else {}))
    return TablePlan(settings, layout, model, blocks, None if config.judge.base_url is None else models.judge_usd)


def available(name: str, attacks: Sequence[str], data_root: str | None, limit: int | None, seed: int) -> Available:
    """`no access`: a gated set that was not granted; `no prompts`: an attack that nobody published for the set.
    Errors: UserError for an unknown benchmark or attack."""
    spec, root = load_spec(name), Path(data_root).expanduser() if data_root else None
    try:
        items = load_items(spec, root, limit, seed)
    except UserError as error:
        word = "no access" if spec.gated else "no data"
        return Available({}, {attack: (word, str(error)) for attack in attacks})
    # Without an attacker: the tables ask published prompts, the same for every model.
    here = Available({}, {})
    for attack in attacks:
        try:
            here.attacks[attack] = len(make_attack(attack, spec, root).attempts(items).attempts)
        except NotRun as reason:
            here.lacking[attack] = ("no prompts", str(reason))
        except UserError as error:
            here.lacking[attack] = ("no data", str(error))
    return here


class _Words:
    def __init__(self, settings: TableSettings, model: AskedModel) -> None:
        self._settings, self._model = settings, model
        self._base = [f"model={settings.model}"]
        if settings.weights is not None:
            local = {"source": "folder", "path": settings.weights, "revision": None, "gated": False}
            self._base += [as_override(f"model.{key}", value) for key, value in local.items()]
        for verb, keys in _SET_HERE.items():  # the words that the user added are refused before anything has run
            for word in getattr(settings, verb):
                path = word.partition("=")[0].split(".")
                if path[-1] in keys or (verb == "train" and path[0] == "algo"):
                    raise UserError(
                        f"{verb}={word}: the table sets {', '.join(keys)} itself; choose rows= and columns=, and give "
                        "seeds=, limit= and weights= to the table"
                    )
        # How the untrained model is asked; the trained ones by the same judge and with the same limit.
        self.evaluation = load_evaluate_config([*self._base, *self._how("evaluate", "evals_dir")])
        self._questions = load_utility_config([*self._base, *self._how("utility", "utility_dir")])

    def trainings(self, row: TableRow) -> list[Job | None]:
        """One a seed; [None] for an untrained model."""
        settings = self._settings
        if row.recipe is None:
            return [None]
        folders = [as_override(key, getattr(settings, key)) for key in ("runs_dir", "data_dir")]
        of_recipe = recipe_words(f"{settings.model}/{row.recipe}")
        jobs: list[Job | None] = []
        for seed in settings.seeds:
            words = (*self._base, *self._requests(), *of_recipe, *folders, *settings.train, f"seed={seed}")
            run_folder(words)  # refuses what the training would refuse
            jobs.append(_job("train", f"{row.recipe}-s{seed}", words))
        return jobs

    def asked(self, row: TableRow, training: Job | None, column: TableColumn, here: Available | None) -> Job | None:
        """None where no attack of the column can be had."""
        name = f"{training.id.removeprefix('train-') if training else row.id}-{column.name}"
        base = self._base if training is None else [f"model={training.run_folder}"]
        if here is None:
            words = (*base, *self._how("utility", "utility_dir"), f"tasks={column.task}")
            limit, n = self._questions.limit, load_task(column.name).n
            return _job("utility", name, words, training, n if limit is None else min(n, limit))
        if not here.attacks:
            return None
        asked = [f"arm={row.arm or 'none'}", f"benchmarks={column.benchmark}", f"attacks={','.join(here.attacks)}"]
        words = (*base, *self._how("evaluate", "evals_dir"), *asked)
        return _job("evaluate", name, words, training, sum(here.attacks.values()))

    def _requests(self) -> list[str]:
        """As the Makefile chooses them; the added words may choose others, which are compared all the same."""
        settings, root = self._settings, self._settings.data_root
        given = [word for word in settings.train if word.startswith("data=")]
        words = given[-1:] or ["data=twins" if settings.model == "smollm2" else "data=paper"]
        if root and words[0] in {"data=paper", "data=beavertails"}:
            words.append(as_override("file", local_beavertails(root)))
        return [*words, as_override("benchmarks_dir", root)] if root else words

    def _how(self, verb: Literal["evaluate", "utility"], folder: str) -> list[str]:
        """How the verb asks any model of this table: the model's words, this call's, those that the user added."""
        values = {key: getattr(self._settings, key) for key in ("limit", "data_root", folder)}
        own = [as_override(key, value) for key, value in values.items() if value is not None]
        return [*getattr(self._model, verb), *own, *getattr(self._settings, verb)]


def _job(verb: Verb, name: str, words: tuple[str, ...], trained: Job | None = None, n: int = 0) -> Job:
    return Job(f"{verb}-{name}", f"{verb}-{name}", (Call(verb, words),), trained, n)
