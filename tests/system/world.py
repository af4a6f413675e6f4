"""A small utility in one process: books, engine and signer as they are, and meters that run the real firmware core.

Carriers are perfect unless a test makes them lose, hold back or replay; time is one clock for all.
"""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from headend.clock import ManualClock
from headend.engine import Engine
from headend.epochs import adopt, findings
from headend.fleet.meters import MeterRecord, add_meter, get_meter
from headend.gate import policy
from headend.keys.holder import BENCH
from headend.keys.keystore import KeyStore
from headend.keys.provision import provision_record
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import accounts, balances, payments, reconcile
from headend.ledger.channels import add_channel
from headend.orders.actions import Ack, Action, Ask, Deliver
from headend.store import Store, backup, identity, open_store
from headend.store.schema import closing, entry, meter_state, order
from meter.exchange import Exchange
from meterlink import bodies, topics
from meterlink.orders import ASPECT_CREDIT, Order, OrderError
from meterlink.tariff import Tariff
from metersim.board import VirtualBoard
from metersim.inprocess import InProcessMeter
from tests import sqlite
from tests.host.peer import Noise
from tests.postgres import Server

START_S = 1_767_225_600
CURRENCY = 156
METER = 17
POS = "pos-1"
AGENT = "agent-2"
TARIFF = Tariff((600_000,))
LIMITS = bodies.Limits(3_000_000, 1_000_000, 120, 10, 30, 10, 0)
YUAN = 1_000_000


class Household:
    """A load of so many watts; `watts` may be changed."""

    def __init__(self, watts: int) -> None:
        self.draws = watts

    def watts(self, unix_s: int) -> int:
        return self.draws


class Point:
    """A metering point: the real firmware on a virtual board, and the link to it.

    `deaf`: what is sent there is kept in `lost`; `deaf_to`: orders of these aspects are · `dumb`: what it says is kept
    in `unheard` · `before`: what it hears just before the next order, from somebody else.
    """

    def __init__(self, number: int, record: bytes | None, watts: int = 2_000) -> None:
        self.number = number
        self.board = VirtualBoard(Household(watts), start_s=START_S, seed=number)
        self.unit = InProcessMeter(self.board, record)
        self.exchange = Exchange(self.unit.meter, 90_000)
        self.deaf = self.dumb = False
        self.deaf_to: set[int] = set()
        self.before: tuple[str, bytes] | None = None
        self.lost: list[tuple[str, bytes]] = []
        self.unheard: list[tuple[str, bytes]] = []
        self.orders: list[bytes] = []  # every order that was ever sent to it, as somebody on the line would keep them

    @property
    def account(self) -> Any:
        return self.unit.meter.account

    def hear(self, what: str, raw: bytes) -> None:
        if self.before and what == topics.DN_ORDER:
            (first, self.before) = self.before, None
            self.hear(*first)
        self.exchange.hear(what, raw)
        self.unit.settle()

    def say(self, now_s: int) -> list[tuple[str, bytes]]:
        said = []
        for _ in range(12):
            message = self.exchange.say(now_s * 1000)
            if message is None:
                break
            said.append(message)
        return said

    def boot(self, record: bytes | None = None) -> None:
        """It starts again from its flash; with `record` it is provisioned where it can be."""
        self.unit = InProcessMeter(self.board, None)
        if record is not None:
            self.unit.meter.provision(record)
        self.exchange = Exchange(self.unit.meter, 90_000)


