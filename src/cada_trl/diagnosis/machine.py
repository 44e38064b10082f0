"""The machine: packages against the pins, memory, time, disk, GPUs, ports and what is not there."""

from __future__ import annotations

import os
import shutil
import socket
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from cada_trl.config import CONF_DIR, Config
from cada_trl.diagnosis.finding import Finding
from cada_trl.launching import MASTER_PORT, absent, fetched
from cada_trl.planning.device import accelerator_of, n_machines
from cada_trl.planning.disk import run_folder_gb
from cada_trl.planning.fitting import nearest_fit
from cada_trl.planning.memory import plan_memory
from cada_trl.planning.shapes import shape_of
from cada_trl.planning.time import estimate_step

CARD_FRAC = 0.9  # ours: a card shows a little less than its data sheet


def check_versions(config: Config) -> Iterator[Finding]:
    """Installed packages against the pins of pyproject.toml; an extra's package counts only where it is installed."""
    from packaging.requirements import Requirement

    project = tomllib.loads((CONF_DIR.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for lines in project["optional-dependencies"].values() for line in lines]
    wrong, n_right = [], 0
    for line in dict.fromkeys([*project["dependencies"], *extras]):
        requirement = Requirement(line)
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if line in project["dependencies"]:
                wrong.append(f"{line} is not installed")
            continue
        if requirement.specifier.contains(version, prereleases=True):
            n_right += 1
        else:
            wrong.append(f"{requirement.name} {version}, pinned {requirement.specifier}")
    if wrong:
        yield Finding("versions", "warning", "; ".join(wrong), "pip install -e . brings the set that was run together")
    else:
        yield Finding("versions", "ok", f"{n_right} packages are as pinned")


def check_missing(config: Config) -> Iterator[Finding]:
    """What `--dry-run` lists: failed where it must be there, a warning where the run fetches it."""
    lacks, fetches = absent(config), fetched(config)
    for lack in lacks:
        yield Finding("machine", "failed", lack)
    for fetch in fetches:
        yield Finding("network", "warning", fetch)
    if not lacks and not fetches:
        yield Finding("machine", "ok", "devices, packages and files are there")


def check_memory(config: Config) -> Iterator[Finding]:
    """The memory plan, and the nearest change that fits where it does not. Errors: UserError for an unknown shape."""
    shape = shape_of(config.model)
    plan = plan_memory(config, shape)
    need = f"{plan.peak_gb:.1f} GB a process at the longest sequences"
    if plan.fits is None:
        yield Finding("memory", "warning", f"{need}; no GPU here to compare with", "compare with the GPU you rent")
    elif plan.fits:
        yield Finding("memory", "ok", f"{need} of {plan.device_gb:.0f} GB")
    else:
        found = nearest_fit(config, shape)
        todo = (
            f"{found[0]} needs {found[1].peak_gb:.1f} GB" if found else "no three changes make it fit (docs/scaling.md)"
        )
        yield Finding("memory", "failed", f"{need}, {plan.device_gb or 0:.0f} GB there", todo)


def check_time(config: Config) -> Iterator[Finding]:
    """An estimate of a step, at the longest sequences."""
    step = estimate_step(config, shape_of(config.model))
    if step is None:
        yield Finding("time", "warning", "not estimated: the hardware names no accelerator", "accelerator=a100_80gb")
    else:
        parts = f"rollouts {step.rollouts_s:.0f} s, update {step.update_s:.0f} s"
        yield Finding("time", "ok", f"estimate, not measured: at most {step.step_s:.0f} s a step ({parts})")


def check_disk(config: Config) -> Iterator[Finding]:
    """Room for the run folder. Errors: UserError for an unknown shape."""
    need_gb = run_folder_gb(config, shape_of(config.model))
    folder = Path(config.runs_dir).expanduser().absolute()
    there = next(one for one in [folder, *folder.parents] if one.is_dir())
    free_gb = shutil.disk_usage(there).free / 1e9
    seen = f"up to {need_gb:.1f} GB for the run folder, {free_gb:.0f} GB free at {there}"
    if not os.access(there, os.W_OK):
        yield Finding("disk", "failed", f"{there} cannot be written", "choose another runs_dir")
    elif need_gb > free_gb:
        yield Finding("disk", "failed", seen, "free some, choose another runs_dir or a lower save_total_limit")
    else:
        yield Finding("disk", "ok", seen)


def check_gpu(config: Config) -> Iterator[Finding]:
    """The GPUs, their memory beside the card that the hardware names, and bfloat16."""
    if config.hardware.device == "cpu":
        yield Finding("gpu", "ok", f"none wanted; {os.cpu_count()} CPU cores")
        return
    import torch

    card = accelerator_of(config.hardware)
    for number in range(torch.cuda.device_count()):
        seen = torch.cuda.get_device_properties(number)
        text = f"{number}: {seen.name}, {seen.total_memory / 1e9:.0f} GB"
        if config.hardware.bf16 and not torch.cuda.is_bf16_supported():
            yield Finding("gpu", "failed", f"{text} without bfloat16", "set bf16=false and dtype=float32")
        elif card and seen.total_memory / 1e9 < CARD_FRAC * card.memory_gb:
            todo = f"planned for {config.hardware.accelerator}; set accelerator=null to plan for this one"
            yield Finding("gpu", "warning", text, todo)
        else:
            yield Finding("gpu", "ok", text)


def check_ports(config: Config) -> Iterator[Finding]:
    """The port that the processes meet on, and the vLLM server's address."""
    if config.hardware.n_processes > 1:
        port = int(os.environ.get("MASTER_PORT", MASTER_PORT))
        if _is_free(port):
            yield Finding("port", "ok", f"{port} is free")
        elif n_machines(config.hardware) > 1:
            yield Finding(
                "port", "failed", f"{port} is taken", "end what holds it, or set MASTER_PORT on every machine"
            )
        else:
            yield Finding("port", "warning", f"{port} is taken", "accelerate takes another one")
    if config.rollout.backend == "vllm_server":
        yield _server(str(config.rollout.server_url))


def _is_free(port: int) -> bool:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("", port))
        except OSError:
            return False
    return True


def _server(url: str) -> Finding:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 80), timeout=3).close()
    except OSError as error:
        todo = "start it first: bash launch/vllm_server.sh"
        return Finding("vllm server", "failed", f"nothing answers at {url} ({error.strerror or error})", todo)
    return Finding("vllm server", "ok", f"{url} answers")
