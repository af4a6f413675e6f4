"""A campaign of 10 000 meters that are there: disconnected group by group, then recalled, until 95 % are confirmed.

The engine, the gate, the signer and the database are those of a head end that serves; the meters are peers that hold
the keys of theirs, judge nothing, and report what a relay with its delays would show. Time is virtual: a second passes
for each second of the clock, and more where the work of it took more than a second of CPU, that of the peers included.
"""

import os
import random
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from sqlalchemy import Connection, func, select, update

from headend.campaigns import acts, making, progress
from headend.campaigns.lifecycle import PREPARING, get
from headend.clock import ManualClock
from headend.engine import Deliver, Engine
from headend.fleet.meters import MeterRecord, add_meter
from headend.gate import pace, policy, proposals
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.orders.actions import Ack, Action
from headend.store import Store, identity, open_store
from headend.store.schema import meter, order
from headend.store.schema_gate import proposal_item
from meterlink import batches, bodies, reasons, reports, results, states, topics
from meterlink.orders import ASPECT_SUPPLY, Order
from metersim.workbench import DEFAULT_LIMITS, DEFAULT_TARIFF
from openprepay.bench.figure import Figure, against
from openprepay.bench.scene import NOW_S

METERS, FEW = 10_000, 60
FEEDERS = 100
MOST_S = 600  # that the design allows
SHARE = 95
CARRIERS = 32  # messages that are under way at a time
DELAY_S = 10  # from the order to the trip
PLAN = {"groups": ["10", "1%", "10%", "rest"], "per_minute": 12_000, "answer_s": 120}
AUTHOR, SECOND = "user:author", "user:second"


class _Relay(NamedTuple):
    """What a peer's relay does: open or closed from `at_s` on."""

    open: bool
    at_s: int


class _Peer:
    """A meter that answers."""

    def __init__(self, number: int, key: Any, chance: random.Random) -> None:
        self.number, self._key, self._chance = number, key, chance
        self._counter = 0
        self._speaks = Lock()
        self._held: dict[tuple[int, int], Order] = {}
        self._holds = 0
        self._relay = _Relay(False, 0)

    def take(self, raw: bytes, now_s: int) -> bytes:
        """An order; returns its receipt."""
        held = Order(raw)
        self._held[held.stated.aspect, held.stated.selector] = held
        if held.stated.aspect == ASPECT_SUPPLY:
            action, _, delay_s, spread_s = bodies.decode_supply(held.stated.body)
            bit = 1 << held.stated.selector
            stop = action == bodies.HOLD
            self._holds = self._holds | bit if stop else self._holds & ~bit
            wait_s = delay_s if stop else self._chance.randrange(spread_s + 1)
            self._relay = _Relay(stop, now_s + wait_s)
        return self.say(reports.KIND_RECEIPT, now_s, (held.stated.aspect, held.stated.selector))

    def say(self, kind: int, now_s: int, subject: tuple[int, int] = (0, 0), nonce: bytes = reports.NO_NONCE) -> bytes:
        with self._speaks:
            self._counter += 1
            counter = self._counter
        done = now_s >= self._relay.at_s
        is_open = self._relay.open if done else not self._relay.open
        values: dict[str, Any] = {name: bytes(8) if code == "8s" else 0 for name, code in reports.FIELDS}
        values |= {"format": 1, "kind": kind, "meter_high": self.number >> 32, "meter_low": self.number & 0xFFFFFFFF}
        values |= {"tag_key_version": 1, "boot": 1, "counter": counter, "time_s": now_s, "nonce": nonce}
        values |= {"account_epoch": 1, "log_id": 7, "clock": states.CLOCK_SET, "holds": self._holds}
        values |= {"aspect": subject[0], "selector": subject[1]}
        values |= {
            "control": states.CONTROL_DISCONNECTED if is_open else states.CONTROL_CONNECTED,
            "contact": states.CONTACT_OPEN if is_open else states.CONTACT_CLOSED,
            "load_ma": 0 if is_open else 4000,
            "no_load_s": max(now_s - self._relay.at_s, 0) if is_open else 0,
        }
        if not done:
            values["pending"] = states.PENDING_TRIP if self._relay.open else states.PENDING_CLOSE
            values["due_s"] = self._relay.at_s
        held = self._held.get(subject)
        if held is not None:
            values |= {"signing_epoch": held.stated.signing_epoch, "version": held.stated.version}
            values |= {"digest": held.digest[:8], "result": results.APPLIED}
        return reports.pack(tuple(values[name] for name, _ in reports.FIELDS), self._key)


