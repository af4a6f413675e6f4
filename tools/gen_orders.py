"""Writes the generated parts of docs/orders.md from the tables of orders and of the gate: ``gen_orders.py [--check]``.

A generated part stands between ``<!-- generated: NAME -->`` and ``<!-- end -->``. With --check nothing is written; exit
code 1 tells that the page is not what the sources say.
"""

import sys
from pathlib import Path

from gen_protocol import fill, table
from headend.gate import policy, words
from headend.gate.policy import LIMITED, SCOPES, WINDOWS, Policy
from headend.orders import lifecycle_text

PAGE = Path(__file__).resolve().parent.parent / "docs" / "orders.md"


def budgets() -> str:
    """What stands until somebody sets another policy."""
    rules = Policy()
    rows: list[tuple[object, ...]] = []
    for kind in LIMITED:
        shares = [rules.share(kind, SCOPES[0], window) for window in WINDOWS]
        assert all(rules.share(kind, scope, w) == s for scope in SCOPES for w, s in zip(WINDOWS, shares, strict=True))
        rows.append((f"`{kind}`", *(_share(share) for share in shares)))
    return table(("class", *(f"in {words.WINDOWS[window][0]}" for window in WINDOWS)), rows)


def _share(share: policy.Share) -> str:
    return f"{share.per_100k} of 100 000 meters, at least {share.least}, at most {share.most}"


def rules_of_gate() -> str:
    """Why an order is not sent, by rule."""
    rows: list[tuple[object, ...]] = [(f"`{rule}`", *text) for rule, text in words.NO.items()]
    return table(("rule", "sentence", "中文"), rows)


def states_of_proposals() -> str:
    """How a proposal stands."""
    return table(("state", "", "中文"), [(f"`{state}`", *text) for state, text in words.PROPOSAL_STATES.items()])


PARTS = {
    "lifecycles": lifecycle_text.markdown,
    "budgets": budgets,
    "rules": rules_of_gate,
    "proposals": states_of_proposals,
}


if __name__ == "__main__":
    sys.exit(fill(PAGE, PARTS, sys.argv[1:]))
