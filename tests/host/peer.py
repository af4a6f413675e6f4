"""A meter as the head end sees one: it says, sealed with its key, what a test tells it to, and keeps what it was sent.

It decides nothing and obeys nothing; a test that wants an order carried out says so with `hold` and `be`.
"""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from headend.clock import ManualClock
from headend.engine import Ack, Action, Ask, Deliver, Engine, Policy
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.reads import cursors
from headend.store import Store
from headend.store.schema import meter_state, outbox
from meterlink import batches, records, reports, results, states, topics
from meterlink.orders import ASPECT_CREDIT, ASPECT_SUPPLY, Order
from tests.host.books import METER, NOW_S, open_books
from tests.host.rows import Rows

CLOSED = {"control": states.CONTROL_CONNECTED, "contact": states.CONTACT_CLOSED, "load_ma": 4000, "no_load_s": 0}
OPEN = {"control": states.CONTROL_DISCONNECTED, "contact": states.CONTACT_OPEN, "load_ma": 0, "no_load_s": 30}
READY = {**OPEN, "control": states.CONTROL_READY}


class Noise:
    """Entropy that is the same in every run: a counter, scrambled."""

    def __init__(self) -> None:
        self._n = 0

    def __call__(self, n: int) -> bytes:
        self._n += 1
        return (self._n * 0x9E3779B97F4A7C15 % (1 << 8 * n)).to_bytes(n, "big")


class Peer:
    """The meter `number`: `facts` go into every report, `held` says which order it holds of a subject."""

    def __init__(self, keys: KeyStore, clock: ManualClock, number: int = METER) -> None:
        self.number = number
        self._clock = clock
        self.key = keys.mac_key(number, 1)
        self.boot = 1
        self.counter = 0
        self.log_id = 7
        self.facts: dict[str, Any] = {"account_epoch": 1, "clock": states.CLOCK_SET, **CLOSED}
        self.held: dict[tuple[int, int], Order] = {}
        self.totals: dict[int, int] = {}
        self.intervals: dict[int, bytes] = {}

    def be(self, **facts: Any) -> None:
        """From now on report these facts."""
        self.facts |= facts

    def hold(self, raw: bytes) -> Order:
        """Hold this order from now on (for supply: only the order; what became of the relay is `be`'s)."""
        order = Order(raw)
        self.held[order.stated.aspect, order.stated.selector] = order
        return order

    def report(self, kind: int = reports.KIND_REPORT, subject: tuple[int, int] = (0, 0), **others: Any) -> bytes:
        """A report as it is now; `others` replace fields."""
        self.counter += 1
        values: dict[str, Any] = {name: bytes(8) if code == "8s" else 0 for name, code in reports.FIELDS}
        values |= {"format": 1, "kind": kind, "meter_high": self.number >> 32, "meter_low": self.number & 0xFFFFFFFF}
        values |= {"tag_key_version": 1, "boot": self.boot, "counter": self.counter, "time_s": self._clock.now_s()}
        values |= {"log_id": self.log_id, "aspect": subject[0], "selector": subject[1]}
        if self.intervals:
            values |= {"interval_oldest": min(self.intervals), "interval_newest": max(self.intervals)}
        held = self.held.get(subject)
        if held is not None:
            values |= {"signing_epoch": held.stated.signing_epoch, "version": held.stated.version}
            values |= {"digest": held.digest[:8], "result": results.APPLIED}
        if subject[0] == ASPECT_CREDIT:
            values["source_credited_uc"] = self.totals.get(subject[1], 0)
        values |= self.facts | others
        return reports.pack(tuple(values[name] for name, _ in reports.FIELDS), self.key)

    def receipt(self, raw: bytes, result: int = results.APPLIED, **others: Any) -> bytes:
        """A receipt for an order."""
        order = Order(raw)
        named = {"signing_epoch": order.stated.signing_epoch, "version": order.stated.version}
        named |= {"digest": order.digest[:8], "result": result}
        subject = (order.stated.aspect, order.stated.selector)
        return self.report(reports.KIND_RECEIPT, subject, **{**named, **others})

    def answer(self, ask: Ask, **others: Any) -> tuple[str, bytes]:
        """(topics.UP_*, answer) to a question."""
        kind, nonce, aspect, selector, first, count = batches.read_ask(ask.raw)
        if kind == batches.KIND_REPORT:
            return topics.UP_REPORT, self.report(subject=(aspect, selector), nonce=nonce, **others)
        what = topics.UP_INTERVALS if kind == batches.KIND_INTERVALS else topics.UP_EVENTS
        return what, self.batch(first, count, nonce, kind)

    def record(self, last: int) -> None:
        """Make interval records up to number `last`, 100 Wh each."""
        for seq in range(max(self.intervals, default=0) + 1, last + 1):
            start_s = NOW_S + 900 * seq
            self.intervals[seq] = records.pack_interval(seq, start_s, 100 * seq, 0, 100, 0, 15, 0)

    def batch(
        self, first: int, count: int = 40, nonce: bytes = reports.NO_NONCE, kind: int = batches.KIND_INTERVALS
    ) -> bytes:
        """Records from `first` on, or from the first one held behind it, without a gap."""
        held = self.intervals if kind == batches.KIND_INTERVALS else {}
        at = min((seq for seq in held if seq >= first), default=first)
        body = b""
        while at in held and len(body) < count * records.RECORD_LENGTH:
            body += held[at]
            at += 1
        number = len(body) // records.RECORD_LENGTH
        return self.batch_of(body, at - number, nonce, kind)

    def batch_of(
        self, body: bytes, first: int, nonce: bytes = reports.NO_NONCE, kind: int = batches.KIND_INTERVALS
    ) -> bytes:
        """These records, sealed."""
        self.counter += 1
        count = len(body) // records.RECORD_LENGTH
        now_s = self._clock.now_s()
        head = batches.pack_head(kind, self.number, 1, self.boot, self.counter, now_s, self.log_id, nonce, first, count)
        return head + body + batches.mac(head, body, self.key)


