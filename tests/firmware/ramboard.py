"""A board in memory for the tests of the core, and a maker of genuine orders for it. Both interpreters.

The board (`metersim.ramboard`) is driven by its test: set `watts`, `voltage`, let time pass with `Rig.run`. Orders are
signed by `metersim.textbook`.
"""

import hashlib
import struct

from meter.core import Meter
from meterlink import bodies, orders, parcels, tariff
from meterlink.batches import pack_ask
from meterlink.mac import MacKey
from meterlink.provision import Provision
from meterlink.reports import Report
from metersim.ramboard import IMP_PER_KWH, START_S, RamBoard  # noqa: F401 - tests take them from here
from metersim.textbook import public_key, sign

METER = 123_456_789_012
PRICE_UC = 1_000_000  # per kWh: a watt-hour is 1000 uc
NONCE = b"question"

LIMITS = bodies.Limits(
    alarm_uc=2_000_000, alarm2_uc=1_000_000, trip_delay_s=60, dwell_s=10, spread_s=0, stable_s=10, max_current_ma=0
)
_SEEDS = {orders.ROLE_ROOT: 11, orders.ROLE_CREDIT: 12, orders.ROLE_CONTROL: 13}


KEYS = {role: public_key(seed) for role, seed in _SEEDS.items()}


