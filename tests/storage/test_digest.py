"""The same digest however the content comes; a folder's files, and its manifest, against the hashes in the manifest."""

import json
from pathlib import Path

import pytest

from cada_trl.errors import UserError
from cada_trl.storage.digest import (
    are_alike,
    check_kept,
    check_same_inputs,
    content_hash,
    file_sha256,
    found,
    inputs_of,
    json_sha256,
    kept,
    quick_sha256,
    read_config,
    sealed,
    sha256,
    sha256_of,
)
from cada_trl.storage.files import read_json, replace_json

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def test_text_bytes_pieces_and_files_agree(tmp_path):
    (tmp_path / "abc").write_text("abc")
    assert sha256("abc") == sha256(b"abc") == sha256_of([b"a", b"bc"]) == file_sha256(tmp_path / "abc") == ABC


def test_a_folder_that_a_record_names_is_taken_beside_it_before_one_of_the_same_name_here(tmp_path, monkeypatch):
    for place in ("a", "b"):
        (tmp_path / place / "runs/one").mkdir(parents=True)
    record = tmp_path / "a/sweeps/made"
    record.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "b")
    assert found(record, "runs/one") == tmp_path / "a/runs/one"
    assert found(tmp_path / "elsewhere/x", "runs/one") == Path("runs/one")
    assert found(record, str(tmp_path / "b/runs/one")) == tmp_path / "b/runs/one"


def test_of_a_large_file_both_ends_and_the_size_count(tmp_path, monkeypatch):
    monkeypatch.setattr("cada_trl.storage.digest._WHOLE_BYTES", 8)
    monkeypatch.setattr("cada_trl.storage.digest._END_BYTES", 2)
    seen = set()
    for text in ("ab" + "-" * 8 + "yz", "Xb" + "-" * 8 + "yz", "ab" + "-" * 8 + "yX", "ab" + "-" * 9 + "yz"):
        (tmp_path / "file").write_text(text)
        seen.add(quick_sha256(tmp_path / "file"))
    assert len(seen) == 4


def test_half_a_surrogate_pair_has_a_digest_of_its_own():
    assert len({sha256("\ud800"), sha256("\ud801"), sha256("?")}) == 3


def test_the_order_of_keys_changes_nothing_and_a_value_does():
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) == json_sha256({"a": 1, "b": 2})[:8]
    assert content_hash({"a": 1}) != content_hash({"a": 2})


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "completions").mkdir()
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    (tmp_path / "train.jsonl").write_text('{"step": 1}\n')
    (tmp_path / "completions" / "step_000001.jsonl").write_text('{"reward": 1}\n')
    return tmp_path


@pytest.mark.parametrize("state", ["done", "running"])
@pytest.mark.parametrize("name", ["config.yaml", "train.jsonl", "completions/step_000001.jsonl"])
@pytest.mark.parametrize(
    "change", [lambda path: path.write_text(path.read_text().replace("1", "2")), lambda path: path.write_text("")]
)
def test_an_edited_file_is_refused_by_name(folder, state, name, change):
    manifest = {"exit_state": state, "files": kept(folder)}
    check_kept(folder, manifest)
    change(folder / name)
    with pytest.raises(UserError, match=rf"{name} was edited after it was written: manifest.json .*; restore it"):
        check_kept(folder, manifest)


def test_a_deleted_file_is_named_once_and_left_to_who_needs_it(folder, capsys):
    manifest = {"exit_state": "done", "files": kept(folder)}
    (folder / "train.jsonl").unlink()
    for _ in range(2):
        check_kept(folder, manifest)
    assert capsys.readouterr().err == f"{folder / 'train.jsonl'} was deleted after it was written\n"


@pytest.mark.parametrize("files", [[], "x", {"a.jsonl": 3}, {"a.jsonl": ["x", "y"]}])
def test_hashes_of_another_form_are_one_line(folder, files):
    with pytest.raises(UserError, match=r"manifest.json: `files` is of another form; restore it"):
        check_kept(folder, {"exit_state": "done", "files": files})


def test_rows_may_be_added_by_a_writer_that_was_killed_and_by_nobody_else(folder):
    manifest = {"exit_state": "running", "files": kept(folder)}
    with (folder / "train.jsonl").open("a") as file:
        file.write('{"step": 2}\n')
    check_kept(folder, manifest)
    with pytest.raises(UserError, match=r"train\.jsonl was edited"):
        check_kept(folder, manifest | {"exit_state": "failed: no space"})


