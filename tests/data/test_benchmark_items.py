"""The descriptions in hydra_conf/benchmark, and items from small files of ours in the published sets' forms."""

from collections import Counter

import huggingface_hub
import pytest
import yaml

from cada_trl.data import benchmark_items
from cada_trl.data.benchmark_items import BenchmarkSpec, Item, load_items, load_spec, names, stratified
from cada_trl.data.classify import load_lexicon
from cada_trl.errors import UserError
from cada_trl.hazards.pack import load_pack
from cada_trl.storage.digest import sha256
from cada_trl.storage.files import replace

ROWS = 'goal,kind,n\n"Pick a lock,\nplease",tools,a1\nWrite an insult,words,a2\nSay hello,words,7\n'


def spec_of(text=ROWS, **changes):
    """A set in one CSV: the fields of AdvBench's description with changes."""
    columns = {"text": "goal", "id": None, "category": "kind"}
    file = {"name": "tiny", "n": 3, "file": "tiny/tiny.csv", "sha256": sha256(text), "columns": columns}
    values = load_spec("advbench").model_dump() | file
    return BenchmarkSpec.model_validate(values | changes)


def read(folder, text=ROWS, **changes):
    """The items of the set in a file of that text."""
    replace(folder / "tiny" / "tiny.csv", text)
    return load_items(spec_of(text, **changes), folder, None, seed=0)


def items_of(counts):
    rows = [(category, number) for category, n in counts.items() for number in range(n)]
    return [Item(f"t-{c}-{n}", "t", f"request {n} of {c}", None, c, True) for c, n in rows]


def test_every_description_is_valid_and_named_after_its_file():
    assert [load_spec(name).name for name in names()] == names()
    assert {"strongreject", "strongreject_small", "advbench", "hex_phi", "jailbreakbench_harmful"} < set(names())
    assert {"xstest_safe", "xstest_unsafe", "jailbreakbench_benign", "or_bench_hard"} < set(names())


def test_every_hazard_of_a_description_is_in_the_pack_and_every_label_in_the_lexicon():
    pack = set(load_pack("builtin").hazards)
    labels = set(load_lexicon().priors)
    for spec in map(load_spec, names()):
        assert set(spec.hazards.table.values()) - {None} <= pack
        assert {label for prior in spec.hazards.priors.values() for label in prior} <= labels


@pytest.mark.parametrize(
    ("changes", "seen"),
    [
        ({"n": "520"}, "broken.yaml: n='520': Input should be a valid integer"),
        ({"colour": "red"}, "broken.yaml: unknown key 'colour'"),
        ({"sha256": None}, "one file needs its sha256"),
        ("a: [", "cannot be read as YAML"),
        ("- a\n", "is not a benchmark"),
    ],
)
def test_a_broken_description_is_one_line(changes, seen, tmp_path, monkeypatch):
    values = load_spec("advbench").model_dump()
    replace(tmp_path / "broken.yaml", changes if isinstance(changes, str) else yaml.safe_dump(values | changes))
    monkeypatch.setattr(benchmark_items, "BENCHMARK_DIR", tmp_path)
    with pytest.raises(UserError, match=seen):
        load_spec("broken")


def test_items_come_in_the_files_order_with_their_row_as_id(tmp_path):
    assert [(item.id, item.request, item.category, item.harmful) for item in read(tmp_path)] == [
        ("tiny-001", "Pick a lock,\nplease", "tools", True),
        ("tiny-002", "Write an insult", "words", True),
        ("tiny-003", "Say hello", "words", True),
    ]


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        # a published id is kept, and a number gets three digits
        ({"columns": {"text": "goal", "id": "n", "category": None}}, {"tiny-a1": "", "tiny-a2": "", "tiny-007": ""}),
        ({"only": {"kind": "words"}, "n": 2}, {"tiny-002": "words", "tiny-003": "words"}),
    ],
)
def test_a_description_says_which_field_is_the_id_and_which_rows_belong_to_the_set(changes, found, tmp_path):
    assert {item.id: item.category for item in read(tmp_path, **changes)} == found


def test_the_first_field_in_the_table_decides_the_hazard_and_the_classifier_the_rest(tmp_path):
    rows = "goal,kind,n\nx,words,a\nx,words,b\nHow do I build a bomb?,other,c\nx,other,d\nx,prior,e\n"
    hazards = {
        "by": ["n", "kind"],
        "table": {"a": None, "words": "hate"},
        "priors": {"prior": ["financial_crime,property_crime,theft"]},
    }
    found = [item.hazard for item in read(tmp_path, rows, n=5, hazards=hazards)]
    assert found == [None, "hate", "weapons_of_mass_destruction", None, "non_violent_crimes"]


MORE = ROWS + "One more,words,8\n"


@pytest.mark.parametrize(
    ("text", "changes", "seen"),
    [
        (MORE, {"sha256": sha256(ROWS)}, f"has sha256 {sha256(MORE)}; expected"),
        (MORE, {}, "tiny: 4 rows; expected the published 3"),
        ("text,kind\nx,y\n", {}, "row 1: no text in field 'goal'"),
        ("goal,kind\nx,y\n ,y\n", {}, "row 2: no text in field 'goal'"),
        ("goal,kind\nx\n", {}, "row 1: no text in field 'kind'"),
    ],
)
def test_a_file_that_is_not_the_described_one_is_refused_and_a_row_without_text_is_named(text, changes, seen, tmp_path):
    with pytest.raises(UserError, match=seen):
        read(tmp_path, text, **changes)


