"""The uplink of a meter on a real broker, over TLS with its certificate: a day's records over a link that keeps
breaking, who has gone and who is back, what was sent meanwhile, and how a fleet comes back."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from meter.exchange import Exchange
from meter.line import MQTT_DOWN, MQTT_UP
from meter.shell import uplink
from meter.shell.backoff import Backoff
from meter.shell.tcp_stream import tls_context
from meterlink import batches, reasons, reports, results, topics
from meterlink.batches import Batch
from meterlink.reports import Report
from tests.brokers import METER_ACL, Broker
from tests.firmware.mqtt_peers import LIMIT_S, HeadEnd
from tests.firmware.ramboard import METER, Rig
from tests.proxies import Proxy

STATE, INTERVALS, EVENTS = (topics.up(METER, what) for what in (topics.UP_STATE, topics.UP_INTERVALS, topics.UP_EVENTS))
QUARTERS_A_DAY = 96


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", tls=True, acl=METER_ACL) as running:
        yield running


def link(rig: Rig, broker: Broker, port: int, replay_ms: int = 300) -> uplink.Uplink:
    """The meter's uplink through whatever listens on a port, in the meter's own name."""
    ca, cert, key = (str(path) for path in broker.client_files(topics.meter_name(METER)))
    tls = (tls_context(ca, cert, key), "localhost")
    return uplink.Uplink(rig.meter, "127.0.0.1", port, random.Random(1).randrange, tls, replay_ms=replay_ms)


class Office:
    """A head end that stores records and acknowledges them; `wrong`: batches that ran ahead of what it had."""

    def __init__(self, rig: Rig, peer: HeadEnd) -> None:
        self.rig = rig
        self.peer = peer
        self.stored: dict[int, dict[int, bytes]] = {batches.KIND_INTERVALS: {}, batches.KIND_EVENTS: {}}
        self.births: list[int] = []
        self.batches = 0
        self.wrong = 0

    def take(self) -> None:
        """The next message."""
        message = self.peer.wait()
        if message.topic == STATE:
            if message.payload[1] == reports.KIND_BIRTH:
                self.births.append(Report(message.payload, self.rig.mac_key).boot)
            return
        batch = Batch(message.payload, self.rig.mac_key)
        held = self.stored[batch.kind]
        self.batches += 1
        self.wrong += batch.first > max(held, default=0) + 1
        for at in range(batch.count):
            held[batch.first + at] = batch.records[24 * at : 24 * at + 24]
        last = batch.first + batch.count - 1
        self.peer.send(
            topics.down(METER, topics.DN_ACK),
            batches.pack_ack(batch.kind, METER, batch.log_id, last, self.rig.mac_key),
        )


def test_a_day_arrives_over_a_link_that_keeps_breaking(secure: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "FIRST_WAIT_MS", 20)
    rig = Rig(credit_uc=1_000_000_000)
    rig.board.watts = 1200
    rig.run(86_400, 60)
    newest = [rig.meter.store.intervals.newest, rig.meter.store.events.newest]
    assert newest[0] >= QUARTERS_A_DAY
    draw = random.Random(7)

    async def scene(proxy: Proxy, office: Office) -> None:
        task = asyncio.create_task(link(rig, secure, proxy.port).serve())
        while rig.meter.cursors != newest:
            await asyncio.to_thread(office.take)
            await asyncio.sleep(0.05)  # what it has sent is heard
        task.cancel()

    with Proxy(secure.host, secure.port) as proxy:
        # The handshake takes some 4 KiB of it; what is left is enough for two batches at most, or for none.
        proxy.cut_after(lambda: draw.randrange(3_000, 9_000))
        with HeadEnd(secure, STATE, INTERVALS, EVENTS, files=secure.client_files("head-end")) as peer:
            office = Office(rig, peer)
            asyncio.run(scene(proxy, office))
        assert proxy.accepted > 5
    kept = rig.meter.store
    for kind, ring in ((batches.KIND_INTERVALS, kept.intervals), (batches.KIND_EVENTS, kept.events)):
        assert office.stored[kind] == dict(enumerate(rig.records(ring), ring.oldest))
    assert len(office.stored[batches.KIND_INTERVALS]) == newest[0]
    assert office.wrong == 0
    assert set(office.births) == {rig.meter.boot}


def test_who_has_gone_who_is_back_and_what_was_sent_meanwhile(secure: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uplink, "FIRST_WAIT_MS", 20)
    rig = Rig(credit_uc=1_000_000)

    async def state(peer: HeadEnd) -> tuple[int, int]:
        """(kind, boot) of the next message about the meter's state."""
        raw = (await asyncio.to_thread(peer.wait)).payload
        if raw[1] == reports.KIND_WILL:
            return raw[1], reports.read_will(raw, rig.mac_key)[1]
        return raw[1], Report(raw, rig.mac_key).boot

    async def gone(task: asyncio.Task[None], proxy: Proxy) -> None:
        """The meter's power fails: nothing is said any more, and the broker notices."""
        proxy.freeze()
        task.cancel()
        await asyncio.wait([task])
        proxy.cut()

    async def scene(proxy: Proxy, peer: HeadEnd) -> None:
        first = rig.meter.boot
        task = asyncio.create_task(link(rig, secure, proxy.port).serve())
        assert await state(peer) == (reports.KIND_BIRTH, first)
        while rig.meter.line.mqtt_state != MQTT_UP:  # noqa: ASYNC110 - the core knows no events
            await asyncio.sleep(0.01)
        await gone(task, proxy)
        assert await state(peer) == (reports.KIND_WILL, first)
        order = rig.hold(reasons.HOLD_LEGAL)
        await asyncio.to_thread(peer.send, topics.down(METER, topics.DN_ORDER), order)
        rig.outage(60)
        assert rig.meter.line.mqtt_state != MQTT_UP
        task = asyncio.create_task(link(rig, secure, proxy.port).serve())
        assert await state(peer) == (reports.KIND_BIRTH, first + 1)
        while rig.meter.verifying or not rig.meter.supply.holds:
            rig.meter.verify_slice()
            await asyncio.sleep(0)
        assert rig.meter.supply.holds == 1 << reasons.HOLD_LEGAL
        assert rig.meter.line.mqtt_connects == 1
        proxy.cut()
        assert await state(peer) == (reports.KIND_WILL, first + 1)
        assert await state(peer) == (reports.KIND_BIRTH, first + 1)
        assert rig.meter.line.mqtt_state in (MQTT_DOWN, MQTT_UP)
        task.cancel()

    with Proxy(secure.host, secure.port) as proxy:
        with HeadEnd(secure, STATE, files=secure.client_files("head-end")) as peer:
            asyncio.run(asyncio.wait_for(scene(proxy, peer), LIMIT_S))


