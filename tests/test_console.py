"""What a reader gets: no control character, anywhere, and how far a pass is."""

import io
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table as RichTable

from cada_trl import console as progress
from cada_trl.chat import Shown, _to_stdout
from cada_trl.console import Console, shown, table_console, time_left
from cada_trl.document import blocks
from cada_trl.document.render import html, markdown, show
from cada_trl.errors import UserError, run_verb
from cada_trl.visible import visible

CONTROLS = ["\x00", "\x07", "\x08", "\x1b[2J", "\x1b]0;t\x07", "\x7f", "\x9b31m", "\r", "\u202e", "\u2066", "\ud800"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_is_an_escape_in_the_text(control):
    text = visible(f"a{control}b")
    assert control[0] not in text and text.startswith("a\\") and text.encode()


def test_other_text_stays_as_it_is():
    text = "Tab\tand lines\nof Windows\r\n, café 漢字 👩\u200d🔬 \\x1b"
    assert visible(text) == text


def written(control):
    """What a terminal gets of a text, a table with names, and a page's blocks."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system=None, width=200)
    text = f"a{control}b"
    console.print(text, markup=False, highlight=False)
    table = RichTable(text, title=text)
    table.add_row(text)
    console.print(table)
    document = blocks.Document(text, [blocks.Section(text, [blocks.Text(text), blocks.Table(text, [text], [[text]])])])
    show(document, console)
    return out.getvalue()


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_character_reaches_a_terminal(control):
    styles = ("\x1b[1m", "\x1b[0m")  # rich's own
    assert control[0] not in written(control).replace(styles[0], "").replace(styles[1], "")


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_character_reaches_a_page(control):
    text = f"a{control}b"
    side = blocks.Side(text, text, texts=[(text, text)], note=text)
    parts = [blocks.Text(text), blocks.Facts({text: text}), blocks.Code(text), blocks.Exchange(text, [side], [text])]
    parts += [blocks.Table(text, [text], [[text]]), blocks.Bullets([text])]
    document = blocks.Document(text, [blocks.Section(text, parts)])
    for page in (html(document, text), markdown(document)):
        assert control[0] not in page and page.encode()


def test_no_control_character_reaches_the_line_of_an_error(monkeypatch, capsys):
    def verb(argv):
        raise UserError("no run \x1b[2J\ud800")

    monkeypatch.setattr(sys, "argv", ["verb"])
    with pytest.raises(SystemExit):
        run_verb(verb)
    assert capsys.readouterr().err == "error: no run \\x1b[2J\\ud800\n"


def ended(verb, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["verb"])
    with pytest.raises(SystemExit) as stop:
        run_verb(verb)
    return stop.value.code


def test_a_folder_of_another_user_and_a_name_that_is_too_long_are_one_line(monkeypatch, capsys, tmp_path):
    assert ended(lambda argv: (tmp_path / ("x" * 300)).is_dir() or Path("x" * 300).read_text(), monkeypatch) == 2
    assert capsys.readouterr().err.endswith(f"{'x' * 300}: File name too long\n")

    def locked(argv):
        raise PermissionError(13, "Permission denied", "/priv/run")

    assert ended(locked, monkeypatch) == 2
    assert capsys.readouterr().err == "error: cannot use /priv/run: Permission denied\n"


def test_another_error_of_the_system_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["verb"])
    with pytest.raises(ConnectionRefusedError):
        run_verb(lambda argv: (_ for _ in ()).throw(ConnectionRefusedError(111, "Connection refused")))


@pytest.mark.parametrize(
    ("shell", "code", "said"),
    [
        ("{} >&-", 0, ""),
        ("{} >/dev/full", 2, "error: cannot write: No space left on device\n"),
        ("PYTHONIOENCODING=latin-1 {} >&2", 0, "caf\xe9 \\u2192\n"),
    ],
)
def test_a_closed_a_full_and_a_latin_1_standard_output_have_no_traceback(shell, code, said):
    verb = "import sys; from cada_trl.errors import run_verb; run_verb(lambda argv: print(sys.argv[1]) or 0)"
    command = shell.format(f"{shlex.quote(sys.executable)} -c {shlex.quote(verb)} 'caf\xe9 \u2192'")
    done = subprocess.run(command, shell=True, check=False, capture_output=True)
    assert (done.returncode, done.stderr.decode("latin-1")) == (code, said)


def test_a_streamed_answer_is_shown_with_its_escapes(capsys):
    answer = Shown(_to_stdout, analysis=True)
    answer.add("Hello \x1b[31mthere")
    answer.end(cut_tok=None)
    assert capsys.readouterr().out == "Hello \\x1b[31mthere\n"


def printed(terminal, done, n_total):
    console = Console(file=(out := io.StringIO()), force_terminal=terminal, width=80)
    assert list(shown(done, n_total, "responses", console)) == ["a", "b", "c", "d"]
    return out.getvalue()


def test_outside_a_terminal_there_is_a_line_every_ten_seconds_and_at_the_end(monkeypatch):
    now = iter([0.0, 4.0, 10.0, 15.0, 16.0])  # the start, then each response
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    assert printed(False, iter("abcd"), 4) == "responses 2/4  ETA 0:10\nresponses 4/4  ETA 0:00\n"


def test_in_a_terminal_there_is_a_bar():
    text = printed(True, iter("abcd"), 4)
    assert "responses" in text and "4/4" in text and "ETA 0:00" in text


@pytest.mark.parametrize(("columns", "width"), [("40", 80), ("120", 120)])
def test_a_table_is_never_narrower_than_what_its_numbers_need(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert table_console().width == width


def test_early_rows_give_no_estimate():
    assert time_left(30.0, 1, 3240) == "ETA n/a"  # at its pace: 27 hours
    assert time_left(408.0, 9, 174) == "ETA n/a"  # at their pace two hours; the other 165 end together soon after
    assert time_left(648.0, 648, 3240) == "ETA 43:12"  # a row per second
    assert time_left(5.0, 4, 4) == "ETA 0:00"


def test_the_line_after_a_slow_first_row_has_no_estimate(monkeypatch):
    now = iter([0.0, 30.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(now))
    next(shown(iter("a"), 21, "responses", Console(file=(out := io.StringIO()), width=80)))
    assert out.getvalue() == "responses 1/21  ETA n/a\n"
