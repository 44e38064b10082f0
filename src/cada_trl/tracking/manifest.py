"""manifest.json: what ran, on what, from which code and data, so that a number can be traced and a run repeated."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cada_trl.config import PACKAGE_DIR, Config, config_hash, run_name
from cada_trl.errors import Stopped, UserError, first_line
from cada_trl.storage.digest import check_kept, content_hash
from cada_trl.storage.files import read_json

HIDDEN = "<hidden>"

_SECRETS = [
    re.compile(r"\b(ghp|gho|github_pat|wandb_v\d)_[A-Za-z0-9_]{8,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{20,}"),  # hf_datasets is a folder
    re.compile(r"\bsk-[A-Za-z0-9_-]{8,}"),
    re.compile(r"(?<=://)[^/@\s]+(?=@)"),  # user:password in a URL
    re.compile(r"(?<=Bearer )\S+"),
]
# `api_key=...`, `?token=...`; not `api_key_env=...`, which only names a variable
_NAMED = re.compile(r"(?i)((?:key|token|secret|password)=)[^&\s]+")
_URL = re.compile(r"\w+://\S+")
_LONG_HEX = re.compile(r"\b[0-9a-fA-F]{32,}\b")  # only inside URLs: commits and file hashes are no secrets


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
        "earlier_s": 0.0,
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
    return dict(scrub(manifest | dict(extra)))


def provenance() -> dict[str, Any]:
    """What any number comes from: the commit, the command, the machine, the packages."""
    torch = sys.modules.get("torch")  # never import it for this: config-level commands stay fast
    cuda = torch.cuda if torch is not None and torch.cuda.is_available() else None
    gpus = [cuda.get_device_name(index) for index in range(cuda.device_count())] if cuda else []
    info = Path("/proc/cpuinfo")
    model = re.search(r"^model name\s*:\s*(.+)$", info.read_text() if info.is_file() else "", re.MULTILINE)
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    machine = {
        "platform": platform.platform(),
        "cpu": model.group(1) if model else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "gpus": gpus,
    }
    return {"git": git_state(PACKAGE_DIR), "argv": sys.argv, "machine": machine, "packages": _package_versions()}


def finished(manifest: Mapping[str, Any], state: str) -> dict[str, Any]:
    """With end, wall time of all its calls, and state: "done", "interrupted", "stopped: <why>", or "failed: <what>".

    The wall time is None, not known, where the clock was set back since the start.
    """
    this_s = (datetime.now(UTC) - datetime.fromisoformat(manifest["started_utc"])).total_seconds()
    wall_s = round(this_s + manifest.get("earlier_s", 0.0), 1) if this_s >= 0 else None
    end = {"exit_state": state, "ended_utc": now_utc(), "wall_s": wall_s}
    return {**manifest, **scrub(end)}


def earlier_s(path: Path) -> float:
    """Seconds of the run's calls before this one, as far as they ended: a killed one leaves no time."""
    before = read_json(path / "manifest.json") if (path / "manifest.json").is_file() else {}
    return float(before.get("wall_s") or before.get("earlier_s") or 0.0)


def is_done(path: Path, config: Config, with_files: bool) -> bool:
    """Whether this very run ended well. with_files: that none of its files was edited since is checked, too.

    Errors: UserError where another run, a damaged manifest, or rows edited since, are in its place.
    """
    file = path / "manifest.json"
    if not file.is_file():
        return False
    try:
        manifest = read_json(file)
        there = (manifest["config_hash"], manifest["seeds"]["run"])
        done = manifest["exit_state"] == "done"
    except (UserError, KeyError, TypeError) as error:
        raise UserError(f"{file} cannot be read; move the folder away or choose another run_name") from error
    here = (config_hash(config), config.seed)
    if there != here:
        raise UserError(
            f"{path} holds another run (config {there[0]}, seed {there[1]}; this is config {here[0]}, seed {here[1]}); "
            "choose another run_name or move the folder away"
        )
    if with_files:
        check_kept(path, manifest)
    return done


def exit_state(error: BaseException) -> str:
    """How a run ended that this error ended, for `finished`."""
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return "interrupted"
    if isinstance(error, Stopped):
        return f"stopped: {error}"
    return f"failed: {first_line(error)}"


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit and whether files differ from it; None without git and where no commit holds the folder, as in a .venv."""
    said = []
    for words in (["ls-files", "--error-unmatch", "."], ["rev-parse", "HEAD"], ["status", "--porcelain"]):
        command = ["git", "-C", str(folder), *words]
        try:
            said.append(subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip())
        except (OSError, subprocess.SubprocessError):
            return None
    return {"commit": said[1], "dirty": bool(said[2])}


def _package_versions() -> dict[str, str]:
    """Versions of python, of this package and of every installed one that pyproject.toml names, extras included."""
    versions = {"python": platform.python_version(), "cada_trl": metadata.version("cada_trl")}
    for requirement in metadata.requires("cada_trl") or []:
        name = re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0]
        with suppress(metadata.PackageNotFoundError):  # an extra that is not installed
            versions[name] = metadata.version(name)
    return versions


def now_utc() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def scrub(value: Any) -> Any:
    """A copy of plain JSON values for what a run publishes: what looks like a key, token or password reads <hidden>."""
    if isinstance(value, dict):
        return {key: scrub(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(item) for item in value]
    if not isinstance(value, str):
        return value
    for pattern in _SECRETS:
        value = pattern.sub(HIDDEN, value)
    value = _NAMED.sub(rf"\1{HIDDEN}", value)
    return _URL.sub(lambda url: _LONG_HEX.sub(HIDDEN, url.group()), value)
