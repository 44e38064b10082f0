"""Cells side by side never share a GPU or a core."""

import os
import socket

import pytest

from cada_trl.config import load_config
from cada_trl.errors import UserError
from cada_trl.jobs.runner import free_port, places, visible_gpus

GPU, CPU = load_config(["hardware=gpu"]), load_config(["threads=1"])


def with_hardware(config, **changes):
    return config.model_copy(update={"hardware": config.hardware.model_copy(update=changes)})


@pytest.mark.parametrize("config", [GPU, CPU])
def test_a_cell_alone_has_the_whole_machine(config):
    (place,) = places(1, [config])
    assert (place.env, place.prefix) == ({}, [])


def test_gpus_are_shared_out_as_they_are_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    two = [GPU, with_hardware(GPU, n_processes=2)]
    assert [place.env["CUDA_VISIBLE_DEVICES"] for place in places(2, two)] == ["4,5", "6,7"]
    assert [place.env["CUDA_VISIBLE_DEVICES"] for place in places(3, [GPU])] == ["4", "5", "6"]
    for named, seen in (("", []), ("-1", []), ("4,-1,5", ["4"])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        assert visible_gpus() == seen


def test_cores_are_shared_out_without_overlap(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 6})
    two = places(2, [CPU])
    assert [place.cores for place in two] == [(0, 1), (2, 5)]
    assert two[0].env == {"OMP_NUM_THREADS": "2"}
    assert two[1].prefix == ["taskset", "--cpu-list", "2,5"]


@pytest.mark.parametrize(
    ("n", "config", "message"),
    [
        (3, with_hardware(GPU, n_processes=2), r"jobs=3 cells of 2 GPU\(s\) need 6, 4 seen; the most is jobs=2"),
        (6, CPU, "jobs=6 cells need as many cores, 5 seen"),
        (2, with_hardware(CPU, threads=3), "threads=3 with jobs=2: a cell has 2 of 5 cores"),
        (2, load_config(["rollout=vllm_server"]), "jobs > 1 with rollout=vllm_server"),
    ],
)
def test_too_small_a_machine_and_a_shared_server_are_refused(n, config, message, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 6})
    with pytest.raises(UserError, match=message):
        places(n, [config])


def test_a_free_port_can_be_taken():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))
