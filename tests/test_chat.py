"""What of a streamed answer is seen, and what may be typed."""

import io
import os
import pty
import sys
from contextlib import suppress
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


def test_a_direct_answer_that_is_cut_off_is_seen_without_the_analysis_too():
    assert "".join(seen("Vaccines train the", False, 800)) == "Vaccines train the" + CUT


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


def test_ctrl_c_ends_an_answer_in_a_terminal_and_all_questions_of_a_pipe(monkeypatch):
    asked = []

    def ask(line):
        asked.append(line)
        raise KeyboardInterrupt

    def typed(is_terminal):
        stream = io.StringIO("one\ntwo\n")
        stream.isatty = lambda: is_terminal
        monkeypatch.setattr("sys.stdin", stream)
        _talk(SimpleNamespace(ask=ask, reset=None))

    typed(True)
    with pytest.raises(KeyboardInterrupt):
        typed(False)
    assert asked == ["one", "two", "one"]


def test_a_piped_line_is_read_in_the_locales_own_letters(monkeypatch):
    asked = []
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"caf\xe9\n"), encoding="latin-1"))
    _talk(SimpleNamespace(ask=asked.append, reset=None))
    assert asked == ["caf\xe9"]


def test_a_closed_stdin_is_one_line(monkeypatch):
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(UserError, match=r"^stdin is closed; give one question as ask="):
        _talk(SimpleNamespace(ask=None, reset=None))


@pytest.mark.parametrize("line", [b"caf\xe9\n", b"\xff\xfe\x00\n", b"a\x80b"])
def test_a_line_that_is_not_utf8_is_named(line, monkeypatch):
    asked = []
    # as Python opens it under LANG=C
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(line), encoding="utf-8", errors="surrogateescape"))
    with pytest.raises(UserError, match=r"^stdin, line 1: not UTF-8 \(.*\); type or pipe UTF-8 text$"):
        _talk(SimpleNamespace(ask=asked.append, reset=None))
    assert asked == []


def test_a_terminal_takes_a_line_of_any_length_and_its_arrow_keys(tmp_path):
    typed = b"word " * 1600 + b"end\n" + b"ab\x1b[D\x1b[Dx\n" + b"\x04"
    driver = "from types import SimpleNamespace as N; from cada_trl.chat import _talk; "
    driver += f"_talk(N(ask=open({str(tmp_path / 'asked')!r}, 'a').write, reset=None))"
    child, terminal = pty.fork()
    if not child:
        os.execvp(sys.executable, [sys.executable, "-c", driver])
    shown = b""
    while b"> " not in shown:  # readline reads the keys from here on
        shown += os.read(terminal, 1000)
    for start in range(0, len(typed), 500):
        os.write(terminal, typed[start : start + 500])
        shown += os.read(terminal, 100_000)
    with suppress(OSError):  # a terminal that nobody holds any more
        while os.read(terminal, 100_000):
            pass
    os.waitpid(child, 0)
    assert (tmp_path / "asked").read_text() == "word " * 1600 + "end" + "xab"