class Rig:
    """A commissioned meter on a RamBoard, with a maker of orders. `mono_s` is its uptime."""

    def __init__(self, board=None, limits=LIMITS, plan=None, commission=True, credit_uc=0):
        self.board = board or RamBoard()
        self.mac_key = MacKey(bytes(range(32)))
        self.plan = plan or tariff.Tariff((PRICE_UC,))
        self.limits = limits
        self.version = 0
        self.account_epoch = 1
        self.tag_key_version = 1
        self.mono_s = 0
        self.meter = None
        self.boot()
        if commission and not self.meter.commissioned:
            self.meter.provision(self.record())
        if credit_uc:
            assert self.give(self.credit(credit_uc)) == 1

    def record(self, **changed):
        fields = {
            "meter": METER,
            "account_epoch": 1,
            "tag_key_version": 1,
            "tag_key": bytes(range(32)),
            "imp_per_kwh": IMP_PER_KWH,
            "interval_minutes": 15,
            "currency": 156,
            "keys": tuple([(role, 1, KEYS[role]) for role in sorted(KEYS)]),
            "limits": self.limits.encode(),
            "tariff": self.plan.encode(),
        }
        fields.update(changed)
        return Provision(**fields).encode()

    # -- time ----------------------------------------------------------------------------------------------------------

    def boot(self):
        """Start the firmware: what was volatile is gone."""
        self.mono_s = 0
        self.board.imported = self.board.exported = 0
        self.meter = Meter(self.board)
        self.meter.start(0)

    def outage(self, seconds=0):
        self.board.unix_s += seconds
        self.boot()

    def run(self, seconds, stride_s=1):
        while seconds > 0:
            step_s = min(stride_s, seconds)
            self.board.pass_time(step_s)
            self.mono_s += step_s
            self.meter.step(self.mono_s)
            self.balances()
            seconds -= step_s

    def balances(self):
        """Money is conserved, in what is live and in what is committed."""
        a = self.meter.account
        assert a.balance_uc() == a.credited_uc + a.earned_uc - a.refunded_uc - a.adjusted_uc - a.charged_uc
        c = self.meter.committed()
        assert c[10] == c[5] + c[6] - c[7] - c[8] - c[9]
        assert (
            0 <= a.credited_uc - c[5] <= c[25]  # what waits flows in between two checkpoints
            and c[7] == a.refunded_uc
            and c[9] <= a.charged_uc
            and c[1] <= self.meter.energy.import_wh
        )

    # -- orders --------------------------------------------------------------------------------------------------------

    def statement(self, aspect, body, selector=0, version=None, **changed):
        if version is None:
            self.version += aspect not in orders.UNVERSIONED
            version = 0 if aspect in orders.UNVERSIONED else self.version
        fields = {
            "aspect": aspect,
            "meter": METER,
            "account_epoch": self.account_epoch,
            "role": orders.ASPECT_ROLE.get(aspect, orders.ROLE_CONTROL),
            "key_version": 1,
            "tag_key_version": self.tag_key_version,
            "selector": selector,
            "signing_epoch": 1,
            "version": version,
            "issued_s": self.board.unix_s,
            "not_after_s": 0,
            "body": body,
        }
        fields.update(changed)
        return orders.Statement(**fields)

    def seal(self, statement, signature=None):
        raw = statement if isinstance(statement, bytes) else statement.encode()
        role = raw[10]
        if signature is None:
            signature = sign(_SEEDS.get(role, 99), orders.digest(raw))
        return orders.seal(raw, signature, self.mac_key)

    def order(self, aspect, body, selector=0, version=None, **changed):
        return self.seal(self.statement(aspect, body, selector, version, **changed))

    def credit(self, total_uc, refunded_uc=0, source=1, sales=(), **changed):
        body = bodies.encode_credit(total_uc, refunded_uc, list(sales))
        return self.order(orders.ASPECT_CREDIT, body, source, **changed)

    def hold(self, reason, delay_s=bodies.DEFAULT, **changed):
        changed.setdefault("not_after_s", self.board.unix_s + 600)
        return self.order(orders.ASPECT_SUPPLY, bodies.encode_supply(bodies.HOLD, 0, delay_s), reason, **changed)

    def release(self, reason, close=bodies.CLOSE_DIRECT, spread_s=bodies.DEFAULT, **changed):
        body = bodies.encode_supply(bodies.RELEASE, close, bodies.DEFAULT, spread_s)
        return self.order(orders.ASPECT_SUPPLY, body, reason, **changed)

    def apart(self, aspect, body, selector=0, **changed):
        """An order whose body travels apart, and the pieces of that body."""
        digest = hashlib.sha256(body).digest()
        raw = self.order(aspect, struct.pack(">I32s", len(body), digest), selector, flags=1, **changed)
        pieces = [parcels.pack(digest, at, len(body), body[at : at + 200]) for at in range(0, len(body), 200)]
        return raw, pieces

    def give_apart(self, aspect, body, selector=0, carrier=0, **changed):
        raw, pieces = self.apart(aspect, body, selector, **changed)
        for piece in pieces:
            self.meter.parcels.take(carrier, piece)
        return self.give(raw, carrier)

    def give(self, raw, carrier=0):
        """Hand an order over and see its verification through; the code of its result."""
        code = self.meter.submit(carrier, raw)
        if code != 3:
            return code
        while self.meter.verify_slice():
            pass
        self.balances()
        return self.meter.result(carrier).code

    # -- what it says --------------------------------------------------------------------------------------------------

    def report(self, aspect=0, selector=0):
        kind, raw = self.meter.ask(pack_ask(3, NONCE, aspect, selector))
        assert kind == 3
        return Report(raw, self.mac_key)

    def contents(self):
        """All that an order could change: the journal, and the state in memory."""
        m = self.meter
        journal = {}
        keys = list(range(1, 256)) + [aspect << 8 | place for aspect in range(1, 15) for place in range(32)]
        for key in keys:
            value = m.store.journal.get(key)
            if value is not None:
                journal[key] = value
        return (
            journal,
            m.store.journal.sequence,
            m.supply.state(),
            m.supply.control,
            m.account.pack_sources(),
            m.account.balance_uc(),
            m.pricing.state(),
            m.supply.limits.encode(),
            m.clock.state(),
            m.profile.state(),
            m.top,
            m.floor,
            m.account_epoch,
            m.allowance.state(),
            m.charges.state(),
            m.emergency.saved(),
            m.cover.state(),
            m.latches.state(),
            m.board.kept_witness,
            m.store.events.newest,
            m.store.intervals.newest,
        )

    def records(self, ring, first=0):
        """The records that a ring holds, oldest first, from number `first` on."""
        found = []
        record = bytearray(24)
        for seq in range(max(first, ring.oldest), ring.newest + 1):
            if ring.read_into(seq, record):
                found.append(bytes(record))
        return found

    def events(self):
        """(code, argument, detail) of all events, oldest first; behind them those that anybody can cause."""
        from meterlink.records import unpack_event

        flash = self.meter.store
        held = self.records(flash.events) + self.records(flash.logs[0])
        return [(f[2], f[5], f[6]) for f in [unpack_event(record) for record in held]]

    def logged(self, kind):
        """The records of records.KIND_* that the meter holds, oldest first, without their CRC."""
        from meterlink.records import FORMAT_OF, unpack

        ring = self.meter.store.logs[kind]
        record = bytearray(struct.calcsize(FORMAT_OF[kind]))
        return [
            unpack(kind, record) for seq in range(max(0, ring.oldest), ring.newest + 1) if ring.read_into(seq, record)
        ]

    def intervals(self):
        from meterlink.records import unpack_interval

        return [unpack_interval(record) for record in self.records(self.meter.store.intervals)]
