"""The page of campaigns says what the tables say."""

import gen_campaigns


def test_the_page_is_what_the_sources_say() -> None:
    page = gen_campaigns.PAGE.read_text(encoding="utf-8")
    for part in gen_campaigns.PARTS.values():
        assert part() in page, "run: python tools/gen_campaigns.py"
