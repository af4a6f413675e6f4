"""The meter's MQTT client against a real Mosquitto, on CPython and on MicroPython (a child process each)."""

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.brokers import METER_ACL, Broker, free_port
from tests.firmware.mqtt_peers import LIMIT_S, Child, Failed, HeadEnd, RawPeer
from tests.pki import Authority
from tests.proxies import Proxy

UP = "op/1/07/M42/up/iv"
DOWN = "op/1/07/M42/dn/order"
DOWN_ALL = "op/1/07/M42/dn/#"
WILL = ("op/1/07/M42/up/state", "gone", True, 1)


@pytest.fixture(params=["cpython", "micropython"])
def child(request: pytest.FixtureRequest) -> Iterator[Child]:
    with Child(request.param) as running:
        yield running


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker") as running:
        yield running


def make(child: Child, peer: Any, **options: Any) -> None:
    """A client in the child for whatever has a host and a port."""
    child.call("make", **{"host": "127.0.0.1", "port": peer.port, "client_id": "M42", **options})


def tls_options(files: tuple[Path, Path, Path], name: str = "localhost") -> dict[str, str]:
    ca, cert, key = (str(path) for path in files)
    return {"ca": ca, "cert": cert, "key": key, "name": name}


# ---- both ways


def test_qos_1_both_ways(child: Child, broker: Broker) -> None:
    with HeadEnd(broker, "op/1/+/+/up/#") as head_end:
        make(child, broker)
        assert child.call("connect") is False
        assert child.call("subscribe", topic=DOWN_ALL, qos=1) == 1
        child.call("publish", topic=UP, payload="reading")
        message = head_end.wait()
        assert (message.topic, message.payload, message.qos, message.dup) == (UP, b"reading", 1, False)
        head_end.send(DOWN, "stop")
        assert child.wait("message") == {"event": "message", "topic": DOWN, "payload": "stop", "retained": False}


def test_qos_0_both_ways(child: Child, broker: Broker) -> None:
    with HeadEnd(broker, "op/1/+/+/up/#") as head_end:
        make(child, broker)
        child.call("connect")
        assert child.call("subscribe", topic=DOWN_ALL, qos=0) == 0
        child.call("publish", topic=UP, payload="reading", qos=0)
        assert head_end.wait().qos == 0
        head_end.send(DOWN, "hint", qos=0)
        assert child.wait("message")["payload"] == "hint"


def test_retained_messages_are_told_apart(child: Child, broker: Broker) -> None:
    with HeadEnd(broker) as head_end:
        head_end.send(DOWN, "old", retain=True)
        make(child, broker)
        child.call("connect")
        child.call("publish", topic=UP, payload="birth", retain=True)
        child.call("subscribe", topic=DOWN_ALL)
        assert child.wait("message")["retained"] is True
        head_end.send(DOWN, "new")
        assert child.wait("message")["retained"] is False
    with HeadEnd(broker, UP, client_id="late") as late:
        birth = late.wait()
        assert (birth.payload, birth.retain) == (b"birth", True)


def test_messages_larger_than_one_read_keep_their_order_and_bytes(child: Child, broker: Broker) -> None:
    """Bodies around the read size, the length's second byte and the limit, sent in one burst."""
    sizes = [0, 1, 90, 91, 92, 127, 128, 129, 255, 256, 257, 900, 1024 - len(DOWN) - 4]
    with HeadEnd(broker) as head_end:
        make(child, broker)
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        payloads = ["".join(chr(33 + (at * 7 + size) % 90) for at in range(size)) for size in sizes]
        for payload in payloads:
            head_end.send(DOWN, payload)
        assert child.payloads(lambda found: len(found) == len(payloads)) == payloads


def test_publishes_beyond_the_window_wait_their_turn(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer, window=2, keepalive_s=4)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        publishes = [child.start("publish", topic="t", payload=str(number)) for number in range(4)]
        first, second = peer.packet(), peer.packet()
        assert {first[-1:], second[-1:]} == {b"0", b"1"}
        assert peer.packet() == b"\xc0\x00"  # a ping, where a wider window would have sent the third
        peer.send(b"\xd0\x00", b"\x40\x02" + first[5:7])
        third = peer.packet()
        assert third[-1:] in (b"2", b"3")
        peer.send(b"\x40\x02" + second[5:7], b"\x40\x02" + third[5:7])
        fourth = peer.packet()
        peer.send(b"\x40\x02" + fourth[5:7])
        for number in publishes:
            child.result(number)
        assert len({packet[5:7] for packet in (first, second, third, fourth)}) == 4


