"""The stages of a rehearsal: where they end, and in whose words. tests/test_rehearse.py has a whole one."""

import socket
from contextlib import nullcontext

import pytest
from end_to_end.tiny_model import save_tiny_model, tiny_overrides

from cada_trl.config import load_config
from cada_trl.jobs import rehearsal as rehearsing
from cada_trl.jobs.rehearsal import Rehearsal, error_of


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (["step 1/4  ETA", "error: cannot save to x: no space left"], "error: cannot save to x: no space left"),
        (
            ["[rank1]: RuntimeError: shapes differ", "RuntimeError: Connection closed by peer"],
            "RuntimeError: shapes differ",
        ),
        (["a warning of a ValueError: none", "torch.elastic.Bad: x", "KeyError: 'loss'"], "KeyError: 'loss'"),
        (["ok       gpu  none", "failed   parser  no reward", "1 failed"], "failed   parser  no reward"),
        (["Killed"], "Killed"),
        ([], "nothing"),
    ],
)
def test_a_failure_is_told_in_the_words_of_the_run_and_not_of_what_comes_of_it(lines, error):
    assert error_of(lines) == error


def rehearsal(tmp_path, *more):
    words = [*tiny_overrides(tmp_path, save_tiny_model(tmp_path / "model")), "micro_batch=1", *more]
    return Rehearsal(load_config(words), words, 1, tmp_path)


def test_after_a_stage_that_fails_none_is_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(Rehearsal, "_stand_in", lambda _: "made")
    monkeypatch.setattr(rehearsing, "sys", type("Sys", (), {"executable": "/bin/false"}))
    seen = [(stage.stage, stage.state, stage.seen) for stage in rehearsal(tmp_path).stages()]
    machine = ("machine", "rehearsed", "1 of 1 process(es), rollout=transformers")
    assert seen == [("model", "rehearsed", "made"), machine, ("doctor", "failed", "nothing")]


def test_what_the_machine_lacks_is_no_failure_of_the_run(tmp_path, monkeypatch):
    monkeypatch.setattr(Rehearsal, "_stand_in", lambda _: "made")
    monkeypatch.setattr(rehearsing, "absent", lambda _: ["vllm is not installed: pip install it"])
    last = [*rehearsal(tmp_path).stages()][-1]
    assert (last.stage, last.state, last.seen) == ("machine", "not rehearsed", "vllm is not installed: pip install it")


def test_the_nodes_of_a_slurm_job_are_not_the_rehearsals(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    shown = tmp_path / "shown"
    shown.write_text('#!/bin/sh\necho "nodes: $SLURM_JOB_NUM_NODES"\n', encoding="utf-8")
    shown.chmod(0o755)
    monkeypatch.setattr(rehearsing, "sys", type("Sys", (), {"executable": str(shown)}))
    assert rehearsal(tmp_path)._verb("doctor", []) == "nodes:"


def test_a_server_is_there_once_it_answers_where_the_run_will_ask_it(tmp_path, monkeypatch):
    monkeypatch.setattr(Rehearsal, "_stand_in", lambda _: "made")
    monkeypatch.setattr(Rehearsal, "_started", lambda *_: nullcontext())
    monkeypatch.setattr(rehearsing, "absent", lambda _: [])
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        stages = rehearsal(tmp_path, "rollout=vllm_server", f"server_url={url}").stages()
        seen = [next(stages).stage, next(stages).seen]
    assert seen == ["model", "1 of 1 process(es), rollout=vllm_server"]
