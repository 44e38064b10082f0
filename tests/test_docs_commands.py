"""The documentation's commands run: each ```bash block whose first line is `# ci: dry-run` is executed.

A training command gets --dry-run, everything else in the block runs as it stands.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```bash\n# ci: dry-run\n(.*?)^```", re.MULTILINE | re.DOTALL)


def commands(page: str) -> list[str]:
    """The commands of the marked blocks, continued lines joined, without comments."""
    lines = "".join(BLOCK.findall(page)).replace("\\\n", " ").splitlines()
    return [command for line in lines if (command := re.sub(r"(^|\s)#.*", "", line).strip())]


def as_dry_run(command: str) -> str:
    """The command with this Python, without an installation, and without training."""
    if command.startswith("make "):
        stamps = "-o .venv/.installed -o .venv/.installed-for-tests"
        command = f"make {stamps} VENV_PYTHON={sys.executable} {command.removeprefix('make ')}"
        return f"{command} ARGS+=--dry-run" if " train " in f"{command} " else command
    if "cada_trl.train" not in command:
        return command
    assert command.startswith("python -m cada_trl.train"), f"cannot be made a dry run: {command}"
    return f"{command} --dry-run"


MARKED = [(page.name, command) for page in PAGES for command in commands(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("page", "command"), MARKED)
def test_a_marked_command_runs(page: str, command: str) -> None:
    """Make's own variables are taken out: an outer `make test ARGS=...` would pass its ARGS on."""
    env = {name: value for name, value in os.environ.items() if name not in {"ARGS", "MAKEFLAGS", "MAKEOVERRIDES"}}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", as_dry_run(command)],
        cwd=ROOT,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}: {command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_only_marked_blocks_are_taken_and_continued_lines_are_one_command() -> None:
    page = (
        "```bash\nrm -rf /nothing\n```\n"
        "text\n"
        "```bash\n# ci: dry-run\n"
        'make train \\\n  ARGS="beta_kl=0.1 seed=2"   # the KL\'s weight\n\n'
        "python -m cada_trl.train model=llama3\n```\n"
        "```python\n# ci: dry-run\nprint()\n```\n"
    )
    assert commands(page) == ['make train    ARGS="beta_kl=0.1 seed=2"', "python -m cada_trl.train model=llama3"]


def test_training_is_not_started_by_the_documentation() -> None:
    assert as_dry_run("make train").endswith(" train ARGS+=--dry-run")
    assert as_dry_run("make train MODEL=llama3").endswith(" train MODEL=llama3 ARGS+=--dry-run")
    assert as_dry_run("python -m cada_trl.train seed=1") == "python -m cada_trl.train seed=1 --dry-run"
    assert as_dry_run("make judge-card").endswith(" judge-card")
    assert as_dry_run("ls docs") == "ls docs"
    with pytest.raises(AssertionError, match="cannot be made a dry run"):
        as_dry_run("accelerate launch -m cada_trl.train seed=1")
