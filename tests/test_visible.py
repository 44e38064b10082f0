"""Control characters are shown and never sent, in the terminal, on the page, in Markdown and in error lines."""

from __future__ import annotations

import io
import sys

import pytest
from rich.table import Table as RichTable

from cada_trl.chat import Shown
from cada_trl.console import Console
from cada_trl.document import blocks
from cada_trl.document.render import html, markdown, show
from cada_trl.errors import UserError, run_verb
from cada_trl.visible import visible

CONTROLS = ["\x00", "\x07", "\x08", "\x1b[2J", "\x1b]0;t\x07", "\x7f", "\x9b31m", "\r", "\u202e", "\u2066", "\ud800"]


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_a_control_character_is_an_escape_in_the_text(control: str) -> None:
    shown = visible(f"a{control}b")
    assert control[0] not in shown and shown.startswith("a\\") and shown.encode()


def test_other_text_stays_as_it_is() -> None:
    text = "Tab\tand lines\nof Windows\r\n, café 漢字 👩\u200d🔬 \\x1b"
    assert visible(text) == text


def written(control: str) -> str:
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
def test_no_control_character_reaches_a_terminal(control: str) -> None:
    styles = ("\x1b[1m", "\x1b[0m")  # rich's own
    assert control[0] not in written(control).replace(styles[0], "").replace(styles[1], "")


@pytest.mark.parametrize("control", CONTROLS, ids=ascii)
def test_no_control_character_reaches_a_page(control: str) -> None:
    text = f"a{control}b"
    side = blocks.Side(text, text, texts=[(text, text)], note=text)
    parts: list[blocks.Block] = [
        blocks.Text(text),
        blocks.Facts({text: text}),
        blocks.Code(text),
        blocks.Exchange(text, [side], [text]),
    ]
    parts += [blocks.Table(text, [text], [[text]]), blocks.Bullets([text])]
    document = blocks.Document(text, [blocks.Section(text, parts)])
    for page in (html(document, text), markdown(document)):
        assert control[0] not in page and page.encode()


def test_no_control_character_reaches_the_line_of_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def verb(argv: list[str]) -> int:
        raise UserError("no run \x1b[2J\ud800")

    monkeypatch.setattr(sys, "argv", ["verb"])
    with pytest.raises(SystemExit):
        run_verb(verb)
    assert capsys.readouterr().err == "error: no run \\x1b[2J\\ud800\n"


def test_a_streamed_answer_is_shown_with_its_escapes(capsys: pytest.CaptureFixture[str]) -> None:
    from cada_trl.chat import _to_stdout

    shown = Shown(_to_stdout, analysis=True)
    shown.add("Hello \x1b[31mthere")
    shown.end(cut_tok=None)
    assert capsys.readouterr().out == "Hello \\x1b[31mthere\n"