# ---- the life of a link


def test_the_will_speaks_when_the_meter_dies(child: Child, broker: Broker) -> None:
    with HeadEnd(broker, WILL[0]) as head_end:
        make(child, broker, will=WILL)
        child.call("connect")
        child.kill()
        will = head_end.wait()
        assert (will.payload, will.qos) == (b"gone", 1)


def test_the_will_stays_silent_after_close(child: Child, broker: Broker) -> None:
    with HeadEnd(broker, "op/1/+/+/up/#") as head_end:
        make(child, broker, will=WILL)
        child.call("connect")
        child.call("close")
        assert child.wait("end")["reason"] is None
        child.call("connect")  # the broker takes a will back when it takes the client back, so this comes after it
        child.call("publish", topic=UP, payload="first")
        assert head_end.wait().payload == b"first"


def test_a_cancelled_link_is_closed_without_farewell(child: Child, broker: Broker) -> None:
    with HeadEnd(broker, WILL[0]) as head_end:
        make(child, broker, will=WILL)
        child.call("connect")
        child.call("cancel")
        assert head_end.wait().payload == b"gone"
        with pytest.raises(Failed, match="not_connected"):
            child.call("publish", topic=UP, payload="x")
        child.call("connect")
        child.call("publish", topic=UP, payload="back")


def test_what_was_sent_while_away_comes_on_return(child: Child, broker: Broker) -> None:
    with HeadEnd(broker) as head_end:
        make(child, broker)
        assert child.call("connect") is False
        child.call("subscribe", topic=DOWN_ALL)
        child.call("close")
        for number in range(30):
            head_end.send(DOWN, str(number))
        assert child.call("connect") is True
        assert child.payloads(lambda found: len(found) == 30) == [str(number) for number in range(30)]


def test_an_unacknowledged_message_comes_again_marked(child: Child, broker: Broker) -> None:
    """The link breaks after the message has come and before its PUBACK is out: Mosquitto sends it again with DUP."""
    with Proxy("127.0.0.1", broker.port) as proxy, HeadEnd(broker) as head_end:
        make(child, proxy)
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        proxy.cut()
        child.wait("end")
        size = 300
        proxy.cut_after(len(_connect_bytes()) + 4 + 2 + len(DOWN) + 3 + size + 2)  # the last byte of that PUBLISH
        head_end.send(DOWN, "x" * size)
        assert child.call("connect") is True
        child.wait("end")
        proxy.cut_after(None)
        child.call("connect")
        found = child.payloads(lambda found: "next" in found or head_end_says_next(head_end, found))
        assert found[-1] == "next"
        assert set(found[:-1]) == {"x" * size}
    assert f"Sending PUBLISH to M42 (d1, q1, r0, m1, '{DOWN}'" in broker.log()


def head_end_says_next(head_end: HeadEnd, found: list[str]) -> bool:
    if found:
        head_end.send(DOWN, "next")
    return False


def _connect_bytes() -> bytes:
    from meter.shell.mqtt_codec import encode_connect

    return bytes(encode_connect("M42", 60))


