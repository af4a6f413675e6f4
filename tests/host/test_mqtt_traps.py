"""The head end on a real broker: each way in which MQTT clients are known to lose or double what they were given."""

import asyncio
import contextlib
import logging
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headend.clock import SystemClock
from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import V5, V311, MqttOptions
from headend.links.mqtt_session import TRIES, Backoff, Session
from headend.orders.actions import Ack, Ask, Deliver
from meterlink import topics
from tests.brokers import Broker
from tests.host.mqtt_rig import HEAD_END, Store, carrier, options, peer, run, until
from tests.host.upward import singly
from tests.proxies import Proxy

A, B = 7, 9  # meters on lanes of their own


def sent_to_us(broker: Broker) -> list[tuple[int, int]]:
    """(packet id, duplicate flag) of each message that the broker has given the head end."""
    found = re.findall(rf"Sending PUBLISH to {HEAD_END} \(d(\d), q1, r\d, m(\d+),", broker.log())
    return [(int(mid), int(dup)) for dup, mid in found]


def acknowledged_by_us(broker: Broker) -> list[int]:
    """Packet ids in the order of their acknowledgements."""
    return [int(mid) for mid in re.findall(rf"Received PUBACK from {HEAD_END} \(Mid: (\d+)", broker.log())]


@pytest.mark.parametrize("version", [V5, V311])
def test_what_is_not_acknowledged_comes_again_on_a_new_connection_only(tmp_path: Path, version: str) -> None:
    async def scenario() -> None:
        store = Store()
        store.hold(b"first")
        with Broker(tmp_path) as broker, Proxy(broker.host, broker.port) as proxy, peer(broker) as meter:
            async with carrier(store, options(broker, proxy.port, version=version, keepalive_s=1)) as link:
                meter.say(A, topics.UP_REPORT, b"first")
                await until(lambda: store.times_entered(b"first") == 1, "the message was handed in")
                pings = broker.log().count(f"Received PINGREQ from {HEAD_END}")
                await until(
                    lambda: broker.log().count(f"Received PINGREQ from {HEAD_END}") >= pings + 2, "two more pings"
                )
                assert sent_to_us(broker) == [(1, 0)]  # time passes, the broker waits
                proxy.cut()
                await until(lambda: len(sent_to_us(broker)) == 2, "it came again")
                assert sent_to_us(broker)[1] == (1, 1)
                assert acknowledged_by_us(broker) == []
                store.release()
                await until(lambda: acknowledged_by_us(broker) == [1], "it was acknowledged once")
                assert link.session.counts["connections"] == 2
        assert set(store.committed) == {(A, topics.UP_REPORT, b"first")}

    run(scenario())