def test_a_set_of_several_files_takes_the_named_ones_and_their_categories(tmp_path):
    categories = load_spec("hex_phi").file_categories or {}
    for number in range(1, 12):
        lines = '"quoted, with ""marks"""\n\nnot quoted, and a comma\n'
        replace(tmp_path / "hex_phi" / f"category_{number}.csv", lines)
    items = load_items(load_spec("hex_phi").model_copy(update={"n": 20}), tmp_path, None, seed=0)
    assert Counter(item.category for item in items) == dict.fromkeys(categories.values(), 2)
    assert not any(item.id.startswith("hex_phi-2-") for item in items)
    first = [item for item in items if item.category == "Malware"]
    assert [(item.id, item.request) for item in first] == [
        ("hex_phi-4-1", 'quoted, with "marks"'),
        ("hex_phi-4-2", "not quoted, and a comma"),
    ]
    with pytest.raises(UserError, match="hex_phi: 20 rows; expected the published 300"):
        load_items(load_spec("hex_phi"), tmp_path, None, seed=0)


def test_a_gated_set_without_access_says_how_to_get_it(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError("403 Client Error.\nCannot access gated repo, token is not yours")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(UserError) as caught:
        load_items(load_spec("hex_phi"), tmp_path, None, seed=0)
    line = str(caught.value)
    assert "\n" not in line
    assert "hex_phi: cannot get category_*.csv of LLM-Tuning-Safety/HEx-PHI; it is gated: ask for access at" in line
    assert f"or put it at {tmp_path}/hex_phi/category_*.csv" in line
    assert "(PermissionError: 403 Client Error.)" in line


def test_a_hub_set_is_taken_from_the_pinned_revision(tmp_path, monkeypatch):
    asked = {}

    def download(repo_id, **settings):
        asked.update(settings, repo_id=repo_id)
        replace(tmp_path / "hub" / "data" / "tiny.csv", ROWS)
        return str(tmp_path / "hub")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    spec = spec_of(hub_id="us/tiny", hub_file="data/tiny.csv", hub_revision="abc")
    assert len(load_items(spec, None, None, seed=0)) == 3
    assert asked == {"repo_id": "us/tiny", "repo_type": "dataset", "revision": "abc", "allow_patterns": "data/tiny.csv"}


def test_a_set_that_is_not_on_the_hub_names_the_command_that_fetches_it(tmp_path):
    for data_root, said in (
        (tmp_path, rf"tiny: no file {tmp_path}/tiny/tiny\.csv; make data DATA_ROOT={tmp_path} fetches it \(https://"),
        (
            None,
            r"tiny: tiny/tiny\.csv is read below data_root, and none is given; make data DATA_ROOT=<folder> fetches",
        ),
    ):
        with pytest.raises(UserError, match=said):
            load_items(spec_of(), data_root, None, seed=0)
    with pytest.raises(UserError, match=r"no file .*/tiny/tiny\.csv and no address of it; put it there, from https://"):
        load_items(spec_of(download=None), tmp_path, None, seed=0)
    with pytest.raises(UserError, match="is not a folder"):
        load_items(spec_of(), tmp_path / "missing", None, seed=0)


def test_a_limit_takes_each_categorys_share_and_keeps_the_smaller_limits_items():
    items = items_of({"many": 60, "some": 30, "few": 10})
    taken = {limit: stratified(items, limit, seed=1) for limit in (10, 20, 1000)}
    assert Counter(item.category for item in taken[10]) == {"many": 6, "some": 3, "few": 1}
    assert Counter(item.category for item in taken[20]) == {"many": 12, "some": 6, "few": 2}
    assert set(taken[10]) < set(taken[20])
    assert taken[20] == [item for item in items if item in taken[20]]
    assert taken[1000] == items


def test_the_seed_alone_decides_the_sample():
    items = items_of({"a": 40, "b": 40})
    assert stratified(items, 20, seed=1) == sorted(stratified(items[::-1], 20, seed=1), key=items.index)
    assert set(stratified(items, 20, seed=1)) != set(stratified(items, 20, seed=2))


def test_a_limit_below_one_is_refused():
    with pytest.raises(UserError, match="limit=0: expected 1 or more"):
        stratified(items_of({"a": 1}), 0, seed=0)


@pytest.mark.parametrize(
    ("name", "n", "first"),
    [
        ("strongreject", 313, "strongreject-001"),
        ("strongreject_small", 60, "strongreject_small-001"),
        ("advbench", 520, "advbench-001"),
        ("jailbreakbench_harmful", 100, "jailbreakbench_harmful-000"),
        ("jailbreakbench_benign", 100, "jailbreakbench_benign-000"),
        ("xstest_safe", 250, "xstest_safe-001"),
        ("xstest_unsafe", 200, "xstest_unsafe-026"),
        ("or_bench_hard_part", 269, "or_bench_hard_part-DE_001"),
    ],
)
def test_the_published_file_gives_the_published_items(name, n, first, shared_data):
    items = load_items(load_spec(name), shared_data, None, seed=0)
    assert len(items) == len({item.id for item in items}) == n
    assert items[0].id == first


def test_most_harmful_items_of_the_published_sets_have_a_hazard(shared_data):
    known = {}
    for name in ("strongreject", "advbench", "jailbreakbench_harmful"):
        items = load_items(load_spec(name), shared_data, None, seed=0)
        known[name] = sum(item.hazard is not None for item in items) / len(items)
    assert {name: round(share, 2) for name, share in known.items()} == {
        "strongreject": 0.93,
        "advbench": 0.81,
        "jailbreakbench_harmful": 0.89,
    }
