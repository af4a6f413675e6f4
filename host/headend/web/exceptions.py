"""What wants a person, over the whole fleet: of each kind its meters, found by an index, judged as the board does.

A kind is a concern of the board (`words.CONCERNS`), the worst first. `CANDIDATES` says which meters may have it; what
they really have, `board.concerns_of` says. So the board's page and this list cannot disagree.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Select,
    bindparam,
    or_,
    select,
)

from headend.access.areas import EVERYWHERE, within
from headend.orders import facts, lifecycle
from headend.store.schema import finding, meter, meter_state, order, payment, token
from headend.store.schema_readings import meter_reads
from headend.tokens import book
from headend.web import board
from headend.web.board import Concern
from headend.web.words import CONCERNS
from meterlink import states

MAX_LIMIT = 200
SCANNED = 2_000  # candidates that are judged for one page at most

_NOW = bindparam("now", type_=BigInteger)
_AFTER = bindparam("after", type_=BigInteger)
_LIMIT: BindParameter[int] = bindparam("at_most", type_=Integer)


def _where(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Meters by their own state."""
    return select(meter_state.c.meter.label("meter")).where(*conditions, meter_state.c.meter > _AFTER)


def _orders(*conditions: ColumnElement[bool]) -> Select[Any]:
    return select(order.c.meter.label("meter")).where(*conditions, order.c.meter > _AFTER).distinct()


_OPEN = meter_state.c.contact == states.CONTACT_OPEN
_CLOSED = meter_state.c.contact == states.CONTACT_CLOSED
_STORAGE = 1 << states.ALARM_STORAGE | 1 << states.ALARM_HISTORY_LOST
_PAID = or_(meter_state.c.sold_uc > meter_state.c.on_meter_uc, meter_state.c.balance_uc > 0)

# Kind -> the meters that may have it.
CANDIDATES: Mapping[str, Select[Any]] = {
    "drawing": _where(_OPEN),
    "not_open": _where(_CLOSED, meter_state.c.control != states.CONTROL_CONNECTED),
    "paid_off": _where(_OPEN, _PAID),
    "unknown": _orders(order.c.state == lifecycle.UNKNOWN),
    "conflict": _orders(
        order.c.state == lifecycle.FAILED,
    ),
    "difference": select(finding.c.meter.label("meter"))
    .where(finding.c.settled_s.is_(None), finding.c.meter > _AFTER)
    .distinct(),
    "late_credit": select(payment.c.meter.label("meter"))
    .where(payment.c.on_meter_s.is_(None), payment.c.source > 0)
    .where(payment.c.taken_s < _NOW - board.LATE_CREDIT_S, payment.c.meter > _AFTER)
    .distinct(),
    "token_waits": select(token.c.meter.label("meter"))
    .where(token.c.state == book.RESERVED, token.c.meter > _AFTER)
    .distinct(),
    "unsigned": _orders(order.c.state == lifecycle.QUEUED, order.c.signed.is_(None)),
    "not_closed": _where(_OPEN),
    "not_done": _orders(order.c.state == lifecycle.ACCEPTED),
    "finding": select(finding.c.meter.label("meter"))
    .where(finding.c.settled_s.is_(None), finding.c.meter > _AFTER)
    .distinct(),
    "storage": _where(meter_state.c.alarms > 0, meter_state.c.alarms.op("&")(_STORAGE) > 0),
    "never": _where(meter_state.c.report_taken_s.is_(None)),
    "silent": _where(meter_state.c.report_taken_s < _NOW - bindparam("silent_s", type_=BigInteger)),
    "reads_behind": select(meter_reads.c.meter.label("meter"))
    .where(meter_reads.c.interval_newest - meter_reads.c.interval_whole_to > board.GAP_RECORDS)
    .where(meter_reads.c.meter > _AFTER),
}


@dataclass(frozen=True)
class Found:
    """One exception: whose, which, and since when it may be looked at."""

    meter: Any  # the row of `meter`
    concern: Concern


@dataclass(frozen=True)
class Page:
    """`found` by rising meter number; `next_after` continues the list, None at its end."""

    found: tuple[Found, ...]
    next_after: int | None


def of_kind(
    conn: Connection,
    now_s: int,
    kind: str,
    report_every_s: int,
    *,
    areas: Sequence[str] = (EVERYWHERE,),
    after: int = 0,
    limit: int = 50,
) -> Page:
    """Up to `limit` (1..200) exceptions of a kind, of meters above `after` in these areas and what lies in them."""
    found: list[Found] = []
    scanned = 0
    while len(found) < limit:
        numbers = _candidates(conn, now_s, kind, report_every_s, areas, after)
        for one in facts.of_meters(conn, numbers):
            after = one.number
            concerns = board.concerns_of(conn, now_s, report_every_s, one)
            found += [Found(one.meter, concern) for concern in concerns if concern.code == kind]
            if len(found) >= limit:
                break
        scanned += len(numbers)
        if len(numbers) < MAX_LIMIT and len(found) < limit:
            return Page(tuple(found), None)
        if scanned >= SCANNED:
            break
    return Page(tuple(found), after)


def _candidates(
    conn: Connection, now_s: int, kind: str, report_every_s: int, areas: Sequence[str], after: int
) -> list[int]:
    chosen = CANDIDATES[kind].subquery()
    query = select(chosen.c.meter).order_by(chosen.c.meter).limit(_LIMIT)
    if EVERYWHERE not in areas:
        query = query.join(meter, meter.c.meter == chosen.c.meter).where(within(meter.c.area, areas))
    values = {"after": after, "at_most": MAX_LIMIT, "now": now_s, "silent_s": board.FRESH_ROUNDS * report_every_s}
    return list(conn.execute(query, values).scalars())


def kinds() -> Iterator[str]:
    """Those that this lists, the worst first."""
    return (code for code in CONCERNS if code in CANDIDATES)
