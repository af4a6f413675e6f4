"""The life of a meter as a table (state, event) -> state; code, documentation and tests all read it.

A meter that came before places were told lives `in_stock` until somebody says where it stands; it works all the same,
and so it can be exchanged or removed from there too.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.fleet import words
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_fleet import meter_life, meter_life_event

IN_STOCK = "in_stock"
COMMISSIONED = "commissioned"
REMOVED = "removed"
RETIRED = "retired"

# State -> what it means.
STATES = {
    IN_STOCK: "in the fleet, and nobody said where it stands",
    COMMISSIONED: "stands at a supply point, or measures a part of the grid",
    REMOVED: "was taken from its place, its account is closed; it may be commissioned again, with a new account",
    RETIRED: "comes back nowhere",
}

# Event -> what happened.
EVENTS = {
    "commission": "put in its place, with its registers read there",
    "relocate": "moved to another place, with its account",
    "exchange_in": "put in the place of another meter, whose account goes on here",
    "exchange_out": "another meter took its place and its account; this one's is closed",
    "remove": "taken away, and its account closed",
    "retire": "taken out of the fleet for good",
}

TABLE = {
    (IN_STOCK, "commission"): COMMISSIONED,
    (IN_STOCK, "exchange_in"): COMMISSIONED,
    (IN_STOCK, "exchange_out"): REMOVED,
    (IN_STOCK, "remove"): REMOVED,
    (IN_STOCK, "retire"): RETIRED,
    (COMMISSIONED, "relocate"): COMMISSIONED,
    (COMMISSIONED, "exchange_out"): REMOVED,
    (COMMISSIONED, "remove"): REMOVED,
    (REMOVED, "commission"): COMMISSIONED,
    (REMOVED, "exchange_in"): COMMISSIONED,
    (REMOVED, "retire"): RETIRED,
}

_AT = prepared(select(meter_life).where(meter_life.c.meter == bindparam("of")))
_MOVE = prepared(update(meter_life).where(meter_life.c.meter == bindparam("of")))
_RECORD = prepared(insert(meter_life_event))
_HISTORY = select(meter_life_event).where(meter_life_event.c.meter == bindparam("of")).order_by(meter_life_event.c.id)


def at(conn: Connection, meter: int) -> Row[Any]:
    """The `meter_life` row of a meter of the fleet."""
    row: Row[Any] = _AT(conn, {"of": meter}).one()
    return row


def move(conn: Connection, now_s: int, meter: int, event: str, actor: str, note: str = "") -> str:
    """Carry out an event on a meter, whose row is locked, and return its new state. Raises Refused."""
    before = at(conn, meter).state
    state = TABLE.get((before, event))
    if state is None:
        known = ", ".join(event for at, event in TABLE if at == before) or "nothing: its life is over"
        raise Refused(f"event of a meter that is {before}", event, known)
    _MOVE(conn, {"of": meter, "state": state, "changed_s": now_s})
    row = {"meter": meter, "at_s": now_s, "actor": actor, "event": event, "state": state, "note": note[:200]}
    _RECORD(conn, row)
    audit.record(conn, now_s, actor, "meter.life", f"meter:{meter}", {"event": event, "state": state, "note": note})
    return state


def history(conn: Connection, meter: int) -> list[Row[Any]]:
    """What happened to a meter, oldest first."""
    return list(conn.execute(_HISTORY, {"of": meter}).all())


def markdown() -> str:
    """The life for people: a diagram (Mermaid), and what states and events mean."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {IN_STOCK}"]
    lines += [f"    {state} --> {end}: {event}" for (state, event), end in TABLE.items()]
    lines += [f"    {RETIRED} --> [*]", "```", "", "| state | 中文 | meaning |", "|---|---|---|"]
    lines += [f"| `{state}` | {words.STATES[state][1]} | {meaning} |" for state, meaning in STATES.items()]
    lines += ["", "| event | 中文 | what happened |", "|---|---|---|"]
    lines += [f"| `{event}` | {words.EVENTS[event][1]} | {what} |" for event, what in EVENTS.items()]
    return "\n".join(lines) + "\n"