class _Field:
    """The head end with its meters, and the time."""

    def __init__(self, folder: Path, meters: int) -> None:
        self.clock = ManualClock(NOW_S)
        self.keys = KeyStore.generate()
        self.store: Store = open_store(f"sqlite:///{folder / 'headend.sqlite'}")
        self.store.write(self._furnish, meters).result()
        signer = Signer(self.keys, SignerLog(folder / "signed.log"), self.clock, Caps(10**15))
        self.engine = Engine(self.store, self.keys, self.clock, os.urandom, signer=signer)
        self._carriers = ThreadPoolExecutor(CARRIERS, thread_name_prefix="carrier")
        chance = random.Random(1)
        self.peers = {n: _Peer(n, self.keys.mac_key(n, 1), chance) for n in range(1, meters + 1)}
        list(self._carriers.map(self._born, self.peers.values()))

    def _furnish(self, conn: Connection, meters: int) -> None:
        identity.establish(conn, NOW_S, self.keys.signing_epoch, self.keys.source, 156)
        policy.put(conn, NOW_S, "system", policy.flat(1_000_000), "a bench")
        tariff, limits = DEFAULT_TARIFF.encode(), DEFAULT_LIMITS.encode()
        for number in range(1, meters + 1):
            add_meter(conn, NOW_S, MeterRecord(number, "mqtt", "", tariff=tariff, limits=limits))
            conn.execute(update(meter).where(meter.c.meter == number).values(area=f"north/f-{number % FEEDERS:03d}"))

    def _born(self, peer: _Peer) -> None:
        self.engine.up(peer.number, topics.UP_STATE, peer.say(reports.KIND_BIRTH, NOW_S), "mqtt")

    def second(self) -> None:
        """All that is due now, and as much time as it took."""
        began = time.process_time()
        while waiting := self.engine.due(self.clock.now_s()):
            while waiting:
                waiting = [more for found in self._carriers.map(self._carry, waiting) for more in found]
        self.clock.advance(max(1, round(time.process_time() - began)))

    def _carry(self, action: Action) -> list[Action]:
        self.engine.sent(action, True)
        peer, now_s = self.peers[action.meter], self.clock.now_s()
        if isinstance(action, Ack):
            return []
        if isinstance(action, Deliver):
            return self.engine.up(action.meter, topics.UP_RECEIPT, peer.take(action.raw, now_s), "mqtt")
        kind, nonce, aspect, selector, _, _ = batches.read_ask(action.raw)
        if kind != batches.KIND_REPORT:
            return []
        raw = peer.say(reports.KIND_REPORT, now_s, (aspect, selector), nonce)
        return self.engine.up(action.meter, topics.UP_REPORT, raw, "mqtt")

    def until(self, enough: Any) -> tuple[int, float]:
        """Virtual seconds, and CPU, until that is so."""
        from_s, began = self.clock.now_s(), time.process_time()
        while not enough():
            self.second()
            if self.clock.now_s() - from_s > 6 * MOST_S:
                raise RuntimeError("the campaign does not come to an end")
        return self.clock.now_s() - from_s, time.process_time() - began

    def close(self) -> None:
        self._carriers.shutdown()
        self.store.close()

    def write(self, fn: Any, *args: Any) -> Any:
        return self.store.write(fn, self.clock.now_s(), *args).result()


def run(seconds: float) -> Iterator[Figure]:
    """10 000 meters; few where there is no time."""
    meters = METERS if seconds else FEW
    folder = os.environ.get("TMPDIR", "/var/tmp")
    with tempfile.TemporaryDirectory(prefix="openprepay-bench-", dir=folder) as made:
        field = _Field(Path(made), meters)
        try:
            yield from _measure(field, meters)
        finally:
            field.close()


def _measure(field: _Field, meters: int) -> Iterator[Figure]:
    began = time.process_time()
    terms = {"reason": reasons.HOLD_ARREARS, "delay_s": DELAY_S}
    made = field.write(making.make, "stop", terms, {"area": "north"}, PLAN, AUTHOR, "a bench")
    while field.store.read(get, made).state == PREPARING:
        making.follow(field.store, field.clock.now_s())
    yield Figure("campaign_dry_run", (time.process_time() - began) / meters * 1e6, "µs/meter")
    listed = field.write(acts.propose, made, AUTHOR)
    while field.store.read(proposals.get, listed).state == proposals.PREPARING:
        field.write(pace.tick)
    field.write(proposals.approve, listed, field.store.read(proposals.get, listed).digest, SECOND)
    wanted = -(-meters * SHARE // 100)

    def confirmed() -> bool:
        return progress.added(field.store.read(_counts, field.clock.now_s(), made))["confirmed"] >= wanted

    yield from _told("campaign_stop", meters, *field.until(confirmed))
    field.until(lambda: field.store.read(get, made).state in ("done", "aborted"))
    began = time.process_time()
    field.write(acts.recall, made, SECOND)
    yield Figure("campaign_recall_asked", (time.process_time() - began) * 1e3, "ms")
    yield from _told("campaign_recall", meters, *field.until(lambda: field.store.read(_given_back, listed) >= wanted))


def _counts(conn: Connection, now_s: int, number: int) -> list[progress.Counts]:
    return progress.by_group(conn, now_s, get(conn, number))


def _given_back(conn: Connection, listed: int) -> int:
    """How many are closed again, proved by their reports."""
    given = proposal_item.join(order, order.c.id == proposal_item.c.release_id)
    mine = select(func.count()).select_from(given).where(proposal_item.c.proposal == listed)
    return int(conn.execute(mine.where(order.c.state == "confirmed")).scalar_one())


def _told(name: str, meters: int, virtual_s: int, cpu_s: float) -> Iterator[Figure]:
    yield against(f"{name}_95", virtual_s, "s", f"{MOST_S} s, which the design allows", MOST_S)
    yield Figure(f"{name}_cpu", cpu_s / meters * 1e3, "ms/meter")
