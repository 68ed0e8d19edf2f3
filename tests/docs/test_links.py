"""No page has a relative link that leads nowhere, as a code host shows it. (Sphinx checks the links of the site.)"""

import re

import pytest
from code_blocks import PAGES, ROOT

EVERY = [*sorted(ROOT.glob("*.md")), *PAGES, *sorted((ROOT / "bench").rglob("*.md"))]


@pytest.mark.parametrize("page", EVERY, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page):
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    broken = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert broken == []