class World:
    """Head end and meters. `folder` holds the database, so that it can be copied and put back."""

    _wake_s = 0  # the engine has nothing to do before, unless something comes up

    def __init__(self, folder: Path, *meters: int, watts: int = 2_000, server: Server | None = None) -> None:
        self.folder = folder
        self.server = server  # where its databases are; None: files in `folder`
        self._numbers = itertools.count()
        self.url = server.database() if server else self._new_place()
        self.noise = Noise()
        self.clock = ManualClock(START_S)
        self.keys = KeyStore.generate(self.noise, use=BENCH)
        self.log = SignerLog(None)
        self.store = sqlite.open_new(self.url, inline=True)
        self._work()
        self.store.write(identity.establish, START_S, self.keys.signing_epoch, self.keys.source, CURRENCY).result()
        self.store.write(policy.put, START_S, "system", policy.flat(1_000), "a bench").result()
        for name in (POS, AGENT):
            self.store.write(add_channel, START_S, name, f"op_{name:*<43}", ("payments",), 10**12).result()
        self.points: dict[int, Point] = {}
        for number in meters or (METER,):
            self.add(number, watts)
        self.run(3)

    def _new_place(self) -> str:
        """The URL of a place where no database is."""
        return self.server.empty() if self.server else f"sqlite:///{self.folder}/books-{next(self._numbers)}.sqlite"

    def _work(self) -> None:
        self.signer = Signer(self.keys, self.log, self.clock, Caps(10**12))
        self.engine = Engine(self.store, self.keys, self.clock, self.noise, signer=self.signer)

    def close(self) -> None:
        self.store.close()

    # --- meters -------------------------------------------------------------------------------------------------------

    def add(self, number: int, watts: int = 2_000) -> Point:
        """A meter in the fleet, and on the wall."""
        record = MeterRecord(number, "mqtt", "", TARIFF.encode(), LIMITS.encode())
        self.write(add_meter, record)
        point = Point(number, self.provision(number), watts)
        point.board.true_s = self.clock.now_s()
        self.points[number] = point
        self.up(point, topics.UP_STATE, point.exchange.birth())
        return point

    def provision(self, number: int) -> bytes:
        """What a meter is given, for the account that the books have in force."""
        row = self.read(get_meter, number)
        return provision_record(
            self.keys,
            meter=number,
            account_epoch=row.account_epoch,
            tag_key_version=row.tag_key_version,
            interval_minutes=15,
            limits=LIMITS.encode(),
            tariff=TARIFF.encode(),
            currency=CURRENCY,
            imp_per_kwh=1000,
        )

    # --- time and messages --------------------------------------------------------------------------------------------

    def run(self, seconds: int) -> None:
        """Let time pass. The engine is called when it wished to be, after what came up, and at the end."""
        self._wake_s = 0
        for left in reversed(range(seconds)):
            self.clock.advance(1)
            for point in self.points.values():
                point.board.advance(1)
                point.unit.step()
                self.carry(self._listen(point))
            if left and self.clock.now_s() < self._wake_s:
                continue
            self.carry(self.engine.due(self.clock.now_s()))
            if left:
                self._wake_s = self.engine.next_s()

    def until(self, true: Callable[[], bool], seconds: int = 1800) -> None:
        """Let time pass until something is so."""
        for _ in range(seconds):
            if true():
                return
            self.run(1)
        raise AssertionError(f"not within {seconds} s")

    def settle(self, *numbers: int) -> None:
        """Until nothing is under way that a meter at hand could answer, and its newest report is known."""
        for wait_s in (40, 3):
            for number in numbers or self.points:
                self.ask(number)
            self.run(wait_s)

    def ask(self, number: int) -> None:
        """Have the engine ask the meter for a report now."""
        mine = meter_state.c.meter == number
        self.store.write(lambda conn: conn.execute(update(meter_state).where(mine).values(next_ask_s=0))).result()

    def carry(self, actions: list[Action]) -> None:
        """Hand actions over, and what they bring back to the engine, until all is quiet."""
        waiting = list(actions)
        for _ in range(2_000):
            if not waiting:
                return
            waiting += self._hand_over(waiting.pop(0))
        raise AssertionError(f"engine and meter never fall silent: {waiting[:3]}")

    def _hand_over(self, action: Action) -> list[Action]:
        point = self.points[action.meter]
        what = {Deliver: topics.DN_ORDER, Ask: topics.DN_ASK, Ack: topics.DN_ACK}[type(action)]
        self.engine.sent(action, True)
        if isinstance(action, Deliver):
            point.orders.append(action.raw)
            for piece in action.parcels:
                point.hear(topics.DN_PARCEL, piece)
        if point.deaf or (isinstance(action, Deliver) and action.raw[1] in point.deaf_to):
            point.lost.append((what, action.raw))
            return []
        point.hear(what, action.raw)
        return self._listen(point)

    def _listen(self, point: Point) -> list[Action]:
        raised: list[Action] = []
        for what, raw in point.say(self.clock.now_s()):
            if point.dumb:
                point.unheard.append((what, raw))
            else:
                self._wake_s = 0
                raised += self.engine.up(point.number, what, raw, "mqtt")
        return raised

    def up(self, point: Point, what: str, raw: bytes) -> None:
        """The meter, or somebody in its place, says something."""
        self.carry(self.engine.up(point.number, what, raw, "mqtt"))

    # --- the database -------------------------------------------------------------------------------------------------

    def write(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a domain function `fn(conn, now_s, …)` and commit."""
        return self.store.write(lambda conn: fn(conn, self.clock.now_s(), *args, **options)).result()

    def read(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self.store.read(lambda conn: fn(conn, *args, **options))

    def backup(self) -> Path:
        """A copy of the database as it is now, made while it is in use."""
        copy = self.folder / f"backup-{next(self._numbers)}"
        backup.make(self.store, self.url, copy, self.clock.now_s())
        return copy

    def restore(self, copy: Path, *, log_too: bool = False) -> None:
        """The database is lost, and a copy is put in its place, under a new signing epoch; `log_too`: the signer's log
        is lost with it."""
        self.store.close()
        self.url = self._new_place()
        backup.put(copy, backup.read(copy), self.url)
        self.store = open_store(self.url, inline=True)
        if log_too:
            self.log = SignerLog(None)
        self.keys.open_epoch()
        self._work()
        keys = self.keys
        self.write(adopt.adopt, keys.signing_epoch, keys.source, keys.closed_sources, "restored from a copy")

    # --- money --------------------------------------------------------------------------------------------------------

    def pay(self, payment_id: str, amount_uc: int, number: int = METER, channel: str = POS, **options: Any) -> Any:
        return self.write(payments.take, channel, payment_id, number, amount_uc, **options)

    def balance(self, account: str) -> int:
        return int(self.read(balances.balance_uc, account))

    def customer(self, number: int = METER) -> int:
        """What the books say that the customer has, in the account in force."""
        return self.balance(accounts.of_meter(number, self.read(get_meter, number).account_epoch))

    def findings(self) -> list[str]:
        return [row.kind for row in self.read(findings.standing)]

    def on_meter(self, number: int = METER) -> set[str]:
        """The payments that a report has shown on the meter."""
        return {row.payment_id for row in self.read(payments.of_meter, number) if row.on_meter_s is not None}

    def state(self, order_id: int) -> str:
        query = select(order.c.state).where(order.c.id == order_id)
        return str(self.read(lambda conn: conn.execute(query).scalar_one()))

    def orders(self, number: int, aspect: int) -> list[Any]:
        query = select(order).where(order.c.meter == number, order.c.aspect == aspect).order_by(order.c.id)
        return list(self.read(lambda conn: conn.execute(query).all()))

    def check(self) -> None:
        """No unit lost or doubled: the books sum to zero, and each meter is explained by them to the unit."""
        rows = self.read(balances.trial_balance)
        assert sum(row.balance_uc for row in rows) == 0
        for number, point in self.points.items():
            explained = self.read(reconcile.explain, number)
            assert explained.difference_uc == 0, explained
            assert explained.report_time_s is None or explained.source_shown, explained
            meter = point.account
            terms = meter.credited_uc + meter.earned_uc - meter.refunded_uc - meter.adjusted_uc - meter.charged_uc
            assert meter.balance_uc() == terms

    def closing(self, number: int, epoch: int) -> Any:
        """The row of an account that is closed."""
        mine = closing.c.meter == number, closing.c.account_epoch == epoch
        return self.read(lambda conn: conn.execute(select(closing).where(*mine)).one())

    def entries(self, kind: str, number: int | None = None) -> list[int]:
        query = select(entry.c.amount_uc).where(entry.c.kind == kind).order_by(entry.c.id)
        if number is not None:
            query = query.where(entry.c.meter == number)
        return list(self.read(lambda conn: conn.execute(query).scalars().all()))


def credit_total(raw: bytes) -> int:
    """What a credit order states as credited; -1 for anything else."""
    try:
        stated = Order(raw).stated
    except OrderError:
        return -1
    return bodies.decode_credit(stated.body)[0] if stated.aspect == ASPECT_CREDIT else -1


__all__ = ["AGENT", "METER", "POS", "YUAN", "Point", "Store", "World", "credit_total"]