_DIES = """
import asyncio, sys, time
from headend.links.mqtt import MqttCarrier
from headend.links.mqtt_options import MqttOptions

def up(messages):
    for meter, what, raw in messages:
        print("taken", raw.decode(), flush=True)
    time.sleep(600)  # never committed

async def main():
    link = MqttCarrier(MqttOptions("127.0.0.1", int(sys.argv[1]), sys.argv[2], version=sys.argv[3]))
    await link.start(up)
    while not link.session.connected:
        await asyncio.sleep(0.01)
    print("connected", flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.parametrize("version", [V5, V311])
def test_a_killed_process_loses_nothing_that_it_had_not_committed(tmp_path: Path, version: str) -> None:
    async def scenario(broker: Broker) -> None:
        store = Store()
        async with carrier(store, options(broker, version=version)) as link:
            await until(lambda: store.has(b"unacknowledged", b"while nobody was there"), "both came")
            assert link.session.counts["sessions_begun"] == 0  # it went on with the dead one's

    with Broker(tmp_path) as broker, peer(broker) as meter:
        words = [sys.executable, "-c", _DIES, str(broker.port), HEAD_END, version]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "connected\n"
            meter.say(A, topics.UP_RECEIPT, b"unacknowledged")
            assert process.stdout.readline() == "taken unacknowledged\n"
        finally:
            process.send_signal(signal.SIGKILL)
            process.communicate()
        meter.say(B, topics.UP_RECEIPT, b"while nobody was there")
        run(scenario(broker))


def test_an_error_while_a_message_is_stored_leaves_the_thread_alive_and_brings_the_message_again(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        store = Store()
        store.fail(b"unlucky", 1, ZeroDivisionError("of all things"))
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker)) as link:
                meter.say(A, topics.UP_RECEIPT, b"unlucky")
                meter.say(B, topics.UP_RECEIPT, b"next")
                await until(lambda: store.has(b"unlucky", b"next"), "both are stored")
                await until(lambda: link.session.connected, "it is connected again")
                assert link.session.alive
                assert link.session.counts["connections"] == 2
                assert store.times_entered(b"unlucky") == 2

    run(scenario())


def test_a_message_that_always_fails_is_set_aside_while_others_are_stored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        store = Store()
        store.fail(b"poison", 1_000_000)
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker)) as link:
                meter.say(A, topics.UP_RECEIPT, b"poison")
                number = 0
                while not link.session.counts["set_aside"]:
                    number += 1
                    good = b"good %d" % number
                    meter.say(B, topics.UP_RECEIPT, good)
                    await until(lambda good=good: store.has(good), "others get through")  # type: ignore[misc]
                assert store.times_entered(b"poison") >= TRIES
                meter.say(A, topics.UP_RECEIPT, b"after it")
                await until(lambda: store.has(b"after it"), "the session goes on")

    with caplog.at_level(logging.ERROR):
        run(scenario())
    assert b"poison".hex() in caplog.text


def test_while_the_store_is_down_nothing_is_set_aside(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        for payload in (b"one", b"two", b"three"):
            store.fail(payload, 2 * TRIES)
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker)) as link:
                for payload in (b"one", b"two", b"three"):
                    meter.say(A, topics.UP_RECEIPT, payload)
                await until(lambda: store.has(b"one", b"two", b"three"), "all are stored when it is back")
                await until(lambda: len(set(acknowledged_by_us(broker))) == 3, "acknowledged")
                assert link.session.counts["set_aside"] == 0
                assert link.session.counts["failed"] > TRIES

    run(scenario())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ended_is_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker)) as link:
                arrived = Session._arrived

                def dies(*arguments: object) -> None:
                    monkeypatch.setattr(Session, "_arrived", arrived)
                    raise SystemExit  # which no handler of errors catches

                monkeypatch.setattr(Session, "_arrived", dies)
                meter.say(A, topics.UP_RECEIPT, b"deadly")
                await until(lambda: store.has(b"deadly"), "it was given to a new thread")
                assert link.session.alive

    run(scenario())


def test_after_a_broker_restart_an_old_packet_id_acknowledges_nothing_new(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        store.hold(b"old")
        store.hold(b"new")
        with Broker(tmp_path) as broker, Proxy(broker.host, broker.port) as proxy:
            async with carrier(store, options(broker, proxy.port)) as link:
                with peer(broker) as meter:
                    meter.say(A, topics.UP_RECEIPT, b"old")
                    await until(lambda: store.times_entered(b"old") == 1, "the old one is being stored")
                broker.restart()  # without persistence: it forgets, and counts packets from 1 again
                begun = link.session.counts["sessions_begun"]
                await until(lambda: link.session.counts["sessions_begun"] > begun or begun > 1, "a new session")
                await until(lambda: link.session.connected, "it is connected again")
                with peer(broker) as meter:
                    meter.say(B, topics.UP_RECEIPT, b"new")
                    await until(lambda: store.times_entered(b"new") == 1, "the new one is being stored")
                    assert [mid for mid, _ in sent_to_us(broker)] == [1, 1]  # the same packet id
                    store._held[b"old"].set()
                    await until(lambda: store.has(b"old"), "the old one is committed")
                    meter.say(A, topics.UP_RECEIPT, b"behind")  # the session has looked at what is done by now
                    await until(lambda: store.has(b"behind"), "the link has been round")
                    assert acknowledged_by_us(broker) == []
                    proxy.cut()
                    await until(
                        lambda: len(sent_to_us(broker)) >= 4, "the new one comes again: it was never acknowledged"
                    )
                    store.release()
                    await until(lambda: store.has(b"new"), "it is committed")

    run(scenario())


@pytest.mark.parametrize("version", [V5, V311])
def test_more_than_twenty_may_be_under_way(tmp_path: Path, version: str) -> None:
    async def scenario() -> None:
        store = Store()
        payloads = [b"message %d" % number for number in range(150)]
        for payload in payloads:
            store.hold(payload)
        extra = ["max_inflight_messages 200"] if version == V311 else []  # in 3.1.1 it is the broker's to say
        with Broker(tmp_path, extra=extra) as broker, peer(broker) as meter:
            async with carrier(store, options(broker, version=version)) as link:
                for number, payload in enumerate(payloads):
                    meter.say(A + number, topics.UP_REPORT, payload)
                await until(lambda: len(sent_to_us(broker)) == 150, "all are under way")
                assert acknowledged_by_us(broker) == []
                store.release()
                await until(lambda: len(acknowledged_by_us(broker)) == 150, "all are acknowledged")
                assert link.session.counts["connections"] == 1
                meter.listen(topics.down(A, "#"))
                answers = await asyncio.gather(*(link.send(Ask(A, b"%d" % number)) for number in range(300)))
                assert all(answers)
                await until(lambda: len(meter.heard) == 300, "all questions came through")

    run(scenario())


def test_a_stalled_consumer_keeps_its_connection_and_loses_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        store.hold(b"stalls")
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker, keepalive_s=1, window=10)) as link:
                meter.say(A, topics.UP_REPORT, b"stalls")
                payloads = [b"%d" % number for number in range(60)]
                for payload in payloads:
                    meter.say(A, topics.UP_REPORT, payload)
                await until(lambda: broker.log().count(f"Received PINGREQ from {HEAD_END}") >= 3, "pings go on")
                assert len(sent_to_us(broker)) == 10  # the broker holds the rest back
                store.release()
                await until(lambda: store.has(*payloads), "all are stored")
                assert link.session.counts["connections"] == 1
                assert [raw for _, _, raw in store.committed] == [b"stalls", *payloads]  # in their order

    run(scenario())


def test_acknowledgements_go_out_in_the_order_of_arrival(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        store.hold(b"slow")
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker)):
                meter.say(A, topics.UP_REPORT, b"slow")
                for number in range(5):
                    meter.say(B, topics.UP_REPORT, b"quick %d" % number)
                await until(lambda: store.has(b"quick 4"), "the quick ones are stored")
                assert acknowledged_by_us(broker) == []
                store.release()
                await until(lambda: len(acknowledged_by_us(broker)) == 6, "all are acknowledged")
                assert acknowledged_by_us(broker) == [mid for mid, _ in sent_to_us(broker)] == [1, 2, 3, 4, 5, 6]

    run(scenario())


def test_a_connection_cut_before_each_acknowledgement_doubles_but_never_loses(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        payloads = [b"message %d" % number for number in range(40)]
        with Broker(tmp_path) as broker, Proxy(broker.host, broker.port) as proxy, peer(broker) as meter:
            async with carrier(store, options(broker, proxy.port)) as link:
                for number, payload in enumerate(payloads):
                    store.hold(payload)
                    meter.say(A + number, topics.UP_REPORT, payload)
                    if number % 10 == 9:
                        await until(lambda n=number: len(sent_to_us(broker)) > n, "all are sent")  # type: ignore[misc]
                        await until(lambda: bool(store.entered), "one of them is with us")
                        proxy.cut()
                store.release()
                await until(lambda: store.has(*payloads), "all are stored")
                await until(lambda: len(set(acknowledged_by_us(broker))) == len(payloads), "all are acknowledged")
                again = link.session.counts["connections"]
            assert len(store.committed) > len(payloads)  # duplicates are certain; what they are, the store knows
            quiet = Store()
            async with carrier(quiet, options(broker)):
                meter.say(A, topics.UP_REPORT, b"the last")
                await until(lambda: quiet.has(b"the last"), "the broker has nothing else for us")
            assert [raw for _, _, raw in quiet.entered] == [b"the last"]
            assert again >= 4

    run(scenario())


def test_a_stop_for_a_session_that_is_away_is_dropped_by_the_broker(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        clock = SystemClock()
        with Broker(tmp_path) as broker:
            with peer(broker, clean=False) as meter:
                meter.listen(topics.down(A, "#"))  # a session that waits at the broker, and no word of its leaving
            async with carrier(store, options(broker)) as link:
                last_s = clock.now_s() + 1
                assert await link.send(Deliver(A, 1, b"a stop", last_s))
                assert await link.send(Deliver(A, 2, b"a credit", 0))
                await until(lambda: clock.now_s() > last_s + 2, "its time has passed")
                late = await link.send(Deliver(A, 3, b"a late stop", last_s))
                assert not late.ok
                assert "last second" in late.note
                with peer(broker, clean=False) as meter:
                    await until(lambda: len(meter.heard) >= 1, "what waited is handed over")
                    assert await link.send(Ack(A, b"sentinel"))
                    await until(lambda: any(raw == b"sentinel" for _, raw, _ in meter.heard), "all has come")
                    assert [raw for _, raw, _ in meter.heard] == [b"a credit", b"sentinel"]

    run(scenario())


def test_nothing_is_sent_to_a_meter_that_is_known_to_be_away_or_was_never_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        birth, will = b"\x01\x03" + bytes(194), b"\x01\x04" + bytes(26)
        with Broker(tmp_path) as broker, peer(broker) as meter:
            meter.listen(topics.down(A, "#"))
            async with carrier(store, options(broker)) as link:
                assert await link.send(Ask(A, b"before any word"))
                meter.say(A, topics.UP_STATE, will, retain=True)
                await until(lambda: store.has(will), "the will came")
                refused = await link.send(Ask(A, b"to nobody"))
                assert (refused.ok, refused.note) == (False, "The meter is not at the broker.")
                assert not link.reaches(A)
                meter.say(A, topics.UP_STATE, birth, retain=True)
                await until(lambda: store.has(birth), "it is back")
                assert await link.send(Ask(A, b"to somebody"))
                stranger = await link.send(Ask(B, b"to nobody"))
                assert (stranger.ok, stranger.note) == (False, "The meter has no session at the broker.")
                await until(lambda: len(meter.heard) == 2, "two came")
                assert [raw for _, raw, _ in meter.heard] == [b"before any word", b"to somebody"]

    run(scenario())


def test_a_stop_over_3_1_1_goes_only_to_a_meter_that_is_known_to_be_there(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        birth = b"\x01\x03" + bytes(194)
        last_s = int(time.time()) + 600
        with Broker(tmp_path) as broker, peer(broker) as meter:
            meter.listen(topics.down(A, "#"))
            async with carrier(store, options(broker, version=V311)) as link:
                refused = await link.send(Deliver(A, 1, b"a stop", last_s))
                assert not refused.ok
                assert "3.1.1" in refused.note
                assert await link.send(Deliver(A, 2, b"a credit"))
                meter.say(A, topics.UP_STATE, birth, retain=True)
                await until(lambda: store.has(birth), "it is there")
                assert await link.send(Deliver(A, 1, b"a stop", last_s))
                await until(lambda: len(meter.heard) == 2, "both came")

    run(scenario())


def test_the_pieces_of_a_body_go_before_their_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        pieces = tuple(b"piece %d" % number for number in range(11))
        with Broker(tmp_path) as broker, peer(broker) as meter:
            meter.listen(topics.down(A, "#"))
            async with carrier(store, options(broker)) as link:
                assert await link.send(Deliver(A, 1, b"an order", parcels=pieces))
                await until(lambda: len(meter.heard) == 12, "all came")
        parcel, order = topics.down(A, topics.DN_PARCEL), topics.down(A, topics.DN_ORDER)
        assert meter.heard == [*((parcel, piece, False) for piece in pieces), (order, b"an order", False)]

    run(scenario())


def test_an_order_does_not_go_where_a_piece_of_its_body_could_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        with Broker(tmp_path) as broker:
            async with carrier(Store(), options(broker)) as link:
                sent = await link.send(Deliver(B, 1, b"an order", parcels=(b"a piece",)))
                assert (sent.ok, sent.note) == (False, "The meter has no session at the broker.")
                with peer(broker, "000000000008") as meter:
                    meter.listen(topics.down(B, "#"))
                    assert await link.send(Ask(B, b"sentinel"))
                    await until(lambda: len(meter.heard) == 1, "the sentinel came")
                    assert [raw for _, raw, _ in meter.heard] == [b"sentinel"]

    run(scenario())


def test_what_goes_down_is_never_retained(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path) as broker, peer(broker) as meter:
            meter.listen(topics.down(A, "#"))
            async with carrier(store, options(broker)) as link:
                for action in (Deliver(A, 1, b"an order"), Ask(A, b"a question"), Ack(A, b"an acknowledgement")):
                    assert await link.send(action)
                await until(lambda: len(meter.heard) == 3, "all came")
                assert [topic for topic, _, _ in meter.heard] == [
                    topics.down(A, what) for what in (topics.DN_ORDER, topics.DN_ASK, topics.DN_ACK)
                ]
                with peer(broker, "000000000008") as late:
                    late.listen(topics.down(A, "#"))
                    assert await link.send(Ask(A, b"sentinel"))
                    await until(lambda: len(late.heard) == 1, "the sentinel came")
                    assert late.heard == [(topics.down(A, topics.DN_ASK), b"sentinel", False)]

    run(scenario())


async def _one_that_takes_over(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A broker that lets one in (CONNACK, SUBACK for 64 filters) and puts it out (DISCONNECT 0x8E)."""
    await reader.readuntil(HEAD_END.encode())
    writer.write(b"\x20\x03\x00\x00\x00")
    await reader.readuntil(b"op/1/63/+/up/#")
    writer.write(b"\x90\x43\x00\x01\x00" + b"\x01" * 64)
    await asyncio.sleep(0.2)  # in a packet of its own, or not: either is well
    writer.write(b"\xe0\x01\x8e")
    await writer.drain()
    writer.close()


