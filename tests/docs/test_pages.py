"""Every code block of docs/ runs as printed, page by page, in an empty folder, and prints what the page says."""

import re
from unittest import SkipTest

import pytest
from code_blocks import COUNTS, PAGES, ROOT, RUN, blocks


def names(page):
    return str(page.relative_to(ROOT / "docs"))


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_page(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for block in blocks(page):
        try:
            block.evaluate()
        except SkipTest as reason:
            COUNTS[f"not run: {reason}"] += 1


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_languages(page):
    """Blocks of other languages would not run: `bash`, or `text` for an output, which is `console` with its command.

    Names in braces are directives of Sphinx.
    """
    opened = re.findall(r"^ *```+(.*)\n(?:.*\n)*? *```+$", page.read_text(), re.MULTILINE)
    assert [name for name in opened if name not in ("", *RUN) and not name.startswith("{")] == []


def block_of(kind, text, folder):
    """That of a page with but one, of the language that is the first word of `kind`."""
    page = folder / "page.md"
    page.write_text(f"```{kind.split(',')[0]}\n{text}\n```\n")
    [block] = blocks(page)
    return block


WRONG = {
    "python": "x = 1\nprint(x)  # 2",
    "python, with an output that is not said": "print(1)  # 1\nprint(2)",
    "python, a doctest": ">>> 1 + 1\n3",
    "python, an exception": "1 / 0",
    "sh": "crossent eval nothing.npy",
    "sh, pip": "pip --version",
    "console": "$ python -c 'print(1)'\n2",
    "console, with more output than is said": "$ python -c 'print(1)'",
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_wrong_fails(kind, tmp_path):
    block = block_of(kind, WRONG[kind], tmp_path)
    with pytest.raises((AssertionError, ZeroDivisionError)):
        block.evaluate()


RIGHT = {
    "python": "x = 1\nprint(x)  # 1",
    "python, a doctest": ">>> 1 + 1\n2",
    "sh": "crossent --version",
    "console": "$ python -c 'print(1)'\n1\n$ python -c 'print(2)'\n2",
}


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_right_passes(kind, tmp_path):
    block_of(kind, RIGHT[kind], tmp_path).evaluate()