def test_a_publish_whose_puback_was_lost_is_sent_again_as_the_same(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        sending = child.start("publish", topic="t", payload="reading")
        first = peer.packet()
        peer.drop()
        with pytest.raises(Failed) as lost:
            child.result(sending)
        assert lost.value.packet_id == int.from_bytes(first[5:7], "big")

        for flags, session in ((0x08, b"\x01"), (0x00, b"\x00")):  # DUP if the session was resumed, new if not
            connecting = child.start("connect")
            peer.accept(b"\x20\x02" + session + b"\x00")
            child.result(connecting)
            sending = child.start("publish", topic="t", payload="reading", resend_id=lost.value.packet_id)
            second = peer.packet()
            assert second[0] == 0x32 | flags
            assert (second[1:] == first[1:]) == bool(flags)
            peer.send(b"\x40\x02" + second[5:7])
            child.result(sending)
            peer.drop()
            child.wait("end")


@pytest.mark.parametrize("end", ["stop", "kill"])
@pytest.mark.parametrize("persistence", [True, False])
def test_the_broker_goes_and_comes_back(child: Child, tmp_path: Path, end: str, persistence: bool) -> None:
    """In the middle of a stream of publishes. Each is acknowledged or fails; afterwards all works as before."""
    with Broker(tmp_path / "broker", persistence=persistence) as broker:
        make(child, broker, window=8)
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        publishes = [child.start("publish", topic=UP, payload=str(number)) for number in range(40)]
        child.result(publishes[0])
        getattr(broker, end)()
        assert child.wait("end")["reason"] in ("closed", "io")
        for number in publishes[1:]:
            try:
                child.result(number)
            except Failed as failed:
                assert failed.reason in ("closed", "io", "not_connected")
        with pytest.raises(Failed, match="io"):
            child.call("connect")
        broker.start()
        resumed = child.call("connect")
        if end == "stop":
            assert resumed is persistence
        child.call("subscribe", topic=DOWN_ALL)
        with HeadEnd(broker, "op/1/+/+/up/#", client_id="after") as head_end:
            child.call("publish", topic=UP, payload="back")
            assert head_end.wait().payload == b"back"
            head_end.send(DOWN, "go")
            assert child.wait("message")["payload"] == "go"


def test_nothing_acknowledged_is_lost_on_a_link_that_keeps_breaking(child: Child, broker: Broker) -> None:
    """Both ways at once; each connection breaks after a number of bytes that a seeded generator draws."""
    draw = random.Random(42)
    count = 120
    with Proxy("127.0.0.1", broker.port) as proxy, HeadEnd(broker, "op/1/+/+/up/#") as head_end:
        proxy.cut_after(lambda: draw.randrange(20, 1500))
        make(child, proxy)
        serving = child.start("serve", topic=UP, count=count, down=DOWN_ALL)
        arrived = [int(head_end.wait().payload)]  # the subscription stands: nothing is published before it
        for number in range(count):
            head_end.send(DOWN, str(number))
        assert child.result(serving)["links"] > 3
        while set(arrived) != set(range(count)):
            arrived.append(int(head_end.wait().payload))
        assert list(dict.fromkeys(arrived)) == list(range(count))  # in order, repeats aside
        proxy.cut_after(None)
        child.call("connect")
        wanted = {str(number) for number in range(count)}
        assert set(child.payloads(lambda found: wanted <= set(found))) == wanted


def test_a_half_open_link_is_noticed(child: Child, broker: Broker) -> None:
    with Proxy("127.0.0.1", broker.port) as proxy:
        make(child, proxy, keepalive_s=4)
        child.call("connect")
        proxy.freeze()
        assert child.wait("end")["reason"] == "half_open"
        child.call("connect")
        child.call("publish", topic=UP, payload="x")


def test_an_idle_link_is_kept_alive_by_pings(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer, keepalive_s=4)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        for _ in range(3):
            assert peer.packet() == b"\xc0\x00"
            peer.send(b"\xd0\x00")
        sending = child.start("publish", topic="t", payload="x")
        packet = peer.packet()
        while packet == b"\xc0\x00":
            packet = peer.packet()
        peer.send(b"\x40\x02" + packet[5:7])
        child.result(sending)


def test_a_busy_link_is_pinged_as_well(child: Child) -> None:
    """The broker counts what the client sends: hearing enough is not enough."""
    with RawPeer() as peer:
        make(child, peer, keepalive_s=4)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        packet = None
        for _ in range(5 * LIMIT_S):
            peer.send(b"\x30\x04\x00\x01tx")  # QoS 0: nothing to answer
            packet = peer.packet_within(0.2)
            if packet is not None:
                break
        assert packet == b"\xc0\x00"


def test_a_missing_acknowledgement_ends_the_link(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer, keepalive_s=4, reply_s=1)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        with pytest.raises(Failed, match="no_reply"):
            child.call("publish", topic="t", payload="x")
        assert child.wait("end")["reason"] == "no_reply"


def test_an_address_where_nobody_answers(child: Child) -> None:
    before = child.sockets()
    with RawPeer() as peer:  # accepts by the system's backlog, says nothing
        make(child, peer, reply_s=1)
        for _ in range(3):
            with pytest.raises(Failed, match="timeout"):
                child.call("connect")
    child.call("make", host="127.0.0.1", port=free_port(), client_id="M42")
    for _ in range(3):
        with pytest.raises(Failed, match="io"):
            child.call("connect")
    assert child.sockets() == before


def test_an_address_that_swallows_connections(child: Child) -> None:
    """A listener whose queue is full lets a connection hang, as a firewall does that drops packets."""
    before = child.sockets()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        address = listener.getsockname()
        full = False
        while not full:
            filler = waiting.enter_context(socket.socket())
            filler.settimeout(0.5)
            full = filler.connect_ex(address) != 0
        child.call("make", host=address[0], port=address[1], client_id="M42", reply_s=1)
        for _ in range(3):
            with pytest.raises(Failed, match="timeout"):
                child.call("connect")
        assert child.sockets() == before


# ---- the application


def test_a_stumbling_application_does_not_cost_the_link(child: Child, broker: Broker) -> None:
    with HeadEnd(broker) as head_end:
        make(child, broker)
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        for payload in ("raise", "raise", "fine"):
            head_end.send(DOWN, payload)
        child.payloads(lambda found: found[-1:] == ["fine"])
        child.call("publish", topic=UP, payload="after")
        assert child.call("state")["callback_errors"] == 2
        child.call("close")
        child.call("connect")
        child.call("publish", topic=UP, payload="after")
        head_end.send(DOWN, "last")
        assert child.wait("message")["payload"] == "last"  # none of the others came again before it
    assert "(d1," not in broker.log()


def test_a_message_beyond_the_limit_is_acknowledged_and_counted(child: Child, broker: Broker) -> None:
    with HeadEnd(broker) as head_end:
        make(child, broker, max_packet=200)
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        for size in (200 - len(DOWN) - 4, 201 - len(DOWN) - 4, 100_000, 3_000_000):
            head_end.send(DOWN, "x" * size)
        head_end.send(DOWN, "y" * 3_000_000, qos=0)
        head_end.send(DOWN, "last")
        found = child.payloads(lambda found: found[-1:] == ["last"])
        assert [len(payload) for payload in found] == [200 - len(DOWN) - 4, 4]
        assert child.call("state")["oversize"] == 4
        child.call("close")
        child.call("connect")
        child.call("publish", topic=UP, payload="x")
        assert child.call("state")["oversize"] == 4  # acknowledged: none came again


def test_bad_arguments_are_refused_in_a_sentence(child: Child, broker: Broker) -> None:
    make(child, broker)
    child.call("connect")
    for arguments in (
        {"topic": "", "payload": "x"},
        {"topic": "a/+", "payload": "x"},
        {"topic": "a", "payload": "x", "qos": 2},
    ):
        with pytest.raises(Failed, match="ValueError"):
            child.call("publish", **arguments)
    with pytest.raises(Failed, match="keepalive_s of 3: at least 4"):
        make(child, broker, keepalive_s=3)
    child.call("publish", topic=UP, payload="still here")


def test_calls_without_a_link_are_refused(child: Child, broker: Broker) -> None:
    make(child, broker)
    for do, arguments in (("publish", {"topic": UP, "payload": "x"}), ("subscribe", {"topic": DOWN_ALL})):
        with pytest.raises(Failed, match="not_connected"):
            child.call(do, **arguments)
    child.call("close")
    child.call("connect")
    with pytest.raises(Failed, match="connected"):
        child.call("connect")


def test_the_client_with_its_tests_fits_a_small_heap(broker: Broker) -> None:
    """Open link, window full, largest messages: all of it, compiled in place, under a bounded heap."""
    with Child("micropython", heapsize="160K") as child:
        make(child, broker)
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        with HeadEnd(broker) as head_end:
            for number in range(50):
                head_end.send(DOWN, str(number) * 200)
            child.payloads(lambda found: len(found) == 50)
        before = child.call("state")["heap"]
        for _ in range(5):
            for number in [child.start("publish", topic=UP, payload="", size=900) for _ in range(4)]:
                child.result(number)
        assert child.call("state")["heap"] - before < 2048  # nothing is kept


# ---- TLS


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[Broker]:
    with Broker(tmp_path / "broker", tls=True, acl=METER_ACL) as running:
        yield running


def test_tls_both_ways_with_large_messages(child: Child, secure: Broker) -> None:
    with HeadEnd(secure, "op/1/+/+/up/#", files=secure.client_files("head-end")) as head_end:
        make(child, secure, tls=tls_options(secure.client_files("M42")))
        child.call("connect")
        child.call("subscribe", topic=DOWN_ALL)
        for number in [child.start("publish", topic=UP, payload="", size=900) for _ in range(8)]:
            child.result(number)
        for _ in range(8):
            assert len(head_end.wait().payload) == 900
        payloads = [str(number) * 900 for number in range(8)]
        for payload in payloads:
            head_end.send(DOWN, payload)
        assert child.payloads(lambda found: len(found) == 8) == payloads
        child.call("close")
        assert child.call("connect") is True


def test_the_certificate_is_the_user_and_the_acl_holds_it(child: Child, secure: Broker) -> None:
    """Mosquitto acknowledges a publish that its ACL forbids, and drops it."""
    with HeadEnd(secure, "op/1/#", files=secure.client_files("head-end")) as head_end:
        make(child, secure, client_id="other", tls=tls_options(secure.client_files("M42")))
        child.call("connect")
        child.call("subscribe", topic="op/1/#")
        child.call("publish", topic="op/1/07/M43/up/iv", payload="forged")
        child.call("publish", topic=DOWN, payload="forged")
        child.call("publish", topic=UP, payload="own")
        assert head_end.wait().topic == UP
        head_end.send("op/1/07/M43/dn/order", "for another")
        head_end.send(DOWN, "for me")
        assert child.wait("message")["payload"] == "for me"


def test_a_half_open_tls_link_is_noticed(child: Child, secure: Broker) -> None:
    with Proxy("127.0.0.1", secure.port) as proxy:
        make(child, proxy, keepalive_s=4, tls=tls_options(secure.client_files("M42")))
        child.call("connect")
        proxy.freeze()
        assert child.wait("end")["reason"] == "half_open"


def _stranger(tmp_path: Path, secure: Broker) -> tuple[Path, Path, Path]:
    ca, _, _ = secure.client_files("M42")
    return (ca, *Authority(tmp_path / "stranger").client("M42"))


def _expired(_: Path, secure: Broker) -> tuple[Path, Path, Path]:
    assert secure.authority is not None
    return (secure.authority.ca, *secure.authority.client("M42", starts_in_days=-9, ends_in_days=-8))


@pytest.mark.parametrize("files", [_stranger, _expired])
def test_the_broker_refuses_a_wrong_client_certificate(
    child: Child, tmp_path: Path, secure: Broker, files: Callable[[Path, Broker], tuple[Path, Path, Path]]
) -> None:
    """Under TLS 1.3 the refusal comes after the client's side of the handshake, in place of the CONNACK."""
    make(child, secure, tls=tls_options(files(tmp_path, secure)))
    before = child.sockets()
    for _ in range(3):
        with pytest.raises(Failed) as refused:
            child.call("connect")
        assert refused.value.reason in ("tls", "closed", "io")
    assert child.sockets() == before
    assert "New client connected" not in secure.log()


@pytest.mark.parametrize(
    ("names", "starts_in_days", "ends_in_days", "own_authority"),
    [
        (("localhost",), -1, 30, False),
        (("elsewhere.example",), -1, 30, True),
        (("localhost",), -9, -8, True),
        (("localhost",), 8, 9, True),
    ],
    ids=["other authority", "other name", "expired", "not yet valid"],
)
def test_the_client_refuses_a_wrong_broker_certificate(
    child: Child, tmp_path: Path, names: tuple[str, ...], starts_in_days: int, ends_in_days: int, own_authority: bool
) -> None:
    authority = Authority(tmp_path / "pki")
    issuer = authority if own_authority else Authority(tmp_path / "other")
    cert, key = issuer.server(*names, starts_in_days=starts_in_days, ends_in_days=ends_in_days)
    extra = [f"cafile {authority.ca}", f"certfile {cert}", f"keyfile {key}", "require_certificate true"]
    with Broker(tmp_path / "broker", extra=extra) as broker:
        make(child, broker, tls=tls_options((authority.ca, *authority.client("M42"))))
        before = child.sockets()
        for _ in range(3):
            with pytest.raises(Failed, match="tls"):
                child.call("connect")
        assert child.sockets() == before
        assert "New client connected" not in broker.log()


def test_a_client_that_speaks_tls_to_a_plain_broker(child: Child, broker: Broker, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "pki")
    make(child, broker, reply_s=5, tls=tls_options((authority.ca, *authority.client("M42"))))
    with pytest.raises(Failed) as refused:
        child.call("connect")
    assert refused.value.reason in ("tls", "closed", "io")


# ---- a peer that misbehaves


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"\x20\x02\x00\x01", "refused_protocol"),
        (b"\x20\x02\x00\x02", "refused_identifier"),
        (b"\x20\x02\x00\x03", "refused_unavailable"),
        (b"\x20\x02\x00\x04", "refused_credentials"),
        (b"\x20\x02\x00\x05", "refused_authorization"),
        (b"\x20\x02\x00\x06", "refused_other"),
        (b"\x20\x02\x02\x00", "malformed"),
        (b"\x20\x03\x00\x00", "malformed"),
        (b"HTTP/1.1 400 Bad Request", "unexpected"),
        (b"\x20\x02", "closed"),
        (b"", "closed"),
    ],
)
def test_answers_to_connect(child: Child, answer: bytes, reason: str) -> None:
    with RawPeer() as peer:
        make(child, peer)
        connecting = child.start("connect")
        peer.accept(answer)
        if reason == "closed":
            peer.drop()
        with pytest.raises(Failed) as refused:
            child.result(connecting)
        assert refused.value.reason == reason