def test_a_session_that_another_client_has_taken_over_is_left_to_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncio.start_server(_one_that_takes_over, "127.0.0.1", 0)
        where = MqttOptions("127.0.0.1", server.sockets[0].getsockname()[1], HEAD_END, longest_wait_s=600)
        link = MqttCarrier(where)
        async with server:
            await link.start(singly(Store().up))
            await until(lambda: "taken over" in link.session.trouble.lower(), "it learned why")
            refused = await link.send(Ask(A, b"question"))
            assert not refused.ok
            assert "taken over" in refused.note.lower()
            assert link.session.counts["connections"] == 1
            await link.stop()

    run(scenario())


def test_no_more_is_under_way_than_the_broker_allows() -> None:
    """It announces a receive maximum of 3 and acknowledges one message at a time."""
    seen: list[int] = []  # how many had come, each time before one was acknowledged

    async def a_slow_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(HEAD_END.encode())
        writer.write(b"\x20\x06\x00\x00\x03\x21\x00\x03")
        await reader.readuntil(b"op/1/63/+/up/#")
        writer.write(b"\x90\x43\x00\x01\x00" + b"\x01" * 64)
        heard, acknowledged = b"", 0
        while data := await reader.read(4096):
            heard += data
            mids = re.findall(rb"/dn/ask(..)", heard, re.DOTALL)
            if len(mids) >= min(acknowledged + 3, 10) and acknowledged < len(mids):
                seen.append(len(mids))
                writer.write(b"\x40\x02" + mids[acknowledged])
                acknowledged += 1
                if len(mids) == 10:
                    for mid in mids[acknowledged:]:
                        writer.write(b"\x40\x02" + mid)
                    acknowledged = 10

    async def scenario() -> None:
        server = await asyncio.start_server(a_slow_one, "127.0.0.1", 0)
        link = MqttCarrier(MqttOptions("127.0.0.1", server.sockets[0].getsockname()[1], HEAD_END))
        async with server:
            await link.start(singly(Store().up))
            await until(lambda: link.session.connected, "it is let in")
            assert all(await asyncio.gather(*(link.send(Ask(A, b"question")) for _ in range(10))))
            await link.stop()
        assert seen == [3, 4, 5, 6, 7, 8, 9, 10]

    run(scenario())


