"""The tables' cells are the paper's, a name that they do not have is refused, and what a benchmark lacks is a word."""

import pytest

from cada_trl.config import RECIPES_DIR
from cada_trl.data.benchmark_items import load_spec
from cada_trl.errors import UserError
from cada_trl.jobs.job import training
from cada_trl.jobs.table_plan import available, load_layout, load_models, load_table_settings, plan_table
from cada_trl.report.paper import paper_tables

ATTACKS = ["none", "pair", "pap"]


def test_a_gated_set_without_access_is_named_so_for_every_attack(tmp_path):
    here = available("hex_phi", ATTACKS, str(tmp_path), None, 0)
    assert here.attacks == {}
    assert {word for word, _ in here.lacking.values()} == {"no access"}
    assert "it is gated: ask for access" in here.lacking["pair"][1]


def test_a_set_that_anybody_can_have_is_no_question_of_access(tmp_path):
    here = available("advbench", ["none"], str(tmp_path), None, 0)
    assert here.lacking["none"][0] == "no data"


def test_an_attack_that_nobody_published_leaves_the_raw_requests(tmp_path):
    folder = tmp_path / "hex_phi"
    folder.mkdir()
    for stem in load_spec("hex_phi").file_categories or {}:
        (folder / f"{stem}.csv").write_text("".join(f"Policy question {stem} {n}\n" for n in range(30)))
    here = available("hex_phi", ATTACKS, str(tmp_path), 20, 0)
    assert here.attacks == {"none": 20}
    assert {attack: word for attack, (word, _) in here.lacking.items()} == {"pair": "no prompts", "pap": "no prompts"}


def test_published_attacks_are_counted(shared_data):
    here = available("strongreject", ATTACKS, str(shared_data), None, 0)
    assert (here.attacks["none"], here.lacking) == (313, {})
    assert 0 < here.attacks["pair"] <= 313


def test_an_unknown_benchmark_is_a_mistake_and_no_state():
    with pytest.raises(UserError, match="unknown benchmark 'hexphi'"):
        available("hexphi", ["none"], None, None, 0)


def cells(table):
    layout = load_layout(table)
    return {
        (row.method, column.name, attack, measure)
        for row in layout.rows
        if not row.method.endswith("(ours)")
        for column in layout.columns
        for attack in column.attacks
        for measure in column.measures
    }


@pytest.mark.parametrize("table", [1, 2, 3, 4])
@pytest.mark.parametrize("model", ["llama3", "deepthought"])
def test_a_tables_cells_are_those_that_the_paper_reports(table, model):
    published = {
        (row.method, row.benchmark, attack, row.measure)
        for row in paper_tables().rows
        if (row.table, row.model) == (table, model)
        for attack in row.values
    }
    assert cells(table) == published


def test_every_model_that_is_trained_has_an_entry_and_stands_beside_a_model_of_the_paper():
    models = load_models().models
    assert set(models) == {path.parent.name for path in RECIPES_DIR.glob("*/cada.yaml")}
    assert {model.paper for model in models.values()} == set(paper_tables().models)
    assert all(models[name].paper == name for name in paper_tables().models)


def test_some_rows_and_columns_keep_the_tables_order():
    layout = load_layout(3, ["cada", "none"], ["hex_phi"])
    assert [row.id for row in layout.rows] == ["none", "cada"]
    assert [column.name for column in layout.columns] == ["hex_phi"]


def test_lists_are_written_with_commas_and_words_keep_their_equals_sign():
    settings = load_table_settings(["table=4", "seeds=0,2", "rows=none,cada", "train=max_steps=1,judge=rubric"])
    assert (settings.table, settings.seeds, settings.rows) == (4, ["0", "2"], ["none", "cada"])
    assert settings.train == ["max_steps=1", "judge=rubric"]


@pytest.mark.parametrize("data", [[], ["train=data=twins"], ["train=data=jsonl,file=mine.jsonl"]])
def test_what_is_trained_on_is_compared_with_the_sets_below_data_root_whatever_it_is(data, tmp_path):
    words = ["table=4", "rows=cada", "columns=gsm8k", "seeds=0", f"data_root={tmp_path}", *data]
    train, _ = plan_table(load_table_settings(words)).jobs
    assert training(train.calls[0].words).data.benchmarks_dir == str(tmp_path)


def test_a_folder_is_named_by_what_is_asked_and_not_by_where_it_is_kept():
    one = load_table_settings(["table=3"]).folder
    assert one.name.startswith("table3-smollm2-")
    assert load_table_settings(["table=3", "runs_dir=elsewhere"]).folder == one
    assert load_table_settings(["table=3", "tables_dir=here"]).folder.name == one.name
    others = ["limit=2", "seeds=0", "rows=cada", "train=max_steps=1", "model=llama3", "table=4"]
    assert len({load_table_settings([word]).folder for word in others} | {one}) == len(others) + 1
