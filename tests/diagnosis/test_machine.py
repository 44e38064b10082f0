"""What doctor finds in packages, memory, disk, ports and GPUs: each fault planted once."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from cada_trl.config import load_config
from cada_trl.diagnosis import machine
from cada_trl.diagnosis.finding import Check, Finding
from cada_trl.planning.disk import run_folder_gb
from cada_trl.planning.shapes import shape_of


def found(check: Check, *overrides: str) -> list[Finding]:
    return [*check(load_config([*overrides]))]


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind(("", 0))
        holder.listen()
        yield holder.getsockname()[1]


def test_a_package_beside_its_pin_and_a_missing_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name == "datasets":
            raise metadata.PackageNotFoundError
        return "1.15.0" if name == "trl" else real(name)

    monkeypatch.setattr(machine.metadata, "version", version)  # type: ignore[attr-defined]
    (one,) = found(machine.check_versions)
    assert one.level == "warning"
    assert "trl 1.15.0, pinned ==1.16.0" in one.seen
    assert "datasets==5.2.0 is not installed" in one.seen


def test_an_extra_that_is_not_installed_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in {"deepspeed", "vllm", "lm-eval"}:
            raise metadata.PackageNotFoundError
        return real(name)

    monkeypatch.setattr(machine.metadata, "version", version)  # type: ignore[attr-defined]
    (one,) = found(machine.check_versions)
    assert not any(name in one.seen for name in ("deepspeed", "vllm", "lm-eval"))


def test_what_a_run_fetches_is_a_warning_and_what_it_lacks_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "absent", lambda config: ["4 CUDA GPU(s) wanted, 0 seen"])
    levels = [(one.level, one.seen[:6]) for one in found(machine.check_missing, "data=beavertails")]
    assert levels == [("failed", "4 CUDA"), ("warning", "the hu")]


def test_a_plan_that_does_not_fit_names_the_change_that_does() -> None:
    (one,) = found(machine.check_memory, "model=llama3", "hardware=a100x4_40gb")
    assert one.level == "failed"
    assert one.line().endswith("accelerate_config=launch/accelerate_zero3_offload_4gpu.yaml needs 29.6 GB")
    (fitting,) = found(machine.check_memory, "model=llama3", "hardware=a100x4")
    assert fitting.level == "ok"


def test_a_plan_that_nothing_makes_fit_says_so() -> None:
    (one,) = found(machine.check_memory, "model=llama3_70b", "hardware=a100x4")
    assert (one.level, one.todo) == ("failed", "no three changes make it fit (docs/scaling.md)")


def test_a_time_is_always_said_to_be_an_estimate() -> None:
    (one,) = found(machine.check_time, "model=llama3", "hardware=a100x4")
    assert one.seen.startswith("estimate, not measured: at most ")
    (unknown,) = found(machine.check_time, "model=llama3", "hardware=gpu")
    assert unknown.level == "warning"


def test_the_run_folder_is_what_the_default_run_was_measured_to_leave() -> None:
    """1.6 GB a checkpoint, two kept and one in writing, and 0.5 GB of weights."""
    config = load_config([])
    assert run_folder_gb(config, shape_of(config.model)) == pytest.approx(3 * 1.61 + 0.54, abs=0.05)


def test_a_disk_without_room_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=5.3e9))
    (one,) = found(machine.check_disk, f"runs_dir={tmp_path / 'a' / 'b'}")
    assert one.level == "failed"
    assert f"up to 5.4 GB for the run folder, 5 GB free at {tmp_path}" in one.seen


def test_a_folder_that_cannot_be_written_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "access", lambda folder, mode: False)
    (one,) = found(machine.check_disk, f"runs_dir={tmp_path}")
    assert (one.level, one.todo) == ("failed", "choose another runs_dir")


@pytest.mark.parametrize(("hardware", "level"), [("a100x4", "warning"), ("a100x16", "failed")])
def test_a_taken_port_stops_several_machines_only(
    monkeypatch: pytest.MonkeyPatch, taken_port: int, hardware: str, level: str
) -> None:
    monkeypatch.setenv("MASTER_PORT", str(taken_port))
    (one,) = found(machine.check_ports, "model=llama3", f"hardware={hardware}")
    assert (one.level, one.seen) == (level, f"{taken_port} is taken")


def test_a_server_that_does_not_answer_fails_and_one_that_does_is_ok(taken_port: int) -> None:
    server = ["rollout=vllm_server", f"server_url='http://127.0.0.1:{taken_port}'"]
    assert [one.level for one in found(machine.check_ports, *server)] == ["ok"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = free.getsockname()[1]
    (one,) = found(machine.check_ports, "rollout=vllm_server", f"server_url='http://127.0.0.1:{nobody}'")
    assert one.level == "failed"


def test_a_smaller_card_than_planned_for_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    cards = [SimpleNamespace(name="A100", total_memory=84.9e9), SimpleNamespace(name="A100", total_memory=42.3e9)]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: cards[number])
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    assert [one.level for one in found(machine.check_gpu, "model=llama3", "hardware=a100x4")] == ["ok", "warning"]
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: False)
    assert {one.level for one in found(machine.check_gpu, "model=llama3", "hardware=a100x4")} == {"failed"}