class Bench(Rows):
    """A head end with one meter. With `restart`, every call goes to a new engine on the same store."""

    def __init__(
        self, *, restart: bool = False, online: bool = True, policy: Policy | None = None, url: str = ""
    ) -> None:
        self.noise = Noise()
        self.keys = KeyStore.generate(self.noise)
        self.clock = ManualClock(NOW_S)
        self.store: Store = open_books(url, inline=True) if url else open_books()
        self._signer = Signer(self.keys, SignerLog(None), self.clock, Caps(10**12))
        self._policy = policy
        self._restart = restart
        self._engine: Engine | None = None
        self._kept: list[tuple[int, Action]] = []
        self.counts: dict[str, int] = {}
        self.peer = Peer(self.keys, self.clock)
        if online:
            self.up(topics.UP_STATE, self.peer.report(reports.KIND_BIRTH))

    @property
    def engine(self) -> Engine:
        if self._engine is None or self._restart:
            self._engine = Engine(
                self.store, self.keys, self.clock, self.noise, signer=self._signer, policy=self._policy
            )
        return self._engine

    def close(self) -> None:
        self.store.close()

    # --- the wire ----------------------------------------------------------------------------------------------------

    def due(self) -> list[Action]:
        return self.engine.due(self.clock.now_s())

    def up(self, what: str, raw: bytes, meter: int | None = None, carrier: str = "mqtt") -> list[Action]:
        engine = self.engine
        actions = engine.up(self.peer.number if meter is None else meter, what, raw, carrier)
        for name, number in engine.counts.items() if self._restart else ():
            self.counts[name] = self.counts.get(name, 0) + number
        if not self._restart:
            self.counts = dict(engine.counts)
        return actions

    def sent(self, action: Action, ok: bool = True, note: str = "") -> None:
        self.engine.sent(action, ok, note)

    def run(self, seconds: int, carry: Callable[[Action], list[Action] | None]) -> None:
        """Let time pass, and hand every action to `carry`, with what it brought back up in turn."""
        end_s = self.clock.now_s() + seconds
        while self.clock.now_s() < end_s:
            waiting = self.due()
            while waiting:
                waiting += carry(waiting.pop(0)) or []
            self._pass(end_s)

    def until(self, match: Callable[[Action], bool], seconds: int = 3600) -> Any:
        """Let time pass until such an action comes; what came with it is kept for the next call, for a while."""
        end_s = self.clock.now_s() + seconds
        while self.clock.now_s() < end_s:
            now_s = self.clock.now_s()
            self._kept = [(at_s, one) for at_s, one in self._kept if now_s - at_s < 60]
            self._kept += [(now_s, one) for one in self.due()]
            for kept in self._kept:
                if match(kept[1]):
                    self._kept.remove(kept)
                    return kept[1]
            self._pass(end_s)
        raise AssertionError(f"no such action within {seconds} s; kept: {self._kept}")

    def _pass(self, end_s: int) -> None:
        """To the next second in which the engine has something to do, by its own word."""
        now_s = self.clock.now_s()
        self.clock.advance(max(1, min(self.engine.next_s(), end_s) - now_s))

    def answers(self, ask: Ask, **others: Any) -> list[Action]:
        """The meter answers a question at once."""
        return self.up(*self.peer.answer(ask, **others))

    def deliver(self, aspect: int = ASPECT_SUPPLY) -> Deliver:
        """The next delivery of an order of this aspect, taken over by the carrier."""
        action: Deliver = self.until(lambda one: isinstance(one, Deliver) and one.raw[1] == aspect)
        self.sent(action)
        return action

    def ask(self, aspect: int = ASPECT_SUPPLY) -> Ask:
        """The next question about this aspect, taken over by the carrier."""
        action: Ask = self.until(lambda one: isinstance(one, Ask) and batches.read_ask(one.raw)[2] == aspect)
        self.sent(action)
        return action

    # --- the database ------------------------------------------------------------------------------------------------

    def meter(self) -> Any:
        mine = meter_state.c.meter == self.peer.number
        return self.store.read(lambda conn: conn.execute(select(meter_state).where(mine)).one())

    def reads(self) -> Any:
        """The cursors of the meter's logs."""
        return self.store.read(cursors.of, self.peer.number)

    def outbox(self) -> list[int]:
        return self.store.read(lambda conn: list(conn.execute(select(outbox.c.order_id)).scalars()))


__all__ = ["CLOSED", "OPEN", "READY", "Ack", "Ask", "Bench", "Deliver", "Noise", "Peer"]
