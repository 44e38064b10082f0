"""What a table asks: recipes/tables/table<N>.yaml has rows and columns, models.yaml how a model is asked. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import model_validator

from cada_trl.config import RECIPES_DIR as RECIPES
from cada_trl.config import recipes
from cada_trl.config.loading import NonNegative, Section, check_values, nearest
from cada_trl.errors import UserError

Measure = Literal["asr", "harmful_score", "nrr", "accuracy"]


class Row(Section):
    """A method of the paper: an untrained model under a prompt arm, or a recipe that trains it."""

    id: str
    method: str
    arm: str | None = None
    recipe: str | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Row:
        if (self.arm is None) == (self.recipe is None):
            raise ValueError(f"row {self.id}: expected an arm or a recipe")
        return self


class Column(Section):
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
    rows: list[Row]
    columns: list[Column]


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


Named = TypeVar("Named", Row, Column)


def load_layout(table: int, rows: Sequence[str], columns: Sequence[str]) -> Layout:
    """The table, or the named rows and columns of it. Errors: UserError for a name that it does not have."""
    path = RECIPES / "tables" / f"table{table}.yaml"
    layout = check_values(Layout, _yaml(path))
    chosen = _chosen("row", {row.id: row for row in layout.rows}, rows, table)
    return layout.model_copy(
        update={
            "rows": chosen,
            "columns": _chosen("column", {column.name: column for column in layout.columns}, columns, table),
        }
    )


def load_models() -> Models:
    """How every model is asked."""
    return check_values(Models, _yaml(RECIPES / "tables" / "models.yaml"))


def asked_model(name: str) -> AskedModel:
    """Errors: UserError for a model that the tables do not know."""
    models = load_models().models
    if name not in models:
        raise UserError(f"model={name} has no entry in recipes/tables/models.yaml; {nearest(name, models)}")
    return models[name]


def recipe_words(model: str, recipe: str) -> list[str]:
    """The overrides of recipes/<model>/<recipe>.yaml. Errors: UserError where there is no such recipe."""
    return recipes.recipe_words(f"{model}/{recipe}", RECIPES)


def _chosen(kind: str, known: dict[str, Named], names: Sequence[str], table: int) -> list[Named]:
    for name in names:
        if name not in known:
            raise UserError(f"table {table} has no {kind} '{name}'; {nearest(name, known)}")
    return [one for name, one in known.items() if not names or name in names]


def _yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
