"""A policy file with the example in it, and words of it changed."""

from __future__ import annotations

from pathlib import Path

from cada_trl.policy import new


def example(folder: Path) -> Path:
    """The policy `mine` below the folder."""
    new(f"{folder}/mine")
    return folder / "mine"


def edit(folder: Path, old: str, changed: str) -> None:
    file = folder / "policy.yaml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, changed, 1), encoding="utf-8")
