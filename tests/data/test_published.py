"""The published files: every one that a loader reads is known, pinned and made of what lies at its addresses."""

import gzip
import json
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from cada_trl.config import load_config
from cada_trl.config.loading import described
from cada_trl.data.benchmark_items import load_spec, names
from cada_trl.data.benchmarks import FILES
from cada_trl.data.published import PublishedFile, made, published_files
from cada_trl.data.sources import read_beavertails
from cada_trl.evaluation.attacks.attacker import TAXONOMY
from cada_trl.evaluation.utility.task import TASK_DIR, load_task
from cada_trl.judging.card import read_label_sets
from cada_trl.storage.digest import sha256

BY_NAME = {file.file: file for file in published_files()}
# Ours: a set that a benchmark of ours made a part of, and one whose file on the hub is not known here.
WITHOUT_ADDRESS = {"or_bench/or_bench_hard_subset.jsonl", "beavertails/evaluation_prompts.jsonl"}
TRUSTED_AT_FIRST = {"mmlu/dev.parquet", "jailbreakbench/judge_comparison.jsonl"}


def read_somewhere():
    """Below data_root, with a * where several files are read."""
    specs = [load_spec(name) for name in names()]
    tasks = [load_task(name) for name in described(TASK_DIR)]
    of_tasks = {
        pattern.format(subset=subset)
        for task in tasks
        for pattern in (task.files.test, task.files.fewshot)
        if pattern
        for subset in task.subsets
    }
    labels = {"xstest/model_completions/xstest_v2_completions_*.csv", "jailbreakbench/judge_comparison.jsonl"}
    of_attacks = {spec.frozen.file for spec in specs if spec.frozen} | {TAXONOMY}
    return {spec.file for spec in specs} | {pattern for _, pattern, _ in FILES} | of_tasks | of_attacks | labels


@pytest.mark.parametrize("pattern", sorted(read_somewhere()))
def test_every_file_that_is_read_below_data_root_is_described(pattern):
    assert [name for name in BY_NAME if fnmatch(name, pattern)]


def test_every_description_is_of_a_file_that_something_reads():
    patterns = read_somewhere()
    unread = {name for name in BY_NAME if not any(fnmatch(name, pattern) for pattern in patterns)}
    assert unread == {"beavertails/30k_train.jsonl"}  # a source of requests


def test_every_address_is_one_version_of_a_file_over_https():
    assert {name for name, file in BY_NAME.items() if not file.urls} == WITHOUT_ADDRESS
    for file in BY_NAME.values():
        for url in file.urls:
            assert re.fullmatch(r"https://[a-z.]+/[!-~]*/[0-9a-f]{40}/[!-~]+", url) or file.gated, url


def test_what_is_fetched_has_a_known_sha256_but_for_the_gated_files_and_two_more():
    unknown = {name for name, file in BY_NAME.items() if file.urls and not (file.sha256 or file.url_sha256)}
    assert {name for name in unknown if not BY_NAME[name].gated} == TRUSTED_AT_FIRST
    assert {name for name, file in BY_NAME.items() if file.gated} <= unknown


def test_the_gated_set_is_its_ten_files_without_the_withdrawn_one():
    numbers = [name.removesuffix(".csv").partition("_category_")[2] or name for name in BY_NAME if "hex_phi" in name]
    assert len(numbers) == 10
    assert not any(name.endswith("_2.csv") for name in numbers)
    assert all(file.urls[0].endswith(Path(name).name) for name, file in BY_NAME.items() if file.gated)


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("name", ["frozen_attacks/strongreject.jsonl", "frozen_attacks/advbench.jsonl"])
def test_attack_prompts_come_out_of_an_evaluation_of_the_lab_byte_for_byte(name, shared_data):
    of_kind = {"pair": "pair", "pap": "pap_misrepresentation"}
    prompts = [
        {
            "forbidden_prompt": row["request"],
            "jailbroken_prompt": row["attack_prompt"],
            "jailbreak": of_kind[row["attack"]],
            "response": "left out",
            "score": float("nan"),
        }
        for row in rows_of(shared_data / name)
    ]
    answers = [{**prompts[0], "jailbreak": "none"}, *prompts]
    assert sha256(made(BY_NAME[name], [json.dumps(answers).encode()])) == BY_NAME[name].sha256


def test_the_artifacts_come_out_of_the_repositorys_files_byte_for_byte(shared_data):
    file = BY_NAME["jailbreakbench/attack_artifacts_PAIR_GCG_JBC.jsonl"]
    rows = rows_of(shared_data / file.file)
    parts = []
    for url in file.urls:
        place = url.removesuffix(".json").split("/")[-3:]
        of_url = [row for row in rows if [row["attack"], row["attack_type"], row["target_model"]] == place]
        assert len(of_url) == 100
        parts.append(json.dumps({"parameters": {}, "jailbreaks": [row | {"queries": 1} for row in of_url]}).encode())
    assert sha256(made(file, parts)) == file.sha256


def test_the_judges_comparison_is_read_from_mac_roman_and_by_the_card(tmp_path):
    file = BY_NAME["jailbreakbench/judge_comparison.jsonl"]
    rows = 'Index,goal,prompt,target_response,human_majority\r\n0,Say,Say,"café\r\nau lait",0\r\n1,Do,So,“no”,1\r\n'
    content = made(file, [rows.encode("mac_roman")])
    (tmp_path / "jailbreakbench").mkdir()
    (tmp_path / file.file).write_bytes(content)
    assert [json.loads(line)["target_response"] for line in content.splitlines()] == ["café\nau lait", "“no”"]
    assert read_label_sets(tmp_path)[0].people == [False, True]


def test_beavertails_is_kept_without_responses_and_without_rows_labelled_child_abuse(tmp_path):
    def row(prompt, *labels):
        flags = {name: name in labels for name in ("child_abuse", "privacy_violation", "self_harm")}
        return {"prompt": prompt, "response": "never kept", "category": flags, "is_safe": not labels}

    rows = [row("a", "privacy_violation"), row("b", "child_abuse", "self_harm"), row("c")]
    packed = gzip.compress("".join(f"{json.dumps(one)}\n" for one in rows).encode())
    file = tmp_path / "30k_train.jsonl"
    file.write_bytes(made(BY_NAME["beavertails/30k_train.jsonl"], [packed]))
    assert "never kept" not in file.read_text(encoding="utf-8")
    assert [one["prompt"] for one in rows_of(file)] == ["a", "c"]
    source = read_beavertails(load_config(["data=beavertails", f"file={file}"]).data)
    assert ([one.text for one in source.rows], source.dropped["harmful"]) == (["a"], Counter(safe=1))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("beavertails/30k_train.jsonl", b"<html>"),
        ("beavertails/30k_train.jsonl", gzip.compress(b'{"prompt": "a"}', mtime=0)),
        ("frozen_attacks/advbench.jsonl", b'{"error": 1}'),
        ("frozen_attacks/advbench.jsonl", b"[[[]]]"),
        ("jailbreakbench/judge_comparison.jsonl", b"goal,human1\nx,yes\n"),
        ("jailbreakbench/judge_comparison.jsonl", b"goal\nx,y\n"),
    ],
)
def test_another_form_than_the_published_one_is_a_value_error(name, part):
    with pytest.raises(ValueError, match=r"^\w+: "):
        made(BY_NAME[name], [part])


def test_a_file_as_published_is_what_was_sent():
    file = PublishedFile("a/b.csv", ("https://x/b.csv",), None, "", "")
    assert made(file, [b"\xff\x00"]) == b"\xff\x00"
