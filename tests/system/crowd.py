"""Meters that talk a lot, in this process, on a real broker: `with Crowd(broker, keys, numbers) as crowd`.

Each says what it recorded until it is acknowledged, answers what it is asked, takes the credit that it is sent and says
so. They judge nothing; what they were sent is kept, and compared.
"""

import random
import time

from headend.clock import ManualClock
from headend.keys.keystore import KeyStore
from headend.orders.actions import Ask
from meterlink import batches, records, reports, topics
from meterlink.orders import ASPECT_CREDIT, Order
from tests.brokers import Broker
from tests.host.peer import Peer
from tests.system.on_broker import OnBroker

REPLAY_S = 3.0  # after a batch that nobody acknowledged
RECORD_S = 0.8  # of real time between two intervals of a meter


class Now(ManualClock):
    """The time of day."""

    def now_s(self) -> int:
        return int(time.time())


class Crowd(OnBroker):
    """`records(number)`: what a meter has recorded, as bytes · `credited_uc(number)`: what it holds · `forked`: orders
    of one version or total that came with different bytes.
    """

    def __init__(self, broker: Broker, keys: KeyStore, numbers: tuple[int, ...], seed: str) -> None:
        super().__init__(broker, "crowd")
        self._dice = random.Random(seed)
        self._base_s = int(time.time()) // 900 * 900 - 900 * 6_000
        self.recording = True
        self.peers = {number: Peer(keys, Now(0), number) for number in numbers}
        self._acked = dict.fromkeys(numbers, 0)
        self._next = dict.fromkeys(numbers, 0.0)
        self._replay = dict.fromkeys(numbers, 0.0)
        self._orders: dict[tuple[int, ...], bytes] = {}
        self.forked: list[tuple[int, ...]] = []

    def records(self, number: int) -> bytes:
        with self._lock:
            return b"".join(self.peers[number].intervals[seq] for seq in sorted(self.peers[number].intervals))

    def credited_uc(self, number: int) -> int:
        with self._lock:
            return self.peers[number].totals.get(1, 0)

    def waiting(self) -> int:
        """Records that nobody has acknowledged."""
        return sum(self.behind().values())

    def behind(self) -> dict[int, int]:
        """The same, by meter."""
        with self._lock:
            found = {number: max(one.intervals, default=0) - self._acked[number] for number, one in self.peers.items()}
        return {number: count for number, count in found.items() if count}

    def _be_born(self) -> None:
        for number, one in self.peers.items():
            self._say(number, topics.UP_STATE, one.report(reports.KIND_BIRTH))

    def _go_on(self, now: float) -> None:
        for number, one in self.peers.items():
            if self.recording and now >= self._next[number]:
                self._next[number] = now + RECORD_S * (0.5 + self._dice.random())
                self._record(one)
            if now >= self._replay[number]:
                self._tell(number, one, now)

    def _record(self, one: Peer) -> None:
        seq = max(one.intervals, default=0) + 1
        one.intervals[seq] = records.pack_interval(seq, self._base_s + 900 * seq, 100 * seq, 0, 100, 0, 15, 0)

    def _tell(self, number: int, one: Peer, now: float) -> None:
        """The oldest of what is not acknowledged, and no more until it is, or was not for a while."""
        if max(one.intervals, default=0) > self._acked[number]:
            self._replay[number] = now + REPLAY_S * (0.5 + self._dice.random())
            self._say(number, topics.UP_INTERVALS, one.batch(self._acked[number] + 1))

    def _hear(self, number: int, what: str, raw: bytes) -> None:
        one = self.peers[number]
        if what == topics.DN_ACK:
            kind, log_id, seq = batches.read_ack(raw, one.number, one.key)
            if (kind, log_id) == (batches.KIND_INTERVALS, one.log_id):
                self._acked[one.number] = max(self._acked[one.number], seq)
                self._replay[one.number] = 0.0
        elif what == topics.DN_ASK:
            self._say(one.number, *one.answer(Ask(one.number, raw)))
        elif what == topics.DN_ORDER:
            self._obey(one, raw)

    def _obey(self, one: Peer, raw: bytes) -> None:
        stated = Order(raw).stated
        total_uc = int.from_bytes(stated.body[:8], "big") if stated.aspect == ASPECT_CREDIT else 0
        known_as = (one.number, stated.aspect, stated.selector, stated.signing_epoch, stated.version, total_uc)
        if self._orders.setdefault(known_as, raw) != raw:
            self.forked.append(known_as)
        if stated.aspect == ASPECT_CREDIT and total_uc >= one.totals.get(stated.selector, 0):
            one.hold(raw)
            one.totals[stated.selector] = total_uc
        self._say(
            one.number, topics.UP_RECEIPT, one.receipt(raw, source_credited_uc=one.totals.get(stated.selector, 0))
        )
