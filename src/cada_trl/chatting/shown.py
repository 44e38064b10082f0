"""What of an answer is shown while it is written: all of it, or the final response alone."""

from __future__ import annotations

from collections.abc import Callable

from cada_trl.prompting.reasoning import split_reasoning
from cada_trl.records import Status


class Shown:
    """Takes the text in pieces and writes what is to be seen of it."""

    def __init__(self, write: Callable[[str], object], analysis: bool) -> None:
        self._write, self._analysis = write, analysis
        self._text = self._seen = ""

    def add(self, piece: str) -> None:
        """The next piece. Without the analysis nothing is seen before the header of the final response."""
        self._text += piece
        if self._analysis:
            self._write(piece)
        elif (now := split_reasoning(self._text)).status is not Status.NO_MARKER:
            self._up_to(now.final_response)

    def end(self, truncated: bool) -> None:
        """The answer is over; truncated: it was cut at its length."""
        if not self._analysis:
            last = split_reasoning(self._text, truncated)
            self._up_to(last.final_response if last.status is not Status.TRUNCATED else self._seen)
        self._write(" [cut at max_new_tok]\n" if truncated else "\n")

    def _up_to(self, final_response: str) -> None:
        """Write what is new; another header later in the answer starts the final response again."""
        again = not final_response.startswith(self._seen)
        self._write("\n" + final_response if again else final_response[len(self._seen) :])
        self._seen = final_response