def test_waits_double_until_a_connection_was_worth_it() -> None:
    backoff = Backoff(0.5, 60.0, lambda: 1.0)
    assert [backoff.pause_s(0.0001) for _ in range(10)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert backoff.pause_s(239.0) == 60.0  # it was put out again in less than four times the wait
    assert backoff.pause_s(241.0) == 0.5
    assert backoff.pause_s(100.0, taken_over=True) == 60.0
    calm = Backoff(0.5, 60.0, lambda: 0.0)
    assert [calm.pause_s(0.0001) for _ in range(3)] == [0.25, 0.5, 1]


def test_while_the_broker_is_away_sending_is_refused_and_the_link_comes_back(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path, persistence=True) as broker:
            async with carrier(store, options(broker)) as link:
                with peer(broker) as meter:
                    meter.listen(topics.down(A, "#"))
                broker.stop()
                await until(lambda: not link.session.connected, "it noticed")
                assert not await link.send(Ask(A, b"question"))
                broker.start()
                await until(lambda: link.session.connected, "it is back")
                with peer(broker) as meter:
                    meter.listen(topics.down(A, "#"))
                    assert await link.send(Ask(A, b"question"))
                    await until(lambda: len(meter.heard) == 1, "it came")

    run(scenario())


def test_a_broker_that_stands_still_ends_the_wait_for_its_acknowledgement(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path) as broker, peer(broker) as meter:
            meter.listen(topics.down(A, "#"))
            async with carrier(store, options(broker, answer_s=0.5)) as link:
                broker.freeze()
                try:
                    refused = await link.send(Ask(A, b"question"))
                finally:
                    broker.thaw()
                assert not refused.ok
                assert "not acknowledged" in refused.note

    run(scenario())


def test_what_is_not_for_us_is_acknowledged_counted_and_left(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker, version=V311)) as link:
                meter.publish("op/1/08/000000000007/up/report", b"wrong shard")
                meter.publish("op/1/07/000000000007/up/gossip", b"unknown kind")
                meter.publish("op/1/07/7/up/report", b"no meter's name")
                meter.say(A, topics.UP_REPORT, bytes(5000))
                meter.say(A, topics.UP_STATE, b"", retain=True)
                meter.say(A, topics.UP_REPORT, b"good")
                await until(lambda: len(acknowledged_by_us(broker)) == 6, "all are off the broker's hands")
                assert store.committed == [(A, topics.UP_REPORT, b"good")]
                assert link.counts == {"strange_topic": 3, "oversize": 1}

    run(scenario())


