"""A measurement in a process of its own: what goes in, what comes out, and what it does not inherit."""

import subprocess

import pytest

from benchmarks.harness import in_own_process, words


@pytest.mark.slow
def test_a_function_gets_its_values_and_gives_back_its_own():
    assert in_own_process(words, ["rows=a"], {"rows": "", "model": "tiny"}) == {"rows": "a", "model": "tiny"}


def test_the_process_has_the_environment_that_is_asked_for_and_no_rank_or_port_of_ours(monkeypatch):
    seen = {}

    def run(_, env, **__):
        seen.update(env)
        return subprocess.CompletedProcess([], 0, 'noise\n{"cpu_s": 1.0}\n')

    monkeypatch.setenv("MASTER_PORT", "1")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(subprocess, "run", run)
    assert in_own_process(words, environment={"OMP_NUM_THREADS": "1"}) == {"cpu_s": 1.0}
    assert seen["OMP_NUM_THREADS"] == "1" and "RANK" not in seen
    assert seen["MASTER_PORT"] not in {"1", "29500", "23456"}  # TRL's own choices, the same in each process
