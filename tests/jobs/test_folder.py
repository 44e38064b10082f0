"""A finished cell's files by their content: what is looked at of an evaluation."""

from pathlib import Path

import pytest

from cada_trl.jobs.folder import damaged, fingerprint


@pytest.mark.parametrize("name", ["attempts.jsonl", "responses.jsonl", "scores.json"])
def test_attempts_responses_and_scores_of_an_evaluation_are_recorded(name, tmp_path):
    for file in ("attempts.jsonl", "responses.jsonl", "scores.json", "verdicts.jsonl", "report.html"):
        (tmp_path / file).write_text(file)
    recorded = fingerprint([tmp_path])
    assert {Path(file).name for file in recorded} == {"attempts.jsonl", "responses.jsonl", "scores.json"}
    (tmp_path / name).write_text("edited")
    assert damaged(recorded) == {str(tmp_path / name): "has changed"}
    (tmp_path / name).unlink()
    assert damaged(recorded) == {str(tmp_path / name): "is missing"}
