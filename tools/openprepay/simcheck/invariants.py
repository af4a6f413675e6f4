"""What must hold after every event, checked from outside: physics is the truth, the database is what was claimed.

Numbers are those of the list in docs/architecture.md, chapter Invariants.
"""

import struct
import tempfile
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from headend.books import sealer, verifier
from headend.ledger import balances, reconcile
from headend.ledger.refunds.life import LIVE
from headend.orders import lifecycle
from headend.reads import series
from headend.registry.kinds import KINDS
from headend.store.schema import entry, meter_state, order, order_history, payment
from headend.store.schema_gate import gate_pass
from headend.store.schema_refunds import refund
from meterlink import bodies, events, reasons, records, states
from meterlink.orders import ASPECT_CREDIT, ASPECT_SUPPLY, ASPECT_TARIFF, Order
from meterlink.reports import FIELDS, PAYLOAD_LENGTH, STRUCT
from meterlink.shadow import Bill
from metersim.board import MWS_PER_KWH
from openprepay.simcheck import memory
from openprepay.simcheck.people import HOLDS, People
from openprepay.simcheck.system import CHANNEL, STEP_S, SimulatedMeter, System
from openprepay.simcheck.themes import ALONE, Office

TRANSFERRED = "transfer/"  # how the head end names the payment to the right meter
LOOK_EVERY = 40  # events between two looks at the whole ledger
_TURNS = (
    select(order_history.c.id, order_history.c.order_id, order_history.c.event, order_history.c.state)
    .where(order_history.c.id > bindparam("after"))
    .order_by(order_history.c.id)
)
_ORDER = select(order).where(order.c.id == bindparam("of"))
_PASS = select(gate_pass.c.order_id).where(gate_pass.c.order_id == bindparam("of"))
_ALONE = (
    select(func.count())
    .select_from(gate_pass)
    .where(
        gate_pass.c.at_s > bindparam("since"), gate_pass.c.actor == bindparam("who"), gate_pass.c["class"] == "alone"
    )
)
_PAID = select(payment.c.payment_id, payment.c.meter, payment.c.amount_uc, payment.c.allocated_uc).where(
    payment.c.channel == CHANNEL
)
_RETURNED = (
    select(refund.c.meter, func.sum(refund.c.amount_uc)).where(refund.c.state == "taken").group_by(refund.c.meter)
)
_OFF = (
    select(refund.c.meter, func.sum(refund.c.amount_uc))
    .where(refund.c.state.in_(("taken", "stated")))
    .group_by(refund.c.meter)
)
_NET = select(meter_state.c.meter, meter_state.c.sold_uc - meter_state.c.refunded_uc)
_OPEN_RETURNS = select(refund.c.id, refund.c.state).where(refund.c.state.in_(LIVE))
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
        self._safe: dict[int, bool] = {}
        self._held: dict[tuple[int, int], bytes] = {}
        self._events = -1
        self._looks = 0
        self._restores = 0
        self._closed_to = {meter.number: 0 for meter in system.meters}
        self.checks = 0

    def check(self) -> None:
        """Everything that must hold at any time."""
        if self._restores != self._system.restores:  # the history of another database
            self._restores = self._system.restores
            self._judged = 0
            self._ledger_rows = {}
        elapsed_s = self._system.now_s - self._last_s
        self._last_s = self._system.now_s
        for meter in self._system.meters:
            if meter.powered:
                self._money(meter)
                self._cover(meter, elapsed_s)
                self._energy(meter)
                self._safety(meter)
        if self._events != self._system.events:
            self._events = self._system.events
            self._people.theme.follow()
            self._system.store.read(self.check_claims)
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
        sold_uc = self._people.paid_uc[meter.number] + self._people.may_come_uc[meter.number]
        come = f"meter {meter.number}: credited {credited}, waiting {waiting}"
        # What went back, or could not go back and was credited again, is in both of the meter's totals.
        require(2, credited + waiting - refunded <= sold_uc, f"{come}, refunded {refunded}, sold {sold_uc}")
        self.checks += 3

    def _cover(self, meter: SimulatedMeter, elapsed_s: int) -> None:
        """Covered is what the balance, the overdraft and the emergency credit that the customer was given cover, all in
        friendly time, and all while the meter is told to protect; the meter's own idea of these does not count."""
        firmware, limits, granted_uc = meter.unit.meter, self._system.limits, self._people.granted_uc
        balance_uc = firmware.account.balance_uc()
        if balance_uc > limits.emergency_from_uc:
            granted_uc[meter.number] = 0
        lowest_uc = -limits.overdraft_uc - granted_uc[meter.number]
        lacks = balance_uc <= lowest_uc and not self._friendly(meter.board.true_s)
        uncovered = (
            lacks and not _holds(meter, reasons.HOLD_PROTECTION) and firmware.supply.control == states.CONTROL_CONNECTED
        )
        self._uncovered_s[meter.number] = self._uncovered_s.get(meter.number, 0) + elapsed_s if uncovered else 0
        longest_s = limits.trip_delay_s + limits.friendly_jitter_s + limits.dwell_s + COVER_SLACK_S
        require(
            3,
            self._uncovered_s[meter.number] <= longest_s,
            f"meter {meter.number}: closed without credit for {self._uncovered_s[meter.number]} s",
        )
        self.checks += 1

    def _safety(self, meter: SimulatedMeter) -> None:
        """The contact never closes while the newest order on the hold for safety that the meter holds sets it."""
        held = _holds(meter, reasons.HOLD_SAFETY)
        before, self._safe[meter.number] = self._safe.get(meter.number, False), held
        known = self._closed_to[meter.number]
        self._closed_to[meter.number] = len(meter.contact_changes)
        if held and before:
            for at_s, closed in meter.contact_changes[known:]:
                require(11, not closed, f"meter {meter.number}: closed at {at_s}, held for safety")
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
            newer = not before or (stated.signing_epoch, stated.version) > _age(before)
            require(5, newer, f"{what} is an old one")
            self.checks += 3

    # -- the head end --------------------------------------------------------------------------------------------------

    def check_claims(self, conn: Connection) -> None:
        """Each confirmed order was true at the meter time of its evidence."""
        for number, order_id, event, state in conn.execute(_TURNS, {"after": self._judged}).all():
            self._judged = number
            if event == "send":
                self._send(conn, number, conn.execute(_ORDER, {"of": order_id}).one())
            elif state == lifecycle.CONFIRMED:
                self._claim(conn.execute(_ORDER, {"of": order_id}).one())

    def _send(self, conn: Connection, number: int, row: Any) -> None:
        """Row `number` of the history hands an order to a carrier. One that opens a relay has passed the gate, nothing
        forbids it, and no freeze stands."""
        if row.aspect != ASPECT_SUPPLY or row.selector == reasons.HOLD_PROTECTION:
            return
        if bodies.decode_supply(row.body)[0] != bodies.HOLD:
            return
        what = f"order {row.id}, hold {row.selector} on meter {row.meter}"
        passed = conn.execute(_PASS, {"of": row.id}).one_or_none()
        require(12, passed is not None, f"{what}, was sent without a pass")
        self.checks += 1
        office = self._people.theme
        if not isinstance(office, Office):
            return
        require(12, office.frozen is None or number <= office.frozen, f"{what}, was sent in spite of a freeze")
        used = conn.execute(_ALONE, {"since": self._system.now_s - 3600, "who": row.actor}).scalar_one()
        require(12, used <= ALONE, f"{used} were sent in an hour by {row.actor} alone")
        for exclusion, (meter, kind, mark) in office.standing.items():
            barred = meter == row.meter and KINDS[kind].forbids(row.selector) and number > mark
            require(10, not barred, f"{what}, was sent in spite of exclusion {exclusion}, {kind}")
        self.checks += 2 + len(office.standing)

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
        self._returns(conn, self._payments(conn))
        self.checks += len(fresh) + 1

    def _payments(self, conn: Connection) -> dict[int, int]:
        """Every payment that was answered is in the books once, as it was; those that a copy lacks are known. Returns
        what was paid for each meter."""
        rows = conn.execute(_PAID).all()
        own = {row.payment_id: (row.meter, row.amount_uc) for row in rows if not row.payment_id.startswith(TRANSFERRED)}
        people = self._people
        expected = {payment_id: people.taken[payment_id] for payment_id in people.in_books()}
        require(13, own == expected, f"payments {sorted(set(own.items()) ^ set(expected.items()))} differ")
        paid_uc = {meter.number: 0 for meter in self._system.meters}
        for row in rows:
            paid_uc[row.meter] += row.amount_uc - row.allocated_uc
        if not self._system.restores:
            off = dict(conn.execute(_OFF).all())
            for number, net_uc in conn.execute(_NET):
                left_uc = paid_uc[number] - off.get(number, 0)
                require(
                    8, net_uc == left_uc, f"meter {number}: {net_uc} sold and not refunded, {left_uc} paid and left"
                )
        self.checks += len(rows)
        return paid_uc

    def _returns(self, conn: Connection, paid_uc: dict[int, int]) -> None:
        """Money that went back is no longer on the meter, by what the meter itself has committed."""
        for number, returned_uc in conn.execute(_RETURNED):
            committed = self._system.meter(number).unit.meter.committed()
            net_uc = committed[5] + committed[25] - committed[7]
            come = f"meter {number}: {paid_uc[number]} paid, {returned_uc} went back, {net_uc} is on the meter"
            require(14, net_uc <= paid_uc[number] - returned_uc, come)
            self.checks += 1

    def _whole_ledger(self, conn: Connection) -> None:
        rows = {row.id: tuple(row) for row in conn.execute(_ENTRIES, {"after": 0})}
        for number, row in self._ledger_rows.items():
            require(8, rows.get(number) == row, f"ledger entry {number} changed from {row} to {rows.get(number)}")
        self.checks += len(rows)

    # -- at the end ----------------------------------------------------------------------------------------------------

    def check_settled(self) -> None:
        """What must hold once faults have ended and everything had time to arrive."""
        self._system.store.read(self._settled)
        sealer.seal_all(self._system.store, self._system.now_s, all_rows=True)
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/books.sqlite"
            memory.copy(self._system.store).execute("VACUUM INTO ?", (path,))
            verdict = verifier.verify(*verifier.from_sqlite(path), ())
        require(8, not verdict.wrong, "; ".join(verdict.wrong))

    def _settled(self, conn: Connection) -> None:
        self._whole_ledger(conn)
        require(13, not self._people.lost, f"never posted again: {self._people.lost}")
        paid = self._payments(conn)
        returned = dict(conn.execute(_RETURNED).all())
        live = conn.execute(_OPEN_RETURNS).all()
        require(14, not live, f"refunds {live} are still under way")
        for meter in self._system.meters:
            account = meter.unit.meter.account
            paid_uc = paid[meter.number] - returned.get(meter.number, 0)
            self._not_barred(meter)
            require(
                2,
                account.credited_uc + account.waiting_uc - account.refunded_uc == paid_uc,
                f"meter {meter.number}: credited {account.credited_uc}, waiting {account.waiting_uc}, paid {paid_uc}",
            )
            explained = reconcile.explain(conn, meter.number)
            require(5, explained.difference_uc == 0, f"meter {meter.number}: {explained}")
            self._orders_ended(conn, meter)
            self._intervals(conn, meter)
            self._shadow_bill(conn, meter)

    def _not_barred(self, meter: SimulatedMeter) -> None:
        """A customer who is excluded does not rest on a hold that is barred."""
        office = self._people.theme
        for exclusion, (number, kind, _) in office.standing.items() if isinstance(office, Office) else ():
            for hold in HOLDS if number == meter.number else ():
                barred = _holds(meter, hold) and KINDS[kind].forbids(hold)
                require(10, not barred, f"meter {number} rests on hold {hold}, exclusion {exclusion}, {kind}")
                self.checks += 1

    def _orders_ended(self, conn: Connection, meter: SimulatedMeter) -> None:
        open_orders = conn.execute(
            select(order.c.id, order.c.state, order.c.wants, order.c.gate).where(
                order.c.meter == meter.number, order.c.state.not_in(lifecycle.ENDS)
            )
        ).all()
        for row in open_orders:
            # What waits for the customer's key, for credit or for another hold is accepted, and rightly not confirmed.
            waits = row.state == lifecycle.ACCEPTED and row.wants in ("on", "permit", "off")
            # So is what waits for room in a budget, and never runs out (a tariff).
            waits = waits or (row.state == lifecycle.QUEUED and row.gate and isinstance(self._people.theme, Office))
            require(4, waits, f"meter {meter.number}: order {row.id} is still {row.state}")
        self.checks += 1

    def _intervals(self, conn: Connection, meter: SimulatedMeter) -> None:
        ring = meter.unit.meter.store.intervals
        buffer = bytearray(records.RECORD_LENGTH)
        stored = {
            one.seq: one[1:]  # as `unpack_interval` has it
            for one in series.every(conn, meter.number)
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
        rows = sorted(series.every(conn, meter.number), key=lambda one: one.seq)
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


def _holds(meter: SimulatedMeter, hold: int) -> bool:
    """Whether the newest order on a hold that the meter holds sets it."""
    raw = meter.unit.meter.held_order(ASPECT_SUPPLY, hold)
    return bool(raw) and bodies.decode_supply(Order(raw).stated.body)[0] == bodies.HOLD


def _age(raw: bytes) -> tuple[int, int]:
    stated = Order(raw).stated
    return stated.signing_epoch, stated.version


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
