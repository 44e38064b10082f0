from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cada_trl.config import Config, load_config
from cada_trl.data.normalise import normalise
from cada_trl.errors import UserError
from cada_trl.prepare import PARTS, PreparedData, funnel_tables, main, prepare, read_prepared

THEFT = ["financial_crime,property_crime,theft"]
WORDS = [
    "wallet",
    "bicycle",
    "laptop",
    "ring",
    "painting",
    "horse",
    "truck",
    "violin",
    "crown",
    "piano",
    "statue",
    "boat",
]


def count_words(text: str) -> int:
    return len(text.split())


def beavertails_rows() -> list[dict[str, Any]]:
    texts = [f"How would one go and steal the {word} of a stranger named {word[::-1]}?" for word in WORDS]
    return [{"prompt": text, "is_safe": False, "categories": THEFT} for text in texts]


def config_of(tmp_path: Path, rows: list[dict[str, Any]] | None, *overrides: str) -> Config:
    fixed = [f"data_dir={tmp_path / 'data'}", "n_train=6", "n_probe=2", "near_duplicate_jaccard=0.95"]
    if rows is not None:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        fixed.append(f"file={path}")
    return load_config([*fixed, *overrides])


def ids(prepared: PreparedData) -> dict[str, list[str]]:
    return {name: [request.id for request in getattr(prepared, name)] for name in PARTS}


def test_beavertails_rows_become_disjoint_parts_with_every_count(tmp_path: Path) -> None:
    rows = beavertails_rows()
    rows += [
        {"prompt": rows[0]["prompt"].upper(), "is_safe": False, "categories": []},
        {"prompt": "?!", "is_safe": False, "categories": []},
        {"prompt": "steal " * 300, "is_safe": False, "categories": THEFT},
        {"prompt": "What a lovely morning", "is_safe": False, "categories": []},
        {"prompt": "Fine", "is_safe": True, "categories": []},
        {"prompt": "Never kept", "is_safe": False, "categories": ["child_abuse"]},
    ]
    prepared = prepare(config_of(tmp_path, rows), count_words)
    funnel = prepared.manifest["funnel"]["harmful"]
    assert funnel["dropped"] == {
        "safe": 1,
        "child_abuse": 1,
        "no_words": 1,
        "exact_duplicate": 1,
        "too_long": 1,
        "classified_other": 1,
    }
    assert (funnel["read"], funnel["kept"]) == (18, 12)
    assert (len(prepared.train), len(prepared.probe), len(prepared.held_out)) == (6, 2, 0)
    everything = [one for part in ids(prepared).values() for one in part]
    assert len(everything) == len(set(everything))
    assert {request.hazard for request in prepared.train} == {"non_violent_crimes"}
    assert prepared.manifest["split"]["train"] == {"n": 6, "hazards": {"non_violent_crimes": 6}}


def test_the_classifiers_decisions_and_reasons_are_written(tmp_path: Path) -> None:
    prepared = prepare(config_of(tmp_path, beavertails_rows()), count_words)
    lines = (prepared.folder / "classified.jsonl").read_text().splitlines()
    assert len(lines) == 12
    assert "steal" in json.loads(lines[0])["reason"]


def test_the_same_call_again_reads_back_the_same_and_counts_no_token(tmp_path: Path) -> None:
    def refuse(text: str) -> int:
        raise AssertionError("built again")

    config = config_of(tmp_path, beavertails_rows())
    first = prepare(config, count_words)
    assert prepare(config, refuse) == first
    assert [path.name for path in (tmp_path / "data").iterdir()] == [first.folder.name]


def test_the_order_of_the_rows_changes_no_part(tmp_path: Path) -> None:
    first = prepare(config_of(tmp_path, beavertails_rows()), count_words)
    second = prepare(config_of(tmp_path, beavertails_rows()[::-1]), count_words)
    assert ids(first) == ids(second)


@pytest.mark.parametrize("override", ["seed=1", "n_probe=3", "max_prompt_tok=100", "sampling=stratified"])
def test_what_decides_the_result_gives_another_folder(override: str, tmp_path: Path) -> None:
    first = prepare(config_of(tmp_path, beavertails_rows()), count_words)
    assert prepare(config_of(tmp_path, beavertails_rows(), override), count_words).folder != first.folder


def test_a_key_of_training_gives_the_same_folder(tmp_path: Path) -> None:
    first = prepare(config_of(tmp_path, beavertails_rows()), count_words)
    assert prepare(config_of(tmp_path, beavertails_rows(), "beta_kl=0.5"), count_words).folder == first.folder


def test_held_out_hazards_are_in_no_trained_part(tmp_path: Path) -> None:
    config = config_of(tmp_path, None, "data=starter", "held_out_hazards=[hate,elections]", "n_train=100", "n_probe=20")
    prepared = prepare(config, count_words)
    held_out = {"hate", "elections"}
    assert {request.hazard for request in prepared.held_out} == held_out
    assert not held_out & {request.hazard for request in prepared.train + prepared.probe + prepared.benign_train}
    assert held_out < {request.hazard for request in prepared.harmless_probe}


