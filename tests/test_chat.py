"""What of a streamed answer is seen, and what may be typed."""

import io
from types import SimpleNamespace

import pytest

from cada_trl.chat import Shown, _talk
from cada_trl.errors import UserError

ANSWER = "### Analysis\nSomeone could be hurt.\n### Final Response\nI can't help with that."


def seen(text, analysis, cut_tok=None, size=5):
    """What is written, piece by piece."""
    written = []
    shown = Shown(written.append, analysis)
    for start in range(0, len(text), size):
        shown.add(text[start : start + size])
    shown.end(cut_tok)
    return written


@pytest.mark.parametrize("size", [1, 5, 1000])
def test_shown_is_everything_and_hidden_the_final_response(size):
    assert "".join(seen(ANSWER, True, size=size)) == ANSWER + "\n"
    assert "".join(seen(ANSWER, False, size=size)) == "I can't help with that.\n"


def test_the_final_response_comes_in_pieces():
    assert len([piece for piece in seen(ANSWER, False) if piece.strip()]) > 2


def test_an_answer_without_headers_is_seen_when_it_ends():
    assert "".join(seen("Paris.", False)) == "Paris.\n"


CUT = " [cut off at 800 tokens; a larger max_new_tok gives room]\n"


@pytest.mark.parametrize("analysis", [True, False])
@pytest.mark.parametrize(
    ("text", "cut_tok", "said"),
    [
        ("### Analysis\nSomeone could", 800, CUT),
        ("### Analysis\nIt is bad.\n### Final Response\n", 800, CUT),
        ("", 800, CUT),
        ("", None, " [no final response: it ended at once]\n"),
        (" \n", None, " [no final response: it ended at once]\n"),
        ("### Analysis\nIt is bad.\n### Final Response\n", None, " [no final response: it wrote only an analysis]\n"),
    ],
)
def test_an_answer_without_a_final_response_says_why(text, cut_tok, said, analysis):
    assert "".join(seen(text, analysis, cut_tok)) == (text if analysis else "") + said


def test_a_second_header_starts_the_final_response_again():
    assert "".join(seen(ANSWER + "\n### Final Response\nNo.", False)).endswith("\nNo.\n")


@pytest.mark.parametrize("line", [b"caf\xe9\n", b"\xff\xfe\x00\n", b"a\x80b"])
def test_a_line_that_is_not_utf8_is_named(line, monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line), encoding="utf-8"))
    with pytest.raises(UserError, match=r"^stdin, line 1: not UTF-8 \(.*\); type or pipe UTF-8 text$"):
        _talk(SimpleNamespace(ask=asked.append, reset=None))
    assert asked == []
