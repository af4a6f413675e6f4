"""What the page of typed tokens says stands in the sources."""

import re

from headend.tokens import book, usage
from headend.web.words import CONCERNS, FINDINGS
from tests.host.books import ROOT

PAGE = (ROOT / "docs" / "tokens.md").read_text(encoding="utf-8")


def test_the_page_has_every_state_with_its_meaning() -> None:
    chapter = PAGE.partition("## States")[2].partition("\n## ")[0]
    listed = re.findall(r"^\| `(\w+)` \| [^|]+ \| ([^|]+) \|$", chapter, re.MULTILINE)
    assert dict(listed) == book.STATES


def test_the_page_names_what_the_board_shows() -> None:
    shown = (CONCERNS["token_waits"][0], *(FINDINGS[kind] for kind in usage.KINDS))
    assert all(text in PAGE for texts in shown for text in texts)
