"""What must hold after every event, checked from outside: physics is the truth, the database is what was claimed.

Numbers are those of the list in docs/architecture.md, chapter Invariants.
"""

import struct
from typing import Any

from sqlalchemy import Connection, bindparam, select

from headend.ledger import balances, reconcile
from headend.orders import lifecycle
from headend.store.schema import entry, interval, meter_state, order, order_history
from meterlink import events, records, states
from meterlink.orders import ASPECT_CREDIT, ASPECT_SUPPLY, ASPECT_TARIFF, Order
from meterlink.reports import FIELDS, PAYLOAD_LENGTH, STRUCT
from meterlink.shadow import Bill
from metersim.board import MWS_PER_KWH
from openprepay.simcheck.people import HOLDS, People
from openprepay.simcheck.system import STEP_S, SimulatedMeter, System

LOOK_EVERY = 40  # events between two looks at the whole ledger
_TURNS = (
    select(order_history.c.id, order_history.c.order_id, order_history.c.state)
    .where(order_history.c.id > bindparam("after"))
    .order_by(order_history.c.id)
)
_ORDER = select(order).where(order.c.id == bindparam("of"))
_ENTRIES = select(entry).where(entry.c.id > bindparam("after"))
COVER_SLACK_S = 60  # dwell, and steps that a power cut swallowed


class Broken(AssertionError):
    """An invariant does not hold; the text names it, the meter and the figures."""


def require(number: int, holds: bool, text: str) -> None:
    """Invariant `number` must hold."""
    if not holds:
        raise Broken(f"invariant {number}: {text}")


