"""What the verbs show: tables on standard output, and on stderr how far a long pass is."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from typing import TypeVar

import rich.console
from rich.console import ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.segment import Segment

from cada_trl.visible import visible

LOG_COLUMNS = 160  # a log has no width of its own, and rich's 80 columns would break names and intervals
LEAST_COLUMNS = 80  # what a table of rates needs
LINE_EVERY_S = 10.0
# Ours. The model is loaded ahead of the first row, and of rows answered side by side the short ones end long before the
# others: their pace is absurd. From a fifth on the estimate is at most four times what was spent.
ETA_FROM_FRAC = 0.2
T = TypeVar("T")


class Console(rich.console.Console):
    """rich's, which lets control characters of a text through: here they are shown as escapes."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        for part in super().render(renderable, options):
            yield part if part.control else part._replace(text=visible(part.text))


def table_console() -> Console:
    """Standard output: as wide as the terminal, or LOG_COLUMNS where it is none. A narrow terminal wraps whole lines:
    rich would cut digits off."""
    return Console(width=max(LEAST_COLUMNS, Console().width) if sys.stdout.isatty() else LOG_COLUMNS)


def shown(done: Iterable[T], n_total: int, what: str, console: Console | None = None) -> Iterator[T]:
    """The items of `done` as they come, counted against n_total: a live bar, a line every ten seconds in a log."""
    console = console or Console(stderr=True)
    bar = counted_bar(what, console)
    task = bar.add_task("", total=n_total)
    started = shown_s = time.monotonic()
    with bar if console.is_terminal else nullcontext():
        for n_done, item in enumerate(done, start=1):
            now = time.monotonic()
            left = time_left(now - started, n_done, n_total)
            bar.update(task, completed=n_done, description=left)
            if not console.is_terminal and (n_done == n_total or now - shown_s >= LINE_EVERY_S):
                console.print(f"{what} {n_done}/{n_total}  {left}", highlight=False, soft_wrap=True)
                shown_s = now
            yield item


def counted_bar(what: str, console: Console) -> Progress:
    """A live line, as `what 3/9 [bar] description`; not yet started."""
    columns = (TextColumn(what), MofNCompleteColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
    return Progress(*columns, console=console)


def time_left(spent_s: float, n_done: int, n_total: int) -> str:
    """`ETA 2:03` at the mean pace so far; `ETA n/a` until a fifth is done."""
    if n_done < ETA_FROM_FRAC * n_total:
        return "ETA n/a"
    return f"ETA {duration(spent_s / n_done * (n_total - n_done))}"


def duration(seconds: float) -> str:
    """Seconds as 1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
