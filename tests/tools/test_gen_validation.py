"""The page about validation says what its tables say."""

import gen_validation


def test_the_page_is_what_the_sources_say() -> None:
    page = gen_validation.PAGE.read_text(encoding="utf-8")
    for part in gen_validation.PARTS.values():
        assert part() in page, "run: python tools/gen_validation.py"
