"""What of a streamed answer is seen."""

from __future__ import annotations

import pytest

from cada_trl.chat import Shown

ANSWER = "### Analysis\nSomeone could be hurt.\n### Final Response\nI can't help with that."


def seen(text: str, analysis: bool, truncated: bool = False, size: int = 5) -> list[str]:
    """What is written, piece by piece."""
    written: list[str] = []
    shown = Shown(written.append, analysis)
    for start in range(0, len(text), size):
        shown.add(text[start : start + size])
    shown.end(truncated)
    return written


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_shown_is_everything_and_hidden_the_final_response(size: int) -> None:
    assert "".join(seen(ANSWER, True, size=size)) == ANSWER + "\n"
    assert "".join(seen(ANSWER, False, size=size)) == "I can't help with that.\n"


def test_the_final_response_comes_in_pieces() -> None:
    assert len([piece for piece in seen(ANSWER, False) if piece.strip()]) > 2


def test_an_answer_without_headers_is_seen_when_it_ends() -> None:
    assert "".join(seen("Paris.", False)) == "Paris.\n"


def test_an_analysis_that_was_cut_stays_hidden_and_the_cut_is_said() -> None:
    assert "".join(seen("### Analysis\nSomeone could", False, truncated=True)) == " [cut at max_new_tok]\n"


def test_a_second_header_starts_the_final_response_again() -> None:
    assert "".join(seen(ANSWER + "\n### Final Response\nNo.", False)).endswith("\nNo.\n")
