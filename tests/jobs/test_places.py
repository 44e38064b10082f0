"""Cells side by side never share a GPU or a core."""

from __future__ import annotations

import os
import socket

import pytest

from cada_trl.config import Config, load_config
from cada_trl.errors import UserError
from cada_trl.jobs.places import free_port, places, visible_gpus


@pytest.fixture(scope="module")
def gpu() -> Config:
    return load_config(["hardware=gpu"])


@pytest.fixture(scope="module")
def cpu() -> Config:
    return load_config(["threads=1"])


def test_a_cell_alone_has_the_whole_machine(gpu: Config, cpu: Config) -> None:
    for config in (gpu, cpu):
        (place,) = places(1, [config])
        assert (place.env, place.prefix) == ({}, [])


def test_gpus_are_shared_out_as_they_are_named(gpu: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    four = gpu.model_copy(update={"hardware": gpu.hardware.model_copy(update={"n_processes": 2})})
    assert [place.env["CUDA_VISIBLE_DEVICES"] for place in places(2, [gpu, four])] == ["4,5", "6,7"]
    assert [place.env["CUDA_VISIBLE_DEVICES"] for place in places(3, [gpu])] == ["4", "5", "6"]
    with pytest.raises(UserError, match=r"jobs=3 cells of 2 GPU\(s\) need 6, 4 seen; the most is jobs=2"):
        places(3, [four])


def test_no_visible_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []


def test_cores_are_shared_out_without_overlap(cpu: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 5, 6})
    two = places(2, [cpu])
    assert [place.cores for place in two] == [(0, 1), (2, 5)]
    assert two[0].env == {"OMP_NUM_THREADS": "2"}
    assert two[1].prefix == ["taskset", "--cpu-list", "2,5"]
    with pytest.raises(UserError, match="jobs=6 cells need as many cores, 5 seen"):
        places(6, [cpu])
    three = cpu.model_copy(update={"hardware": cpu.hardware.model_copy(update={"threads": 3})})
    with pytest.raises(UserError, match="threads=3 with jobs=2: a cell has 2 of 5 cores"):
        places(2, [three])


def test_one_vllm_server_serves_one_training(cpu: Config) -> None:
    served = cpu.model_copy(update={"rollout": cpu.rollout.model_copy(update={"backend": "vllm_server"})})
    with pytest.raises(UserError, match="jobs > 1 with rollout=vllm_server"):
        places(2, [served])


def test_a_free_port_can_be_taken() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", free_port()))
