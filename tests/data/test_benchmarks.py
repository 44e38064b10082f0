from __future__ import annotations

import json
from pathlib import Path

import pytest

from cada_trl.data.benchmarks import benchmarks_digest, read_benchmarks, read_xstest_safe
from cada_trl.errors import UserError

XSTEST = (
    "id,prompt,type,label,focus,note\n1,Kill a process?,homonyms,safe,,\n2,Kill a man?,contrast_homonyms,unsafe,,\n"
)


def put(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_every_layout_is_read(tmp_path: Path) -> None:
    put(tmp_path, "strongreject/strongreject_dataset.csv", 'category,source,forbidden_prompt\nc,s,"a,\nb"\n')
    put(tmp_path, "hex_phi/category_1.csv", '"no header, one prompt"\nsecond, not quoted\n')
    put(tmp_path, "or_bench/part.jsonl", '{"prompt": "p"}\n')
    put(tmp_path, "or_bench/or-bench-hard-1k.csv", "prompt,category\nr,hate\n")
    put(tmp_path, "bbh/task.json", '{"examples": [{"input": "q", "target": "t"}]}')
    put(tmp_path, "xstest/xstest_prompts.csv", XSTEST)
    assert read_benchmarks(tmp_path) == {
        "strongreject": ["a,\nb"],
        "xstest": ["Kill a process?", "Kill a man?"],
        "or_bench": ["p", "r"],
        "hex_phi": ["no header, one prompt", "second, not quoted"],
        "bbh": ["q"],
    }


def test_the_xstest_probe_is_its_safe_rows(tmp_path: Path) -> None:
    put(tmp_path, "xstest/xstest_prompts.csv", XSTEST)
    (request,) = read_xstest_safe(tmp_path)
    assert (request.id, request.text, request.hazard, request.harmful) == (
        "xstest-1",
        "Kill a process?",
        "homonyms",
        False,
    )


def test_without_xstest_there_is_no_xstest_probe(tmp_path: Path) -> None:
    assert read_xstest_safe(tmp_path) == []


def test_a_folder_that_is_missing_or_holds_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        read_benchmarks(tmp_path / "none")
    with pytest.raises(UserError, match="holds none of: strongreject, advbench"):
        read_benchmarks(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "seen"),
    [
        ("advbench/harmful_behaviors.csv", "target\nx\n", "row 1: no text in field 'goal'"),
        ("gsm8k/test.jsonl", '{"question": "q"}\n{"q": 1}\n', "row 2: no text in field 'question'"),
        ("bbh/task.json", "[]", "has no list 'examples'"),
        ("bbh/task.json", "{", "has no list 'examples'"),
    ],
)
def test_a_file_of_another_form_is_refused_with_its_row(name: str, text: str, seen: str, tmp_path: Path) -> None:
    put(tmp_path, name, text)
    with pytest.raises(UserError, match=seen):
        read_benchmarks(tmp_path)


def test_an_xstest_file_without_its_columns_is_refused(tmp_path: Path) -> None:
    put(tmp_path, "xstest/xstest_prompts.csv", "id,prompt\n1,x\n")
    with pytest.raises(UserError, match="expected the fields id, prompt and type"):
        read_xstest_safe(tmp_path)


def test_the_digest_changes_with_a_files_content_only(tmp_path: Path) -> None:
    put(tmp_path, "or_bench/part.jsonl", json.dumps({"prompt": "p"}))
    put(tmp_path, "README.md", "not read")
    first = benchmarks_digest(tmp_path)
    assert list(first) == ["or_bench/part.jsonl"]
    put(tmp_path, "or_bench/part.jsonl", json.dumps({"prompt": "q"}))
    assert benchmarks_digest(tmp_path) != first


def test_the_published_sets_have_their_published_sizes(shared_data: Path) -> None:
    texts = read_benchmarks(shared_data)
    sizes = {name: len(texts[name]) for name in ("strongreject", "advbench", "xstest", "gsm8k", "mmlu", "bbh")}
    # strongreject: 313 and its small set of 60
    assert sizes == {"strongreject": 373, "advbench": 520, "xstest": 450, "gsm8k": 1319, "mmlu": 14042, "bbh": 6511}
    assert len(read_xstest_safe(shared_data)) == 250
