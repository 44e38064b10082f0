"""What is wrong with the rows of a user's file, said at once: who mends it reads one message, not one a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cada_trl.errors import UserError

N_SHOWN = 10


class Problems:
    """The problems of a reading in the order in which they are found; only those that are shown are kept."""

    def __init__(self) -> None:
        self._shown: list[tuple[str, str]] = []
        self._n = 0

    @contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Keep the UserError that is raised inside and go on. where: a file, or "file, row 12"."""
        try:
            yield
        except UserError as error:
            self.add(where, error)

    def add(self, where: str, problem: object) -> None:
        """problem: a text or an error, with or without its place."""
        self._n += 1
        if self._n <= N_SHOWN:
            self._shown.append((where, str(problem).removeprefix(f"{where}: ")))

    def end(self) -> None:
        """Errors: UserError with the first N_SHOWN, each file named once, and how many more there are."""
        said, last = [], ""
        for where, problem in self._shown:
            file, _, number = where.rpartition(", row ")
            said.append(f"row {number}: {problem}" if file and file == last else f"{where}: {problem}")
            last = file or where
        if self._n > N_SHOWN:
            said.append(f"and {self._n - N_SHOWN} more")
        if said:
            raise UserError("; ".join(said))
