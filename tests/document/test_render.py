"""Everything that a document holds is escaped, nested and reachable, and loads nothing, wherever it is shown."""

import io

import pytest
from rich.console import Console

from cada_trl.document.blocks import (
    Bullets,
    Choices,
    Code,
    Document,
    Exchange,
    Facts,
    Figures,
    Fold,
    Heading,
    PageOnly,
    Section,
    Side,
    Table,
    Text,
)
from cada_trl.document.render import bullets, heading, html, markdown, show, table
from cada_trl.numbers import Cell
from tests.report.html_check import check_page

EVIL = '<img src=x onerror="alert(1)"></details><script>alert(2)</script>'
TABLE = Table(
    EVIL,
    ["Group", "Name", "Rate"],
    [[Cell("g", "2 of 3"), "a", Cell("1 %", "n 9")], [Cell("g", "2 of 3"), "b", "7"]],
    True,
)
BLOCKS = [
    Heading(EVIL),
    Text(EVIL),
    Text(EVIL, "warning"),
    Bullets([EVIL]),
    Bullets([EVIL], EVIL),
    Bullets([]),
    Facts({EVIL: EVIL}),
    Table(EVIL, [EVIL, EVIL], [[EVIL, Cell(EVIL, EVIL)]]),
    TABLE,
    Figures([(EVIL, b"<svg/>")], "a.png", EVIL),
    Code(EVIL),
    Fold(EVIL, [Text(EVIL), Fold(EVIL, [TABLE])], [Text("in brief")]),
    PageOnly([Text("a secret")]),
    Exchange(EVIL, [Side(EVIL, EVIL, True, EVIL, [(EVIL, EVIL)], EVIL)], [EVIL], EVIL),
    Exchange(EVIL, [Side("alone")]),
    Choices("Completions", {"v": {"REFUSED": EVIL}}, [EVIL, EVIL], [(["v-REFUSED"], [EVIL, EVIL])]),
]


@pytest.fixture(scope="module")
def page():
    return html(Document(EVIL, [Section(EVIL, BLOCKS, "one"), Section("Two", [Text("x")], "two")]), EVIL)


def test_nothing_that_is_shown_can_be_markup(page):
    check_page(page)
    assert "<img src=x" not in page and "&lt;img src=x onerror=" in page


def test_a_group_is_named_once_above_its_rows(page):
    named = '<tr class="set"><th colspan="2" scope="colgroup">g <span class="detail">2 of 3</span></th></tr>'
    assert page.count(named) == 2  # the table stands twice
    assert '<td data-label="Rate">1 % <span class="detail">n 9</span></td>' in page
    assert '<td data-label="Rate" class="number">7</td>' in page


def test_markdown_holds_the_same_but_for_what_is_folded_or_quoted():
    text = markdown(Document("Title", [Section("One", BLOCKS), Section("Quotes", [PageOnly([Text("x")])])]))
    assert "<" not in text.replace("&lt;", "") and "![" in text and "- nothing" in text
    assert "| g (2 of 3) | a | 1 % (n 9) |\n| g | b | 7 |" in text
    assert "in brief" in text and "a secret" not in text and "Quotes" not in text


def test_a_cell_can_break_neither_the_table_nor_the_page_and_a_title_is_one_line():
    assert table(["a", "b"], [["x|y", "<b>\nz"]]) == "| a | b |\n| --- | --- |\n| x\\|y | &lt;b> z |"
    assert heading(2, "a\nb <i>") == "## a b &lt;i>"
    assert bullets([]) == "- nothing"


def test_titles_sentences_and_tables_are_printed_and_none_of_them_is_rich_markup():
    rates = Table("t", ["name", "rate [95 %]"], [["[red]a", Cell("1 %", "n 9")]])
    file = io.StringIO()
    path = "one/folder/" * 9
    document = Document("Title [b]", [Section("One [1]", [Text("[bold]x"), Bullets([f"y [/] {path}"]), rates])])
    show(document, Console(file=file, width=80))
    for part in ("Title [b]", "One [1]", "[bold]x", f"- y [/] {path}\n", "rate [95 %]", "[red]a", "1 % (n 9)"):
        assert part in file.getvalue()


def test_a_narrow_terminal_folds_words_and_cuts_none():
    file = io.StringIO()
    rates = Table("t", ["intervention", "difference"], [["refuse_analysis", "-51.2"]])
    show(Document("d", [Section("s", [rates])]), Console(file=file, width=16))
    lines = file.getvalue().splitlines()
    text = "".join("".join(line[start : start + 8].strip() for line in lines) for start in (0, 8))
    assert "…" not in text and all(word in text for word in ("intervention", "difference", "refuse_analysis", "-51.2"))
