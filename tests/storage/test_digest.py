"""storage.digest: the same digest however the content comes."""

from __future__ import annotations

from pathlib import Path

from cada_trl.storage.digest import content_hash, file_sha256, json_sha256, sha256, sha256_of

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def test_text_bytes_pieces_and_files_agree(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    assert sha256("abc") == sha256(b"abc") == sha256_of([b"a", b"bc"]) == file_sha256(tmp_path / "abc") == ABC


def test_half_a_surrogate_pair_has_a_digest_of_its_own() -> None:
    assert len({sha256("\ud800"), sha256("\ud801"), sha256("?")}) == 3


def test_the_order_of_keys_changes_nothing_and_a_value_does() -> None:
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1}) == json_sha256({"a": 1, "b": 2})[:8]
    assert content_hash({"a": 1}) != content_hash({"a": 2})
