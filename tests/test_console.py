"""What is printed while responses come."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from cada_trl import console as progress
from cada_trl.console import shown, time_left


def printed(terminal: bool, done: Iterator[str], n_total: int) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=80)
    assert list(shown(done, n_total, "responses", console)) == ["a", "b", "c", "d"]
    return str(console.file.getvalue())  # type: ignore[attr-defined]  # the StringIO above


def test_outside_a_terminal_there_is_a_line_every_ten_seconds_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 4.0, 10.0, 15.0, 16.0])  # the start, then each response
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    assert printed(False, iter("abcd"), 4) == "responses 2/4  ETA 0:10\nresponses 4/4  ETA 0:00\n"


def test_in_a_terminal_there_is_a_bar() -> None:
    text = printed(True, iter("abcd"), 4)
    assert "responses" in text and "4/4" in text and "ETA 0:00" in text


def test_early_rows_give_no_estimate() -> None:
    assert time_left(30.0, 1, 3240) == "ETA n/a"  # at its pace: 27 hours
    assert time_left(408.0, 9, 174) == "ETA n/a"  # at their pace two hours; the other 165 end together soon after
    assert time_left(648.0, 648, 3240) == "ETA 43:12"  # a row a second
    assert time_left(5.0, 4, 4) == "ETA 0:00"


def test_the_line_after_a_slow_first_row_has_no_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    console = Console(file=io.StringIO(), width=80)
    next(shown(iter("a"), 21, "responses", console))
    assert console.file.getvalue() == "responses 1/21  ETA n/a\n"  # type: ignore[attr-defined]
