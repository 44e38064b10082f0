"""What a table asks: its settings; rows and columns of recipes/tables/table<N>.yaml; how models.yaml asks a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import model_validator

from cada_trl.config import CONF_DIR, RECIPES_DIR
from cada_trl.config.loading import NonNegative, Positive, Section, compose_config, load_described, nearest
from cada_trl.config.texts import Folder
from cada_trl.errors import UserError
from cada_trl.evaluation.folder import folder_name
from cada_trl.report.paper import Measure


class TableSettings(Section):
    """One call of the verb; the values and their sources are in hydra_conf/table/table.yaml."""

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
    """One table: a cell for each row, column, attack and measure."""

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
    """recipes/tables/models.yaml."""

    judge_usd: float
    models: dict[str, AskedModel]

    def named(self, name: str) -> AskedModel:
        """Errors: UserError for a model that the tables do not know."""
        if name not in self.models:
            raise UserError(f"model={name} has no entry in recipes/tables/models.yaml; {nearest(name, self.models)}")
        return self.models[name]


def load_table_settings(overrides: Sequence[str]) -> TableSettings:
    """Settings from `key=value` words. Errors: UserError in one line, as compose_config.

    The file lies in a folder of its own: `model` is a plain word here and would be a group in hydra_conf/.
    """
    return compose_config(TableSettings, CONF_DIR / "table", "table", overrides)


def load_models() -> Models:
    """How every model is asked."""
    return load_described(Models, RECIPES_DIR / "tables", "models", "list of models", ())


def load_layout(table: int, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Layout:
    """The table, or the named rows and columns of it. Errors: UserError for a name that it does not have."""
    layout = load_described(Layout, RECIPES_DIR / "tables", f"table{table}", "table", ())
    chosen = {
        "rows": _chosen(f"table {table} has no row", {row.id: row for row in layout.rows}, rows),
        "columns": _chosen(f"table {table} has no column", {column.name: column for column in layout.columns}, columns),
    }
    return layout.model_copy(update=chosen)


Named = TypeVar("Named", TableRow, TableColumn)


def _chosen(lacks: str, known: dict[str, Named], names: Sequence[str]) -> list[Named]:
    for name in names:
        if name not in known:
            raise UserError(f"{lacks} '{name}'; {nearest(name, known)}")
    return [known[name] for name in known if not names or name in names]
