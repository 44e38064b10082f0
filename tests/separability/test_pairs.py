from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.separability import pairs
from cada_trl.separability.pairs import PAIRS, SETS, files_digest, read_set, read_sets


def test_the_published_sets_are_read_and_the_large_ones_thinned(shared_data: Path) -> None:
    sets = read_sets(shared_data)
    sizes = {key: len(one.texts) for key, one in sets.items() if not one.absent}
    assert sizes["xstest_unsafe"] == 200
    assert sizes["xstest_safe"] == 250
    assert sizes["strongreject"] == 313
    assert (sizes["jailbreakbench_harmful"], sizes["jailbreakbench_benign"]) == (100, 100)
    assert (sets["advbench"].label, sizes["advbench"]) == ("AdvBench (every 4th row)", 130)


def test_of_a_set_in_two_forms_the_one_that_is_there_is_taken_and_said(shared_data: Path) -> None:
    if (shared_data / "or_bench" / "or-bench-hard-1k.csv").is_file():
        pytest.skip("the whole set is there")
    one = read_set("or_bench_hard", shared_data)
    assert (one.label, len(one.texts)) == ("OR-Bench hard (a published part)", 269)


def test_every_pair_is_of_described_sets() -> None:
    assert {key for pair in PAIRS for key in pair} == set(SETS)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    sets = read_sets(tmp_path)
    assert sets["strongreject"].texts == []
    assert sets["strongreject"].absent == str(tmp_path / "strongreject" / "strongreject_dataset.csv")
    assert sets["or_bench_hard"].absent == (
        f"{tmp_path}/or_bench/or-bench-hard-1k.csv or {tmp_path}/or_bench/or_bench_hard_subset.jsonl"
    )
    assert read_set("xstest_safe", None).absent == "<benchmarks_dir>/xstest/xstest_prompts.csv"


def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "strongreject" / "strongreject_dataset.csv"
    file.parent.mkdir()
    file.write_text("category,source,forbidden_prompt\na,b,c\n")
    with pytest.raises(UserError, match=r"expected .*, the published file"):
        read_set("strongreject", tmp_path)


def test_the_digest_is_of_the_content_and_none_where_there_is_no_file(tmp_path: Path) -> None:
    nothing = files_digest(tmp_path)
    assert set(nothing.values()) == {None}
    assert files_digest(None) == nothing
    assert set(nothing) == {name for wanted in pairs.SETS.values() for name in wanted.benchmarks}
    file = tmp_path / "advbench" / "harmful_behaviors.csv"
    file.parent.mkdir()
    file.write_text("one")
    first = files_digest(tmp_path)["advbench"]
    file.write_text("other")
    assert None not in {first, files_digest(tmp_path)["advbench"]}
    assert first != files_digest(tmp_path)["advbench"]
