"""How far a long pass is: a live bar on stderr in a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cada_trl.tracking.progress import duration

LINE_EVERY_S = 10.0
T = TypeVar("T")


def shown(done: Iterable[T], n_total: int, what: str, console: Console | None = None) -> Iterator[T]:
    """The items of `done` as they come, counted against n_total on the console (stderr)."""
    console = console or Console(stderr=True)
    return _bar(done, n_total, what, console) if console.is_terminal else _lines(done, n_total, what, console)


def _bar(done: Iterable[T], n_total: int, what: str, console: Console) -> Iterator[T]:
    columns = (TextColumn(what), MofNCompleteColumn(), BarColumn(bar_width=20), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(what, total=n_total)
        for item in done:
            progress.advance(task)
            yield item


def _lines(done: Iterable[T], n_total: int, what: str, console: Console) -> Iterator[T]:
    started = said = time.monotonic()
    for n_done, item in enumerate(done, start=1):
        now = time.monotonic()
        if n_done == n_total or now - said >= LINE_EVERY_S:
            left = duration((now - started) / n_done * (n_total - n_done))
            console.print(f"{what} {n_done}/{n_total}  ETA {left}", highlight=False, soft_wrap=True)
            said = now
        yield item
