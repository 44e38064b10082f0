"""What a page must be whatever it shows: well nested, with every id once, and without an address outside of itself."""

from html.parser import HTMLParser

_EMPTY = {"meta", "img", "br", "link", "input"}


class Page(HTMLParser):
    """Feeds the text; errors: AssertionError at the first element that is closed out of order or never."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.attributes = []
        self._open = []
        self.feed(text)
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in _EMPTY:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def values(self, *names):
        """The attribute's values, in the page's order."""
        return [value or "" for name, value in self.attributes if name in names]


def check_page(text):
    """Errors: AssertionError."""
    page = Page(text)
    ids, targets = page.values("id"), page.values("src", "href")
    assert len(set(ids)) == len(ids)
    assert [one for one in page.values("aria-labelledby") if one not in ids] == []
    for target in targets:
        assert target.startswith("data:image/svg+xml;base64,") or target.removeprefix("#") in ids, target[:80]
    assert "script" not in page.tags and "default-src 'none'" in text
    return page