@pytest.mark.parametrize(
    ("packet", "reason"),
    [
        (b"\x30\xff\xff\xff\xff\x01", "malformed"),  # a fifth length byte
        (b"\x36\x05\x00\x01t\x00\x01", "malformed"),  # QoS 3
        (b"\x34\x05\x00\x01t\x00\x01", "unexpected"),  # QoS 2
        (b"\x30\x02\x00\x00", "malformed"),  # no topic
        (b"\x30\x03\x00\x05t", "malformed"),  # topic beyond the packet
        (b"\x32\x05\x00\x02tt\x01", "malformed"),  # identifier beyond the packet
        (b"\x32\x05\x00\x01t\x00\x00", "malformed"),  # identifier 0
        (b"\x32\xff\x7f\xff\xff" + b"x" * 16381, "malformed"),  # oversize, topic beyond the packet
        (b"\x40\x03\x00\x01\x00", "malformed"),
        (b"\x41\x02\x00\x01", "malformed"),
        (b"\x90\x02\x00\x01", "malformed"),
        (b"\xd0\x01\x00", "malformed"),
        (b"\x20\x02\x00\x00", "unexpected"),  # a second CONNACK
        (b"\x10\x00", "unexpected"),
        (b"\x50\x02\x00\x01", "unexpected"),
        (b"\x00\x00", "unexpected"),
        (b"\xf0\x00", "unexpected"),
    ],
)
def test_malformed_packets(child: Child, packet: bytes, reason: str) -> None:
    with RawPeer() as peer:
        make(child, peer)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        peer.send(b"\x30\x04\x00\x01tx", packet)
        assert child.wait("message")["payload"] == "x"
        assert child.wait("end")["reason"] == reason
        assert peer.packet() == b""