def test_nothing_runs_ahead_of_the_head_end() -> None:
    """Without an acknowledgement it is the same batch of each kind for ever, once in replay_ms; with one the next."""
    rig = Rig(credit_uc=1_000_000_000)
    rig.run(86_400, 60)
    exchange = Exchange(rig.meter, 5000)
    said: list[Batch] = []
    for now_ms in range(0, 60_000, 20):
        message = exchange.say(now_ms)
        if message and message[0] in (topics.UP_INTERVALS, topics.UP_EVENTS):
            said.append(Batch(message[1], rig.mac_key))
    for kind in (batches.KIND_INTERVALS, batches.KIND_EVENTS):
        mine = [batch for batch in said if batch.kind == kind]
        assert len(mine) == 12
        assert len({(batch.first, batch.count) for batch in mine}) == 1
    last = next(batch for batch in said if batch.kind == batches.KIND_INTERVALS)
    done = last.first + last.count - 1
    exchange.hear(topics.DN_ACK, batches.pack_ack(last.kind, METER, last.log_id, done, rig.mac_key))
    message = exchange.say(60_000)
    assert message
    assert Batch(message[1], rig.mac_key).first == done + 1


def test_a_fleet_comes_back_spread_out() -> None:
    """A thousand meters that lost their broker at once: no tenth of the time that a wait may take sees a fifth of
    them, whatever the seed, and no meter spins."""
    base_ms, cap_ms = uplink.FIRST_WAIT_MS, uplink.LONGEST_WAIT_MS
    for seed in range(5):
        fleet = [Backoff(base_ms, cap_ms, random.Random(f"{seed}/{n}").randrange) for n in range(1000)]
        for attempt in range(12):
            waits = [backoff.next_ms() for backoff in fleet]
            low_ms, high_ms = base_ms // 2, min(cap_ms, base_ms << attempt)
            assert low_ms <= min(waits)
            assert max(waits) <= high_ms
            tenths = Counter(10 * (wait - low_ms) // (high_ms - low_ms + 1) for wait in waits)
            assert len(tenths) == 10
            assert max(tenths.values()) < 200


def test_an_order_that_came_twice_counts_once() -> None:
    """QoS 1 delivers at least once: the second is known by its version."""
    rig = Rig()
    raw = rig.credit(5_000_000)
    assert rig.give(raw, rig.meter.CARRIER_MQTT) == results.APPLIED
    rig.give(raw, rig.meter.CARRIER_MQTT)
    assert rig.meter.account.balance_uc() == 5_000_000
