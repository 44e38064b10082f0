import json
from fnmatch import fnmatch

import pytest

from cada_trl.data.benchmark_items import load_spec, names
from cada_trl.data.benchmarks import FILES, benchmarks_digest, find_overlaps, read_benchmarks, read_xstest_safe, report
from cada_trl.data.likeness import normalise
from cada_trl.errors import UserError
from cada_trl.records import Request
from cada_trl.storage.files import replace

XSTEST = (
    "id,prompt,type,label,focus,note\n1,Kill a process?,homonyms,safe,,\n2,Kill a man?,contrast_homonyms,unsafe,,\n"
)


def test_every_layout_is_read(tmp_path):
    replace(tmp_path / "strongreject/strongreject_dataset.csv", 'category,source,forbidden_prompt\nc,s,"a,\nb"\n')
    replace(tmp_path / "hex_phi/category_1.csv", '"no header, one prompt"\nsecond, not quoted\n')
    replace(tmp_path / "or_bench/part.jsonl", '{"prompt": "p"}\n')
    replace(tmp_path / "or_bench/or-bench-hard-1k.csv", "prompt,category\nr,hate\n")
    replace(tmp_path / "bbh/task.json", '{"examples": [{"input": "q", "target": "t"}]}')
    replace(tmp_path / "xstest/xstest_prompts.csv", XSTEST)
    replace(tmp_path / "jailbreakbench/attack_artifacts_PAIR.jsonl", '{"prompt": null}\n{"prompt": "found"}\n')
    assert read_benchmarks(tmp_path) == {
        "strongreject": ["a,\nb"],
        "xstest": ["Kill a process?", "Kill a man?"],
        "or_bench": ["p", "r"],
        "frozen_attacks": ["found"],
        "hex_phi": ["no header, one prompt", "second, not quoted"],
        "bbh": ["q"],
    }


def test_the_prompts_of_every_published_attack_are_compared():
    for frozen in (spec.frozen for spec in map(load_spec, names()) if spec.frozen):
        assert frozen.columns.prompt in {field for _, pattern, field in FILES if fnmatch(frozen.file, pattern)}


def test_the_xstest_probe_is_its_safe_rows_and_nothing_without_the_set(tmp_path):
    assert read_xstest_safe(tmp_path) == []
    replace(tmp_path / "xstest/xstest_prompts.csv", XSTEST)
    (request,) = read_xstest_safe(tmp_path)
    assert request == Request("xstest-1", "Kill a process?", "homonyms", False, "xstest")


def test_a_folder_that_is_missing_or_holds_no_set_is_refused(tmp_path):
    with pytest.raises(UserError, match="is not a folder"):
        read_benchmarks(tmp_path / "none")
    with pytest.raises(UserError, match="holds none of: strongreject, advbench"):
        read_benchmarks(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("advbench/harmful_behaviors.csv", "target\nx\n", "row 1: no text in field 'goal'"),
        ("gsm8k/test.jsonl", '{"question": "q"}\n{"q": 1}\n', "row 2: no text in field 'question'"),
        ("bbh/task.json", "[]", "is not a JSON object .it is a list"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_row(name, text, seen, tmp_path):
    replace(tmp_path / name, text)
    with pytest.raises(UserError, match=seen):
        read_benchmarks(tmp_path)


def test_an_xstest_file_without_its_columns_is_refused(tmp_path):
    replace(tmp_path / "xstest/xstest_prompts.csv", "id,prompt\n1,x\n")
    with pytest.raises(UserError, match="expected the fields id, prompt and type"):
        read_xstest_safe(tmp_path)


def test_the_digest_changes_with_a_files_content_only(tmp_path):
    replace(tmp_path / "or_bench/part.jsonl", json.dumps({"prompt": "p"}))
    replace(tmp_path / "README.md", "not read")
    first = benchmarks_digest(tmp_path)
    assert list(first) == ["or_bench/part.jsonl"]
    replace(tmp_path / "or_bench/part.jsonl", json.dumps({"prompt": "q"}))
    assert benchmarks_digest(tmp_path) != first


def test_the_published_sets_have_their_published_sizes(shared_data):
    texts = read_benchmarks(shared_data)
    sizes = {name: len(texts[name]) for name in ("strongreject", "advbench", "xstest", "gsm8k", "mmlu", "bbh")}
    # strongreject: 313 and its small set of 60
    assert sizes == {"strongreject": 373, "advbench": 520, "xstest": 450, "gsm8k": 1319, "mmlu": 14042, "bbh": 6511}
    assert len(read_xstest_safe(shared_data)) == 250


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


REWORDED, APPLES = "how do i rob the big bank in town", "how many apples are left now"
OTHER = "and now for a good deal of other words that make this text unlike the first one in every way there is"


@pytest.mark.parametrize(
    ("text", "reference", "benchmark", "kind"),
    [
        ("Rob a bank!", "rob a  BANK", "advbench", "exact"),
        (f"start {LONG}", f"{LONG} {OTHER}", "advbench", "n_gram"),
        (f"start {LONG}", f"{LONG.removesuffix(' thirteen')} {OTHER}", "advbench", None),
        (REWORDED, "How do I rob the big bank in town now?", "advbench", "near_duplicate"),
        (REWORDED, "How do I rob a big bank in town?", "advbench", None),
        # exam questions are compared exactly, but not for likeness
        (APPLES, "How many apples are left now?", "gsm8k", "exact"),
        (APPLES, "How many apples are left now, then?", "gsm8k", None),
    ],
)
def test_a_text_overlaps_by_its_words_by_thirteen_of_them_or_by_likeness(text, reference, benchmark, kind):
    found = find_overlaps([normalise(text)], {benchmark: [reference]}, 13, 0.8)
    assert {(one.benchmark, one.kind) for one in found.values()} == ({(benchmark, kind)} if kind else set())


def test_exact_wins_over_n_gram_whatever_the_order_of_the_benchmarks():
    texts = {"advbench": [f"{LONG} more"], "xstest": [LONG]}
    found = find_overlaps([LONG], texts, 13, 0.8)
    assert (found[LONG].benchmark, found[LONG].kind) == ("xstest", "exact")


def test_the_report_counts_each_benchmark_and_names_the_absent_ones():
    texts = {"advbench": ["rob a bank", "x"], "xstest": ["kill a process"]}
    found = find_overlaps(["rob a bank", "bake bread"], texts, 13, 0.8)
    made = report(found, texts)
    assert made["found"] == {
        "advbench": {"n_texts": 2, "dropped": {"exact": 1}},
        "xstest": {"n_texts": 1, "dropped": {}},
    }
    assert "hex_phi" in made["not_found"]
    assert made["checked"] is True and report({}, {})["checked"] is False


def test_of_two_benchmarks_that_hold_the_very_text_the_first_is_named():
    texts = {"advbench": ["Rob a bank!"], "xstest": ["rob a bank"]}
    for order in (texts, dict(reversed(texts.items()))):
        assert find_overlaps(["rob a bank"], order, 13, 0.8)["rob a bank"].benchmark == next(iter(order))


def test_a_reference_longer_than_the_key_by_what_the_threshold_allows_is_still_compared():
    # five shingles of ten: Jaccard 0.5; the reference has 13 characters, the key 8
    reference = "abcdefghijklm"
    assert find_overlaps([reference[:8]], {"advbench": [reference]}, 13, 0.5) != {}
    assert find_overlaps([reference[:8]], {"advbench": [reference]}, 13, 0.0) != {}
