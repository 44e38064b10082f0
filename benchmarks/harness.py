"""What the benchmarks share: key=value words, a process of its own for each measurement, and the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.trainers import SHAPES
from cada_trl.console import table_console
from cada_trl.errors import UserError
from cada_trl.jobs.runner import free_port
from cada_trl.storage.files import replace_json

ROOT = Path(__file__).parents[1]
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# TRL writes them where it starts vLLM: a child of such a process would listen on its port. It tries the same few ports
# in each process, so that two started together would take one of them: each is given its own.
RANKS = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}


def in_own_process(
    measure: Callable[..., dict[str, Any]],
    *given: Any,
    environment: Mapping[str, str] | None = None,
    limit_s: int | None = None,
) -> dict[str, Any]:
    """measure(*given), plain values in and out, in a process that does nothing else.

    Errors: CalledProcessError, and TimeoutExpired after limit_s.
    """
    spec = sys.modules[measure.__module__].__spec__
    assert spec is not None  # also of a script that was started with -m, whose __module__ is __main__
    inherited = {name: value for name, value in os.environ.items() if name not in RANKS}
    path = os.pathsep.join([str(ROOT), *filter(None, [inherited.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.harness", spec.name, measure.__name__, json.dumps(given)],
        env={**inherited, "PYTHONPATH": path, "MASTER_PORT": str(free_port()), **(environment or {})},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=limit_s,
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def parser(module: str, description: str, words: str) -> ArgumentParser:
    """Takes key=value words, which are described by `words`, and --json FILE."""
    made = ArgumentParser(prog=f"python -m benchmarks.{module}", description=description)
    made.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=words)
    made.add_argument("--json", type=Path, help="file for every figure")
    return made


def step_arguments(
    module: str, argv: list[str], rows: Iterable[str], defaults: Mapping[str, str], n_timed: int
) -> tuple[Namespace, dict[str, str], list[str]]:
    """The command line of the benchmarks with rows: its options, its words, and the names of its rows.

    Errors: UserError for an unknown key, shape or row, and for less than one step.
    """
    made = parser(module, "Cost of a training step.", ", ".join(defaults))
    made.add_argument("--steps", type=int, default=n_timed, help=f"timed steps, after one that is not ({n_timed})")
    made.add_argument("--check", action="store_true", help="exit with 1 where a target is missed")
    arguments = made.parse_args(argv)
    valid = list(rows)
    values = words(arguments.overrides, {"model": "smollm2", "rows": ",".join(valid), **defaults})
    if values["model"] not in SHAPES:
        raise UserError(f"model={values['model']} has no shape here; valid: {', '.join(SHAPES)}")
    names = values["rows"].split(",")
    if unknown := [name for name in names if name not in valid]:
        raise UserError(f"no row '{unknown[0]}'; valid: {', '.join(valid)}")
    if arguments.steps < 1:
        raise UserError(f"--steps={arguments.steps}; expected 1 or more, 3 for a figure to quote")
    return arguments, values, names


def words(overrides: Sequence[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """key=value words over their defaults. Errors: UserError for another key."""
    given = dict(text.partition("=")[::2] for text in overrides)
    if unknown := [key for key in given if key not in defaults]:
        raise UserError(f"unknown key '{unknown[0]}'; valid: {', '.join(defaults)}")
    return {**defaults, **given}


def tell(line: str) -> None:
    """A line on stderr: what is measured now, what is left out."""
    Console(stderr=True).print(line, soft_wrap=True, markup=False, highlight=False)


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table: names left, figures right."""
    table = Table(title=title)
    for place, column in enumerate(columns):
        table.add_column(column, justify="right" if place and column else "left", no_wrap=place == 0)
    for row in rows:
        table.add_row(*row)
    table_console().print(table)


def write_json(path: Path | None, figures: Mapping[str, Any]) -> None:
    """Every figure, where --json asks for them."""
    if path is not None:
        replace_json(path, figures, "choose another file")


if __name__ == "__main__":
    _, module_name, function, given_json = sys.argv
    print(json.dumps(getattr(import_module(module_name), function)(*json.loads(given_json))))