def test_a_folder_of_an_older_version_says_that_it_cannot_be_checked(folder, capsys):
    check_kept(folder, {"exit_state": "done"})
    assert capsys.readouterr().err == (
        f"{folder}: written without hashes of its files, so edits of them cannot be noticed\n"
    )
    check_kept(folder, {"exit_state": "running"})
    check_kept(folder, {})
    assert capsys.readouterr().err == ""


def test_an_edited_configuration_is_not_read_and_edited_rows_are_another_readers(folder):
    replace_json(folder / "manifest.json", sealed(folder, {"exit_state": "done"}))
    (folder / "train.jsonl").write_text("")
    assert read_config(folder) == {"seed": 1}
    (folder / "config.yaml").write_text("seed: 2\n")
    with pytest.raises(UserError, match=r"config\.yaml was edited after it was written"):
        read_config(folder)


def test_a_configuration_without_a_manifest_is_read_and_one_that_is_no_mapping_is_not(folder):
    assert read_config(folder) == {"seed": 1}
    (folder / "config.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match=r"config\.yaml holds a list, expected a mapping; restore it"):
        read_config(folder)


def test_an_edited_manifest_is_refused_and_an_older_one_without_its_own_hash_is_read(folder):
    manifest = sealed(folder, {"exit_state": "done", "sizes": {10: (1, 0.1), 9: "\ud800"}})
    replace_json(folder / "manifest.json", manifest)
    there = read_json(folder / "manifest.json")
    check_kept(folder, there)
    replace_json(folder / "manifest.json", there | {"exit_state": "failed"})
    for check in (read_config, lambda folder: check_kept(folder, there | {"judge_id": "another"})):
        with pytest.raises(UserError, match=r"manifest\.json was edited after it was written: .*; restore it, or move"):
            check(folder)
    replace_json(folder / "manifest.json", {"exit_state": "failed", "files": there["files"]})
    read_config(folder)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"hazards_hash": "other"}, "the case pack is another one than when"),
        ({"judge_id": "other"}, "the judge is another one"),
        ({"initial_model": "other"}, "the initial model is another one than when"),
        ({"data": {"files": {"train.jsonl": "other"}}}, "the request set is another one than when"),
    ],
)
def test_what_a_run_read_and_was_edited_since_it_began_is_refused(change, what, tmp_path):
    began = {"hazards_hash": "h", "judge_id": "j", "initial_model": "m", "template_hash": None}
    began |= {"data": {"files": {"train.jsonl": "t"}}}
    check_same_inputs(tmp_path, began)  # there is none before
    (tmp_path / "manifest.json").write_text(json.dumps(began))
    check_same_inputs(tmp_path, {**began, "template_hash": "not recorded then"})
    with pytest.raises(UserError, match=rf"{what}.*another run_name"):
        check_same_inputs(tmp_path, {**began, **change})


def test_rows_that_are_not_prepared_anew_are_told_by_the_file_that_they_are_made_of(tmp_path):
    def made_of(digest):
        return {"data": {"inputs": {"sha256": {"file": digest}}}}

    began = {"data": {**made_of("a")["data"], "files": {"train.jsonl": "t"}}}
    (tmp_path / "manifest.json").write_text(json.dumps(began))
    check_same_inputs(tmp_path, made_of("a"))
    check_same_inputs(tmp_path, {"data": {**made_of("b")["data"], "files": {"train.jsonl": "t"}}})  # the same rows
    with pytest.raises(UserError, match="the request set is another one than when"):
        check_same_inputs(tmp_path, made_of("b"))


@pytest.mark.parametrize("key", ["hazards_hash", "template_hash", "judge_id", "initial_model", "file", "twins"])
def test_two_runs_had_the_same_inputs_where_no_recorded_one_differs(key):
    def of(value):
        return inputs_of({"data": {"inputs": {"sha256": {key: value}}}} if key in {"file", "twins"} else {key: value})

    assert are_alike([of("a"), of(None), of("a"), {}])
    assert not are_alike([of("a"), of(None), of("b")])


def test_what_is_not_known_of_the_inputs_is_not_compared(tmp_path):
    (tmp_path / "manifest.json").write_text(json.dumps({"hazards_hash": "h", "judge_id": "j"}))
    check_same_inputs(tmp_path, {"hazards_hash": "h"})