def test_bytes_of_a_seeded_generator_end_in_a_name(child: Child) -> None:
    draw = random.Random(7)
    with RawPeer() as peer:
        make(child, peer)
        for _ in range(25):
            connecting = child.start("connect")
            peer.accept()
            child.result(connecting)
            peer.send(draw.randbytes(draw.randrange(1, 400)))
            peer.drop()
            assert child.wait("end")["reason"] in ("malformed", "unexpected", "closed", "io")


def test_a_refused_subscription(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        subscribing = child.start("subscribe", topic="t", qos=1)
        packet = peer.packet()
        peer.send(b"\x90\x03" + packet[2:4] + b"\x80")
        with pytest.raises(Failed, match="refused_topic"):
            child.result(subscribing)


def test_acknowledgements_of_nothing_are_counted(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer)
        connecting = child.start("connect")
        peer.accept()
        child.result(connecting)
        peer.send(b"\x40\x02\x12\x34", b"\x90\x03\x12\x34\x00", b"\x30\x04\x00\x01tx")
        child.wait("message")
        assert child.call("state")["stray_acks"] == 2


def test_connect_says_what_it_was_told(child: Child) -> None:
    with RawPeer() as peer:
        make(child, peer, keepalive_s=300, user="u", password="p", will=["w/t", "gone", True, 1])
        connecting = child.start("connect")
        connect = peer.accept()
        child.result(connecting)
    variable = b"\x00\x04MQTT\x04" + bytes([0x80 | 0x40 | 0x20 | 0x08 | 0x04]) + b"\x01\x2c"
    body = variable + b"\x00\x03M42" + b"\x00\x03w/t" + b"\x00\x04gone" + b"\x00\x01u" + b"\x00\x01p"
    assert connect == b"\x10" + bytes([len(body)]) + body
