from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cada_trl.errors import UserError
from cada_trl.report.run_record import RunRecord, read_run


def test_a_finished_run_misses_nothing(run: RunRecord) -> None:
    assert run.missing == []
    assert len(run.steps) == 40
    assert len(run.before) == len(run.after) == 150


def test_a_missing_folder_is_refused_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"no such run folder: {tmp_path}/nowhere"):
        read_run(tmp_path / "nowhere")


def test_a_folder_without_any_of_a_run_s_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no run folder: no manifest\.json, config\.yaml or train\.jsonl"):
        read_run(tmp_path)


def test_an_unfinished_run_is_read_and_says_what_is_missing(make_run: Callable[..., RunRecord]) -> None:
    path = make_run().path
    (path / "probes" / "after.jsonl").unlink()
    (path / "config.yaml").unlink()
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "exit_state": "running"}))
    assert read_run(path).missing == [
        "The run did not finish: its state is running, its last step 3.",
        "config.yaml is missing.",
        "The probe after training was not run (probes/after.jsonl is missing).",
    ]


def test_a_last_line_torn_by_a_kill_is_left_out_and_said(make_run: Callable[..., RunRecord]) -> None:
    path = make_run().path
    with (path / "train.jsonl").open("a") as file:
        file.write('{"step": 4, "train/rew')
    torn = read_run(path)
    assert [row["step"] for row in torn.steps] == [1, 2, 3]
    assert torn.missing == ["train.jsonl ends in a line torn by a killed run; it is left out."]


def test_a_damaged_line_before_the_last_is_refused_with_its_row(make_run: Callable[..., RunRecord]) -> None:
    path = make_run().path
    lines = (path / "train.jsonl").read_text().splitlines()
    (path / "train.jsonl").write_text("\n".join([lines[0], '{"step": ', lines[2]]))
    with pytest.raises(UserError, match=r"train.jsonl, row 2: not a JSON object"):
        read_run(path)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "MAYBE"}, r"before.jsonl, row 1: field 'verdict': .*got 'MAYBE'"),
        ({"set": "helpful"}, r"row 1: field 'set': .*got 'helpful'"),
        ({"reward": "high"}, r"row 1: field 'reward': .*got 'high'"),
    ],
)
def test_a_probe_row_with_a_wrong_field_is_refused_with_row_and_field(
    make_run: Callable[..., RunRecord], make_probe_row: Callable[..., dict[str, Any]], changes: Any, expected: str
) -> None:
    path = make_run().path
    row = make_probe_row("harmful", 1, "REFUSED", True) | changes
    (path / "probes" / "before.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(UserError, match=expected):
        read_run(path)


def test_a_request_probed_twice_is_refused_since_its_pair_would_be_ambiguous(
    make_run: Callable[..., RunRecord], make_probe_row: Callable[..., dict[str, Any]]
) -> None:
    path = make_run().path
    row = json.dumps(make_probe_row("harmful", 1, "REFUSED", True))
    (path / "probes" / "after.jsonl").write_text(f"{row}\n{row}\n")
    with pytest.raises(UserError, match=r"after.jsonl, row 2: request_id 'harmful-001' stands twice"):
        read_run(path)


def test_a_damaged_manifest_is_refused_with_its_path(make_run: Callable[..., RunRecord]) -> None:
    path = make_run().path
    (path / "manifest.json").write_text('{"run_name": ')
    with pytest.raises(UserError, match=r"manifest.json is not a JSON object .*; restore it or delete it"):
        read_run(path)
