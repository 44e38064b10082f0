"""A finished cell's files by their content: what is looked at of large ones, and of an evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest

from cada_trl.jobs.folder import damaged, fingerprint
from cada_trl.storage import digest


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that counts as large: 100 bytes, of which the first and the last 10 are read."""
    monkeypatch.setattr(digest, "_WHOLE_BYTES", 50)
    monkeypatch.setattr(digest, "_END_BYTES", 10)
    path = tmp_path / "final" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(bytes(range(100)))
    return path


@pytest.mark.parametrize(
    "content",
    [b"x" + bytes(range(1, 100)), bytes(range(99)) + b"x", bytes(range(50)) + bytes(range(51, 100)), bytes(range(40))],
    ids=["head", "tail", "size", "no longer large"],
)
def test_a_large_file_is_known_by_its_head_its_tail_and_its_size(content: bytes, weights: Path) -> None:
    recorded = fingerprint([weights.parents[1]])
    assert list(recorded) == [str(weights)] and damaged(recorded) == []
    weights.write_bytes(content)
    assert damaged(recorded) == [f"{weights} has changed"]


@pytest.mark.parametrize("name", ["attempts.jsonl", "responses.jsonl", "scores.json"])
def test_attempts_responses_and_scores_of_an_evaluation_are_recorded(name: str, tmp_path: Path) -> None:
    for file in ("attempts.jsonl", "responses.jsonl", "scores.json", "verdicts.jsonl", "report.html"):
        (tmp_path / file).write_text(file)
    recorded = fingerprint([tmp_path])
    assert {Path(file).name for file in recorded} == {"attempts.jsonl", "responses.jsonl", "scores.json"}
    (tmp_path / name).write_text("edited")
    assert damaged(recorded) == [f"{tmp_path / name} has changed"]
    (tmp_path / name).unlink()
    assert damaged(recorded) == [f"{tmp_path / name} is missing"]
