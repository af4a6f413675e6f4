"""The freeze: one person stops everything that may open a relay, two lift it. What gives supply passes all the while.

It holds from the COMMIT of `set` on: whoever sends such an order holds the gate while it looks, and so does `set`.
"""

from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update

from headend import audit
from headend.gate import budget, words  # noqa: F401 - the words of the audit
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_gate import freeze

MAX_WHY = 200

_STANDING = prepared(select(freeze).where(freeze.c.standing == 1))
_SET = insert(freeze).returning(freeze.c.id)
_LIFT = update(freeze).where(freeze.c.id == bindparam("of"), freeze.c.standing == 1)


def standing(conn: Connection) -> Any | None:
    """The row of the freeze that stands, or None."""
    return _STANDING(conn).one_or_none()


def set(conn: Connection, now_s: int, actor: str, why: str) -> int:  # noqa: A001 - the word of the trade
    """Freeze; returns the freeze's id. Where one stands already, that one's: nothing changes."""
    if not (why.isprintable() and 0 < len(why) <= MAX_WHY):
        raise Refused("why", why, f"1..{MAX_WHY} printable characters")
    budget.lock(conn)
    known = standing(conn)
    if known is not None:
        return int(known.id)
    made = int(conn.execute(_SET, {"set_s": now_s, "set_by": actor, "why": why, "standing": 1}).scalar_one())
    audit.record(conn, now_s, actor, "freeze.set", f"freeze:{made}", {"why": why})
    return made


def lift(conn: Connection, now_s: int, actor: str, why: str = "") -> bool:
    """Lift what stands: the first person's call proposes it, another person's carries it out; True when it is lifted.

    Raises Refused where nothing stands, or the second person is the first.
    """
    from headend.gate.proposals import approve, open_of, propose  # which carry a lift out by `carry_out`

    row = standing(conn)
    if row is None:
        raise Refused("freeze", None, "one that stands")
    waiting = open_of(conn, now_s, "lift_freeze")
    if waiting is None:
        propose(conn, now_s, "lift_freeze", {"freeze": row.id}, actor, why)
        return False
    approve(conn, now_s, waiting.id, waiting.digest, actor)
    return True


def carry_out(conn: Connection, now_s: int, payload: dict[str, Any], author: str, approver: str) -> None:
    """Lift the freeze of an approved proposal."""
    lifted = {"of": payload["freeze"], "standing": None, "lifted_s": now_s, "lifted_by": f"{author}, {approver}"}
    if not conn.execute(_LIFT, lifted).rowcount:
        raise Refused("freeze", payload["freeze"], "the one that stands")
    audit.record(conn, now_s, approver, "freeze.lifted", f"freeze:{payload['freeze']}", {"with": author})