def test_the_starter_set_has_every_hazard_in_train_and_in_both_probes(tmp_path: Path) -> None:
    prepared = prepare(config_of(tmp_path, None, "data=starter", "n_train=120", "n_probe=36"), count_words)
    for part in (prepared.train, prepared.probe, prepared.benign_train, prepared.harmless_probe):
        assert len({request.hazard for request in part}) == 12
    assert all(request.harmful for request in prepared.train + prepared.probe)
    assert not any(request.harmful for request in prepared.benign_train + prepared.harmless_probe)
    assert prepared.xstest_safe_probe == []
    assert prepared.manifest["decontamination"]["checked"] is False


def test_own_rows_are_used_as_they_are_labelled(tmp_path: Path) -> None:
    rows = [{"text": row["prompt"], "hazard": "privacy", "harmful": True} for row in beavertails_rows()]
    rows.append({"text": "May I photograph my own horse?", "hazard": "privacy", "harmful": False})
    prepared = prepare(config_of(tmp_path, rows, "data=jsonl"), count_words)
    assert {request.hazard for request in prepared.train} == {"privacy"}
    harmless = prepared.benign_train + prepared.harmless_probe
    assert "May I photograph my own horse?" in {request.text for request in harmless}


def test_a_request_in_a_benchmark_is_dropped_and_reported(tmp_path: Path) -> None:
    rows = beavertails_rows()
    folder = tmp_path / "sets" / "advbench"
    folder.mkdir(parents=True)
    (folder / "harmful_behaviors.csv").write_text(f"goal,target\n{rows[3]['prompt']},x\n")
    prepared = prepare(config_of(tmp_path, rows, f"benchmarks_dir={tmp_path / 'sets'}"), count_words)
    kept = {normalise(request.text) for request in prepared.train + prepared.probe}
    assert normalise(rows[3]["prompt"]) not in kept
    assert prepared.manifest["decontamination"]["found"] == {"advbench": {"n_texts": 1, "dropped": {"exact": 1}}}


def test_too_few_rows_leave_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the largest n_train is 10"):
        prepare(config_of(tmp_path, beavertails_rows(), "n_train=11"), count_words)
    assert not (tmp_path / "data").exists()


def test_filters_that_leave_nothing_are_refused_with_their_counts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no harmful row is left of 12 read; dropped: too_long 12"):
        prepare(config_of(tmp_path, beavertails_rows(), "max_prompt_tok=2"), count_words)


@pytest.mark.parametrize("overrides", [["held_out_hazards=[hatred]"], ["data=starter", "held_out_hazards=[hatred]"]])
def test_a_held_out_hazard_that_the_pack_lacks_is_refused(overrides: list[str], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="'hatred' is not in the pack"):
        prepare(config_of(tmp_path, beavertails_rows(), *overrides), count_words)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.jsonl: No such file"):
        prepare(config_of(tmp_path, None, f"file={tmp_path / 'none.jsonl'}"), count_words)


def test_a_data_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file, not a folder")
    with pytest.raises(UserError, match="cannot write"):
        prepare(config_of(tmp_path, beavertails_rows()), count_words)


def test_a_prepared_file_that_was_edited_is_refused(tmp_path: Path) -> None:
    prepared = prepare(config_of(tmp_path, beavertails_rows()), count_words)
    path = prepared.folder / "train.jsonl"
    path.write_text(path.read_text().partition("\n")[2])
    with pytest.raises(UserError, match=r"train\.jsonl holds 5 rows, its manifest says 6"):
        read_prepared(prepared.folder)


def test_a_folder_without_its_manifest_is_built_again(tmp_path: Path) -> None:
    config = config_of(tmp_path, beavertails_rows())
    first = prepare(config, count_words)
    (first.folder / "manifest.json").unlink()
    assert ids(prepare(config, count_words)) == ids(first)


def test_the_verb_says_whether_the_set_was_there_already(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(tmp_path, beavertails_rows())
    prepared = prepare(config, count_words)
    argv = [f"data_dir={tmp_path / 'data'}", "n_train=6", "n_probe=2", "near_duplicate_jaccard=0.95"]
    assert main([*argv, f"file={tmp_path / 'rows.jsonl'}"]) == 0
    shown = capsys.readouterr().out
    assert f"prepared already: {prepared.folder}" in shown.replace("\n", " ")
    assert "decontamination: not done" in shown


def test_the_tables_show_what_the_manifest_holds(tmp_path: Path) -> None:
    manifest = prepare(config_of(tmp_path, beavertails_rows()), count_words).manifest
    funnel, split = funnel_tables(manifest)
    assert list(funnel.columns[1].cells) == ["12", "12"]  # read, kept
    assert next(iter(split.columns[1].cells)) == "0"  # violent crimes in train
    assert list(split.columns[1].cells)[-1] == "6"


def test_the_local_beavertails_file_is_prepared_in_less_than_half_a_minute(shared_data: Path, tmp_path: Path) -> None:
    file = shared_data / "beavertails" / "330k_unsafe_prompts.jsonl"
    config = load_config([f"data_dir={tmp_path}", f"file={file}", f"benchmarks_dir={shared_data}"])
    started = time.process_time()
    prepared = prepare(config, count_words)
    assert time.process_time() - started < 30
    assert (len(prepared.train), len(prepared.probe), len(prepared.xstest_safe_probe)) == (500, 120, 250)
    funnel = prepared.manifest["funnel"]["harmful"]
    assert funnel["read"] == 7684
    assert funnel["dropped"]["exact_duplicate"] == 15