def test_a_session_hears_its_own_shards(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = Store()
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker, shards=frozenset({topics.shard(B)}))) as link:
                meter.say(A, topics.UP_REPORT, b"of another shard")
                meter.say(B, topics.UP_REPORT, b"of ours")
                await until(lambda: store.has(b"of ours"), "ours came")
                assert [raw for _, _, raw in store.entered] == [b"of ours"]
                assert not await link.send(Ask(A, b"question"))

    run(scenario())


def test_stopping_acknowledges_what_is_committed_and_leaves_the_rest_to_the_successor(tmp_path: Path) -> None:
    async def scenario() -> None:
        store, successor = Store(), Store()
        store.hold(b"in hand")
        with Broker(tmp_path) as broker, peer(broker) as meter:
            async with carrier(store, options(broker)):
                meter.say(A, topics.UP_REPORT, b"in hand")
                for number in range(5):
                    meter.say(A, topics.UP_REPORT, b"behind it %d" % number)  # they wait on its lane
                await until(lambda: len(sent_to_us(broker)) == 6, "all are with us")
                store._held[b"in hand"].set()
            stored = {raw for _, _, raw in store.committed}
            async with carrier(successor, options(broker)):
                everything = {b"in hand", *(b"behind it %d" % number for number in range(5))}
                await until(lambda: stored | {raw for _, _, raw in successor.committed} == everything, "all are stored")
                assert b"in hand" not in {raw for _, _, raw in successor.committed}
                with contextlib.suppress(KeyError):
                    successor.release()

    run(scenario())
