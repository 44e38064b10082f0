"""The tables' files: their cells are the paper's, and a name that they do not have is refused."""

from __future__ import annotations

import pytest

from cada_trl.config import CONF_DIR
from cada_trl.errors import UserError
from cada_trl.report.paper import paper_tables
from cada_trl.tables.expected import TABLES
from cada_trl.tables.layout import asked_model, load_layout, load_models, recipe_words


def cells(table: int) -> set[tuple[str, str, str, str]]:
    layout = load_layout(table, (), ())
    return {
        (row.method, column.name, attack, measure)
        for row in layout.rows
        if not row.method.endswith("(ours)")
        for column in layout.columns
        for attack in column.attacks
        for measure in column.measures
    }


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("model", ["llama3", "deepthought"])
def test_a_tables_cells_are_those_that_the_paper_reports(table: int, model: str) -> None:
    published = {
        (row.method, row.benchmark, attack, row.measure)
        for row in paper_tables().rows
        if (row.table, row.model) == (table, model)
        for attack in row.values
    }
    assert cells(table) == published


def test_every_model_that_is_trained_has_an_entry_and_stands_beside_a_model_of_the_paper() -> None:
    models = load_models().models
    assert set(models) == {path.stem for path in (CONF_DIR / "model").glob("*.yaml")}
    assert {model.paper for model in models.values()} == set(paper_tables().models)
    assert all(models[name].paper == name for name in paper_tables().models)


def test_some_rows_and_columns_keep_the_tables_order() -> None:
    layout = load_layout(3, ["cada", "none"], ["hex_phi"])
    assert [row.id for row in layout.rows] == ["none", "cada"]
    assert [column.name for column in layout.columns] == ["hex_phi"]


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        (["cadda"], [], "table 3 has no row 'cadda'; did you mean cada"),
        ([], ["gsm8k"], "table 3 has no column 'gsm8k'; valid: advbench, hex_phi, strongreject"),
    ],
)
def test_an_unknown_cell_is_refused_with_the_nearest_name(rows: list[str], columns: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_layout(3, rows, columns)


def test_an_unknown_model_or_recipe_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"model=llama4 has no entry in recipes/tables/models\.yaml; did you mean llama3"
    ):
        asked_model("llama4")
    with pytest.raises(UserError, match=r"no recipe .*llama3/cda\.yaml; did you mean cada"):
        recipe_words("llama3", "cda")
