"""docs/fleet.md is what the tables of the fleet say, and each of their words is there in both languages."""

import gen_fleet
from headend.fleet import columns, lifecycle, swaps, words


def test_the_page_is_what_the_tables_say() -> None:
    page = gen_fleet.PAGE.read_text(encoding="utf-8")
    for part in gen_fleet.PARTS.values():
        assert part() in page, "run: python tools/gen_fleet.py"


def test_every_state_event_column_and_reason_is_told() -> None:
    page = gen_fleet.PAGE.read_text(encoding="utf-8")
    assert words.STATES.keys() == lifecycle.STATES.keys() and lifecycle.EVENTS.keys() < words.EVENTS.keys()
    assert words.REASONS.keys() == swaps.MOST.keys()
    for table in (words.STATES, words.REASONS):
        assert all(text[1] in page for text in table.values())
    assert all(f"| `{column.name}` |" in page for file in columns.FILES.values() for column in file)
