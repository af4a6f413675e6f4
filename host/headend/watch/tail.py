"""Follows what was committed since the last look: how long orders took to each state, and payments to power.

By the database alone, so it counts what any process of the head end did. A row that commits long after one with a
higher number may be missed: these are figures for a monitor, the books are elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, func, select

from headend.ledger import entries
from headend.orders.stored import stored_report
from headend.store.schema import entry, meter_state, order, order_history
from meterlink import names, states

BATCH = 5_000
FOLLOWED = 10_000  # payments at a time whose meter was off
GIVE_UP_S = 86_400

_NEWEST = select(
    select(func.coalesce(func.max(order_history.c.id), 0)).scalar_subquery(),
    select(func.coalesce(func.max(entry.c.id), 0)).scalar_subquery(),
)
_MOVES = (
    select(order_history.c.id, order_history.c.state, order_history.c.at_s, order.c.issued_s, order.c.aspect)
    .join(order, order.c.id == order_history.c.order_id)
    .where(order_history.c.id > bindparam("after"), order_history.c.event.in_(bindparam("moves", expanding=True)))
    .order_by(order_history.c.id)
    .limit(BATCH)
)
_PAYMENTS = (
    select(entry.c.id, entry.c.meter, entry.c.at_s, meter_state.c.report)
    .join(meter_state, meter_state.c.meter == entry.c.meter)
    .where(entry.c.id > bindparam("after"), entry.c.kind == entries.PAYMENT)
    .order_by(entry.c.id)
    .limit(BATCH)
)
_REPORTS = select(meter_state.c.meter, meter_state.c.report, meter_state.c.report_taken_s).where(
    meter_state.c.meter.in_(bindparam("of", expanding=True))
)
# Events that bring an order to a state; remarks in its history are no moves.
_EVENTS = (
    "create", "submit", "approve", "queue", "cancel", "send", "lose", "accept", "refuse", "confirm", "expire",
    "supersede", "fail", "write_off", "settle",
)  # fmt: skip

Observe = Callable[[str, str, int], None]
"""observe(aspect, state, seconds since the order was stated)."""


@dataclass(frozen=True)
class _Waits:
    meter: int
    paid_s: int


class Tail:
    """Where the last look ended. `look` is called with a reading connection, by one thread at a time."""

    def __init__(self) -> None:
        self._moves_after = self._entries_after = -1
        self._waiting: dict[int, _Waits] = {}
        self.overdue = 0  # payments that did not bring power within a day

    @property
    def waiting(self) -> int:
        """Payments for meters that were off, and have not shown power since."""
        return len(self._waiting)

    def look(self, conn: Connection, now_s: int, moved: Observe, powered: Callable[[int], None]) -> None:
        """Tell `moved` of each order that came to a state, and `powered` how many seconds a payment took to power.

        The first look only notes where the present ends.
        """
        if self._moves_after < 0:
            self._moves_after, self._entries_after = conn.execute(_NEWEST).one()
            return
        for row in conn.execute(_MOVES, {"after": self._moves_after, "moves": _EVENTS}):
            self._moves_after = row.id
            moved(names.of(names.ASPECT, row.aspect), row.state, max(0, row.at_s - row.issued_s))
        self._follow(conn)
        self._settle(conn, now_s, powered)

    def _follow(self, conn: Connection) -> None:
        for row in conn.execute(_PAYMENTS, {"after": self._entries_after}):
            self._entries_after = row.id
            report = stored_report(row.report)
            if report is not None and report.contact == states.CONTACT_OPEN and len(self._waiting) < FOLLOWED:
                self._waiting[row.id] = _Waits(row.meter, row.at_s)

    def _settle(self, conn: Connection, now_s: int, powered: Callable[[int], None]) -> None:
        if not self._waiting:
            return
        meters = sorted({one.meter for one in self._waiting.values()})
        found = {}
        for start in range(0, len(meters), 500):
            for row in conn.execute(_REPORTS, {"of": meters[start : start + 500]}):
                report = stored_report(row.report)
                if report is not None and report.contact == states.CONTACT_CLOSED:
                    found[row.meter] = row.report_taken_s
        for number, one in list(self._waiting.items()):
            closed_s = found.get(one.meter)
            if closed_s is not None and closed_s >= one.paid_s:
                powered(closed_s - one.paid_s)
            elif now_s - one.paid_s > GIVE_UP_S:
                self.overdue += 1
            else:
                continue
            del self._waiting[number]
