"""docs/orders.md is what the tables of orders and of the gate say."""

import gen_orders
from headend.gate import words
from headend.orders import lifecycle


def test_the_page_is_what_the_tables_say() -> None:
    page = gen_orders.PAGE.read_text(encoding="utf-8")
    for part in gen_orders.PARTS.values():
        assert part() in page, "run: python tools/gen_orders.py"


def test_every_state_event_and_rule_is_told_in_both_languages() -> None:
    page = gen_orders.PAGE.read_text(encoding="utf-8")
    for state in lifecycle.STATES:
        assert f"| `{state}`" in page
    for texts in (words.NO, words.PROPOSAL_STATES):
        assert all(text in page for pair in texts.values() for text in pair)
