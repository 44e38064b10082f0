"""Where the verbs print their tables."""

from __future__ import annotations

import sys

from rich.console import Console

LOG_COLUMNS = 160  # a log has no width of its own, and rich's 80 columns would break names and intervals


def table_console() -> Console:
    """Standard output: as wide as the terminal, or LOG_COLUMNS where it is none."""
    return Console(width=None if sys.stdout.isatty() else LOG_COLUMNS)
