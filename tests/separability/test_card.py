import dataclasses

import pytest

from cada_trl.errors import UserError
from cada_trl.separability.card import PAIRS, SETS, card_file, files_digest, read_card, read_set, rows_digest
from cada_trl.storage.files import replace_json
from tests.separability.made_up import twins
from tests.separability.made_up_card import made_up_card


def test_a_written_card_is_read_back_the_same_and_nothing_else_is_left(tmp_path):
    card = made_up_card()
    file = card_file(str(tmp_path / "data"), card.inputs)
    assert read_card(file) is None
    replace_json(file, card.to_json())
    assert read_card(file) == card
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_file_is_named_by_what_decides_the_numbers():
    one = card_file("data", {"a": 1, "b": {"c": None}})
    assert one == card_file("data", {"b": {"c": None}, "a": 1})
    assert one != card_file("data", {"a": 2, "b": {"c": None}})


def test_the_rows_digest_is_of_texts_kinds_and_twins():
    rows = twins(3)
    first = rows_digest([rows])
    assert first == rows_digest([rows[::-1]])  # as another seed draws them
    assert first == rows_digest([[dataclasses.replace(rows[0], id="another"), *rows[1:]]])
    for changes in ({"text": "another"}, {"harmful": False}, {"pair": None}):
        assert first != rows_digest([[dataclasses.replace(rows[0], **changes), *rows[1:]]])
    assert rows_digest([rows, []]) != rows_digest([[], rows])


def test_an_edited_file_is_refused(tmp_path):
    file = tmp_path / "card-01234567.json"
    for content in ("{", '{"layer": 3}'):
        file.write_text(content)
        with pytest.raises(UserError, match="is not a card of this version; delete it"):
            read_card(file)


def test_the_summary_keeps_every_pair_the_absent_too():
    summary = made_up_card().summary()
    assert [pair["absent"] for pair in summary["pairs"]] == [None, "sets/advbench/harmful_behaviors.csv"]
    assert summary["pairs"][0]["probe"]["auc"] == {"value": 0.86, "low": 0.83, "high": 0.89}
    assert "curve" not in summary and "inputs" not in summary


def test_the_published_sets_are_read_and_the_large_ones_thinned(shared_data):
    sets = {key: read_set(key, shared_data) for key in SETS}
    sizes = {key: len(one.texts) for key, one in sets.items() if not one.absent}
    assert sizes["xstest_unsafe"] == 200
    assert sizes["xstest_safe"] == 250
    assert sizes["strongreject"] == 313
    assert (sizes["jailbreakbench_harmful"], sizes["jailbreakbench_benign"]) == (100, 100)
    assert (sets["advbench"].label, sizes["advbench"]) == ("AdvBench (every 4th row)", 130)


def test_of_a_set_in_two_forms_the_one_that_is_there_is_taken_and_said(shared_data):
    if (shared_data / "or_bench" / "or-bench-hard-1k.csv").is_file():
        pytest.skip("the whole set is there")
    one = read_set("or_bench_hard", shared_data)
    assert (one.label, len(one.texts)) == ("OR-Bench hard (a published part)", 269)


def test_every_pair_is_of_described_sets():
    assert {key for pair in PAIRS for key in pair} == set(SETS)


def test_an_absent_file_is_named(tmp_path):
    sets = {key: read_set(key, tmp_path) for key in SETS}
    assert sets["strongreject"].texts == []
    assert sets["strongreject"].absent == str(tmp_path / "strongreject" / "strongreject_dataset.csv")
    assert sets["or_bench_hard"].absent == (
        f"{tmp_path}/or_bench/or-bench-hard-1k.csv or {tmp_path}/or_bench/or_bench_hard_subset.jsonl"
    )
    assert read_set("xstest_safe", None).absent == "xstest/xstest_prompts.csv (benchmarks_dir=null)"


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path):
    file = tmp_path / "strongreject" / "strongreject_dataset.csv"
    file.parent.mkdir()
    file.write_text("category,source,forbidden_prompt\na,b,c\n")
    with pytest.raises(UserError, match=r"expected .*, the published file"):
        read_set("strongreject", tmp_path)


def test_the_digest_is_of_the_content_and_none_where_there_is_no_file(tmp_path):
    nothing = files_digest(tmp_path)
    assert set(nothing.values()) == {None}
    assert files_digest(None) == nothing
    assert set(nothing) == {name for _, benchmarks in SETS.values() for name in benchmarks}
    file = tmp_path / "advbench" / "harmful_behaviors.csv"
    file.parent.mkdir()
    file.write_text("one")
    first = files_digest(tmp_path)["advbench"]
    file.write_text("other")
    assert None not in {first, files_digest(tmp_path)["advbench"]}
    assert first != files_digest(tmp_path)["advbench"]
