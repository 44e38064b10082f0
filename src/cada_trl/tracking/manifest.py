"""manifest.json: what ran, on what, from which code and data, so that a number can be traced and a run repeated."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cada_trl.config import PACKAGE_DIR, Config, config_hash, run_name
from cada_trl.errors import Stopped
from cada_trl.storage.digest import content_hash
from cada_trl.tracking.scrub import scrub


def build_manifest(config: Config, data_manifest: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest at the start of a run, exit_state "running".

    data_manifest: what `prepare` wrote beside the requests. extra: what only the trainer knows, above all judge_id (who
    pays the reward), hazards_hash (the case pack), template_hash (the chat template) and card (what a probe learns from
    the requests); absent ones stay null.
    """
    manifest: dict[str, Any] = {
        "run_name": run_name(config),
        "exit_state": "running",
        "started_utc": now_utc(),
        "ended_utc": None,
        "wall_s": None,
        "config_hash": config_hash(config),
        "data_hash": content_hash(data_manifest),
        "template_hash": None,
        "hazards_hash": None,
        "judge_id": None,
        "card": None,
        "seeds": {"run": config.seed},
        **provenance(),
        "data": dict(data_manifest),
    }
    scrubbed: dict[str, Any] = scrub(manifest | dict(extra))
    return scrubbed


def provenance() -> dict[str, Any]:
    """What any number comes from: the commit, the command, the machine, the packages."""
    return {
        "git": git_state(PACKAGE_DIR),
        "argv": sys.argv,
        "machine": machine(),
        "packages": package_versions(),
    }


def finished(manifest: Mapping[str, Any], state: str) -> dict[str, Any]:
    """The manifest with end time, wall time (s, this start to this end) and how the run ended.

    state: "done", "interrupted", "stopped: <why>", or "failed: <what>".
    """
    wall = datetime.now(UTC) - datetime.fromisoformat(manifest["started_utc"])
    end = {"exit_state": state, "ended_utc": now_utc(), "wall_s": round(wall.total_seconds(), 1)}
    return {**manifest, **scrub(end)}


def exit_state(error: BaseException) -> str:
    """How a run ended that this error ended, for `finished`."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    if isinstance(error, Stopped):
        return f"stopped: {error}"
    return f"failed: {(str(error) or repr(error)).splitlines()[0]}"


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether files differ from it; None outside a git checkout or without git."""
    try:
        commit = _git(folder, "rev-parse", "HEAD").strip()
        return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain").strip())}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True, timeout=20
    ).stdout


def package_versions() -> dict[str, str]:
    """Versions of python and of every installed package that pyproject.toml names, extras included."""
    versions = {"python": platform.python_version()}
    for requirement in metadata.requires("cada_trl") or []:
        name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an extra that is not installed
            continue
    return versions


def machine() -> dict[str, Any]:
    """Platform, CPU model, cores this process may use, memory (GiB), and GPU names once torch is imported."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "gpus": _gpu_names(),
    }


def _cpu_model() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE) if info.is_file() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def _gpu_names() -> list[str]:
    torch = sys.modules.get("torch")  # never import it for this: config-level commands stay fast
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def now_utc() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