class Invariants:
    """Checks one run. `checks` counts single comparisons that were made."""

    def __init__(self, system: System, people: People) -> None:
        self._system = system
        self._people = people
        self._import_wh: dict[int, int] = {}
        self._terms: dict[int, tuple[int, ...]] = {}
        self._uncovered_s: dict[int, int] = {}
        self._judged = 0  # of the history of orders, up to which row
        self._last_s = system.now_s
        self._ledger_rows: dict[int, tuple[Any, ...]] = {}
        self._held: dict[tuple[int, int], bytes] = {}
        self._events = -1
        self._looks = 0
        self.checks = 0

    def check(self) -> None:
        """Everything that must hold at any time."""
        elapsed_s = self._system.now_s - self._last_s
        self._last_s = self._system.now_s
        for meter in self._system.meters:
            if meter.powered:
                self._money(meter)
                self._cover(meter, elapsed_s)
                self._energy(meter)
        if self._events != self._system.events:
            self._events = self._system.events
            self._system.store.read(self._claims)
            self._system.store.read(self._books)
            for meter in self._system.meters:
                if meter.powered:
                    self._orders_in_time(meter)

    # -- the meter -----------------------------------------------------------------------------------------------------

    def _money(self, meter: SimulatedMeter) -> None:
        """Of committed values, which carry the balance beside its terms; across power cuts, too, they only grow."""
        committed = meter.unit.meter.committed()
        credited, earned, refunded, adjusted, charged, balance_uc = committed[5:11]
        waiting = committed[25]
        terms = (credited, earned, refunded, adjusted, charged)
        identity = balance_uc == credited + earned - refunded - adjusted - charged
        require(1, identity, f"meter {meter.number}: balance {balance_uc}, terms {terms}")
        before = self._terms.get(meter.number, terms)
        grown = all(new >= old for new, old in zip(terms, before, strict=True))
        require(1, grown, f"meter {meter.number}: terms {before} fell to {terms}")
        self._terms[meter.number] = terms
        sold_uc = self._people.paid_uc[meter.number]
        come = f"meter {meter.number}: credited {credited}, waiting {waiting}"
        require(2, credited + waiting <= sold_uc, f"{come}, sold {sold_uc}")
        self.checks += 3

    def _cover(self, meter: SimulatedMeter, elapsed_s: int) -> None:
        """Covered is what the balance, the overdraft and the emergency credit that the customer was given cover, and
        all in friendly time; the meter's own idea of these does not count."""
        firmware, limits, granted_uc = meter.unit.meter, self._system.limits, self._people.granted_uc
        balance_uc = firmware.account.balance_uc()
        if balance_uc > limits.emergency_from_uc:
            granted_uc[meter.number] = 0
        lowest_uc = -limits.overdraft_uc - granted_uc[meter.number]
        lacks = balance_uc <= lowest_uc and not self._friendly(meter.board.true_s)
        uncovered = lacks and firmware.supply.control == states.CONTROL_CONNECTED
        self._uncovered_s[meter.number] = self._uncovered_s.get(meter.number, 0) + elapsed_s if uncovered else 0
        longest_s = limits.trip_delay_s + limits.friendly_jitter_s + limits.dwell_s + COVER_SLACK_S
        require(
            3,
            self._uncovered_s[meter.number] <= longest_s,
            f"meter {meter.number}: closed without credit for {self._uncovered_s[meter.number]} s",
        )
        self.checks += 1

    def _friendly(self, unix_s: int) -> bool:
        """Whether it is one of the friendly quarters of the local day: those of RULED hold every day, within it."""
        limits = self._system.limits
        quarter = (unix_s // 900 + self._system.tariff.utc_offset_quarters) % 96
        return limits.friendly_from <= quarter < limits.friendly_until

    def _energy(self, meter: SimulatedMeter) -> None:
        """Committed registers never fall, and never tell of more than has flowed."""
        import_wh = meter.unit.meter.committed()[1]
        true_wh = meter.board.energy_mws * 1000 // MWS_PER_KWH
        before_wh = self._import_wh.get(meter.number, 0)
        require(9, import_wh >= before_wh, f"meter {meter.number}: register {before_wh} fell to {import_wh} Wh")
        require(9, import_wh <= true_wh, f"meter {meter.number}: register {import_wh} Wh, {true_wh} Wh flowed")
        self._import_wh[meter.number] = import_wh
        self.checks += 2

    def _orders_in_time(self, meter: SimulatedMeter) -> None:
        """An order that the meter has newly come to hold has not run out, and is for this meter and account."""
        for hold in HOLDS:
            raw = meter.unit.meter.held_order(ASPECT_SUPPLY, hold)
            before = self._held.get((meter.number, hold), b"")
            if raw == before:
                continue
            self._held[meter.number, hold] = raw
            stated = Order(raw).stated
            what = f"meter {meter.number}: order version {stated.version} on hold {hold}"
            in_time = not stated.not_after_s or self._system.now_s <= stated.not_after_s + STEP_S
            require(5, in_time, f"{what} applied after {stated.not_after_s}")
            require(5, (stated.meter, stated.account_epoch) == (meter.number, 1), f"{what} is for {stated.meter}")
            require(5, not before or stated.version > Order(before).stated.version, f"{what} is an old one")
            self.checks += 3

    # -- the head end --------------------------------------------------------------------------------------------------

    def _claims(self, conn: Connection) -> None:
        """Each confirmed order was true at the meter time of its evidence."""
        for number, order_id, state in conn.execute(_TURNS, {"after": self._judged}).all():
            self._judged = number
            if state == lifecycle.CONFIRMED:
                self._claim(conn.execute(_ORDER, {"of": order_id}).one())

    def _claim(self, row: Any) -> None:
        meter = self._system.meter(row.meter)
        report = dict(
            zip(
                (name for name, _ in FIELDS),
                struct.unpack(STRUCT, row.evidence[:PAYLOAD_LENGTH]),
                strict=True,
            )
        )
        at_s = row.evidence_time_s
        what = f"order {row.id} ({row.wants}) of meter {row.meter}, confirmed at meter time {at_s}"
        require(4, report["time_s"] == at_s, f"{what}: evidence says {report['time_s']}")
        if row.wants == "off":
            require(4, not meter.contact_closed_at(at_s), f"{what}: the contact was closed")
        if row.wants == "on":
            require(4, meter.contact_closed_at(at_s), f"{what}: the contact was open")
        if row.aspect == ASPECT_CREDIT:
            held_uc = meter.unit.meter.account.totals(row.selector)[0]
            require(4, held_uc >= row.total_uc, f"{what}: the meter holds {held_uc}, {row.total_uc} confirmed")
        self.checks += 2

    def _books(self, conn: Connection) -> None:
        """New entries at each event, all of them now and then and at the end."""
        fresh = conn.execute(_ENTRIES, {"after": max(self._ledger_rows, default=0)}).all()
        self._ledger_rows.update({row.id: tuple(row) for row in fresh})
        if self._looks % LOOK_EVERY == 0:
            self._whole_ledger(conn)
        self._looks += 1
        if not fresh:
            return
        require(
            8, sum(line.balance_uc for line in balances.trial_balance(conn)) == 0, "the ledger does not sum to zero"
        )
        for meter in self._system.meters:
            sold_uc = conn.execute(
                select(meter_state.c.sold_uc).where(meter_state.c.meter == meter.number)
            ).scalar_one()
            paid_uc = self._people.paid_uc[meter.number]
            require(8, sold_uc == paid_uc, f"meter {meter.number}: {sold_uc} sold, {paid_uc} paid")
        self.checks += len(fresh) + 1

    def _whole_ledger(self, conn: Connection) -> None:
        rows = {row.id: tuple(row) for row in conn.execute(_ENTRIES, {"after": 0})}
        for number, row in self._ledger_rows.items():
            require(8, rows.get(number) == row, f"ledger entry {number} changed from {row} to {rows.get(number)}")
        self.checks += len(rows)

    # -- at the end ----------------------------------------------------------------------------------------------------

    def check_settled(self) -> None:
        """What must hold once faults have ended and everything had time to arrive."""
        self._system.store.read(self._settled)

    def _settled(self, conn: Connection) -> None:
        self._whole_ledger(conn)
        for meter in self._system.meters:
            account = meter.unit.meter.account
            paid_uc = self._people.paid_uc[meter.number]
            require(
                2,
                account.credited_uc + account.waiting_uc == paid_uc,
                f"meter {meter.number}: credited {account.credited_uc}, waiting {account.waiting_uc}, paid {paid_uc}",
            )
            explained = reconcile.explain(conn, meter.number)
            require(5, explained.difference_uc == 0, f"meter {meter.number}: {explained}")
            self._orders_ended(conn, meter)
            self._intervals(conn, meter)
            self._shadow_bill(conn, meter)

    def _orders_ended(self, conn: Connection, meter: SimulatedMeter) -> None:
        open_orders = conn.execute(
            select(order.c.id, order.c.state, order.c.wants).where(
                order.c.meter == meter.number, order.c.state.not_in(lifecycle.ENDS)
            )
        ).all()
        for row in open_orders:
            # What waits for the customer's key, for credit or for another hold is accepted, and rightly not confirmed.
            waits = row.state == lifecycle.ACCEPTED and row.wants in ("on", "permit", "off")
            require(4, waits, f"meter {meter.number}: order {row.id} is still {row.state}")
        self.checks += 1

    def _intervals(self, conn: Connection, meter: SimulatedMeter) -> None:
        ring = meter.unit.meter.store.intervals
        buffer = bytearray(records.RECORD_LENGTH)
        stored = {
            row.seq: (
                row.seq,
                row.start_s,
                row.import_reg_wh,
                row.export_reg_wh,
                row.import_wh,
                row.export_wh,
                row.minutes,
                row.flags,
            )
            for row in conn.execute(select(interval).where(interval.c.meter == meter.number))
        }
        for seq in range(ring.oldest, ring.newest + 1):
            if ring.oldest and ring.read_into(seq, buffer):
                require(
                    6,
                    stored.get(seq) == records.unpack_interval(bytes(buffer)),
                    f"meter {meter.number}: interval {seq} is stored as {stored.get(seq)}",
                )
                self.checks += 1
        require(
            6, len(stored) == ring.newest, f"meter {meter.number}: {len(stored)} intervals stored, {ring.newest} made"
        )

    def _shadow_bill(self, conn: Connection, meter: SimulatedMeter) -> None:
        """Price the stored intervals by the same tariff: the meter's charge, to the unit."""
        rows = conn.execute(select(interval).where(interval.c.meter == meter.number).order_by(interval.c.seq)).all()
        firmware = meter.unit.meter
        if self._system.later and _ordered_s(firmware, self._system.shape.switch_s) >= self._system.shape.switch_s:
            return  # it came late and took over within an interval, which says so
        bill = Bill(self._system.tariff)
        bill.turn(self._system.shape.start_s)
        rest_wh = firmware.energy.import_wh - sum(row.import_wh for row in rows)
        used = [(row.start_s, row.import_wh, row.export_wh) for row in rows]
        for start_s, import_wh, export_wh in [*used, (firmware.now_s(), rest_wh, 0)]:
            if self._system.later and bill.plan is not self._system.later and start_s >= self._system.shape.switch_s:
                bill.switch(self._system.later, self._system.shape.switch_s)
            bill.add(start_s, import_wh, export_wh)
        account, due_uc = firmware.account, firmware.charges.standing_due_uc
        collected_uc = sum(debt.collected_uc for debt in firmware.debts)
        charged_uc = account.charged_uc - collected_uc + due_uc  # of what the bill charges, and some of it is only due
        require(
            7,
            (bill.charged_uc, bill.remainder, bill.standing_uc)
            == (charged_uc, account.remainder, firmware.pricing.standing_uc + due_uc),
            f"meter {meter.number}: shadow bill {bill.charged_uc}, meter {charged_uc}",
        )
        for debt in firmware.debts:
            require(1, debt.collected_uc <= debt.total_uc, f"meter {meter.number}: more collected than owed")
        self.checks += 1 + len(firmware.debts)


def _ordered_s(firmware: Any, unknown_s: int) -> int:
    """When the meter applied its newest tariff order, by its log; `unknown_s` where the log does not tell."""
    ring = firmware.store.events
    buffer = bytearray(records.RECORD_LENGTH)
    for seq in range(ring.newest, ring.oldest - 1, -1):
        if ring.read_into(seq, buffer):
            event = records.unpack_event(bytes(buffer))
            if event[2] == events.ORDER_APPLIED and event[6] >> 8 == ASPECT_TARIFF:
                return int(event[1])
    return unknown_s
