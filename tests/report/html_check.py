"""What a page must be whatever it shows: well nested, with every id once, and without an address outside of itself."""

from __future__ import annotations

from html.parser import HTMLParser

_EMPTY = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Feeds the text; errors: AssertionError at the first element that is closed out of order or never."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def values(self, *names: str) -> list[str]:
        """The attribute's values, in the page's order."""
        return [value or "" for name, value in self.attributes if name in names]


def check_page(text: str) -> Page:
    """Errors: AssertionError."""
    page = Page(text)
    ids, targets = page.values("id"), page.values("src", "href")
    assert len(set(ids)) == len(ids)
    assert [one for one in page.values("aria-labelledby") if one not in ids] == []
    for target in targets:
        assert target.startswith("data:image/svg+xml;base64,") or target.removeprefix("#") in ids, target[:80]
    assert "script" not in page.tags and "default-src 'none'" in text
    return page
