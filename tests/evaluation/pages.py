"""Reads the pages of `--report`, and checks what holds of each."""

import re
from html.parser import HTMLParser

NAMESPACES = ("http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink")


class Page(HTMLParser):
    """What is on a page, whose tags are checked to be balanced."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes = [], [], []
        self.lines, self.titles, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)
        if tag == "tr":
            self.lines.append([])
        elif tag in ("td", "th"):
            self.lines[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.lines[-1][-1] += data
        elif self.open and self.open[-1] in ("h1", "h2"):
            self.titles.append(data)
        elif data.strip():
            self.texts.append(data)


def parsed(path="out.html"):
    """The page, checked to need nothing else and to have colours of the style sheet alone."""
    with open(path, encoding="utf-8") as file:
        text = file.read()
    page = Page(text)
    for name, value in page.attributes:
        assert "//" not in (value or "") or (name.startswith("xmlns") and value in NAMESPACES), (name, value)
        assert name not in ("src", "srcset") and not name.startswith("on")
        assert name not in ("href", "xlink:href") or value.startswith("#")
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    assert "@import" not in text and not re.search(r"url\((?!#)", text)
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', text)) <= set(ids)
    body = text[text.index("<body>") :]
    assert not re.search(r"#[0-9a-fA-F]{6}\b", body)
    svg = re.findall(r"<svg .*?>", body)
    assert len(svg) == page.tags.count("figcaption") and all('role="img" aria-label="' in tag for tag in svg)
    return page


def line(page, name):
    """The cells behind the first cell of this text."""
    [found] = [cells[1:] for cells in page.lines if cells[0] == name]
    return found
