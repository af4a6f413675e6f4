"""Parts of the demo by themselves: the time that meters share, the broken wire, drawings, texts in two languages."""

import ast
import socket
import string
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from metersim.board import VirtualBoard
from metersim.load import Constant
from openprepay.demo import draw, virtual
from openprepay.demo.fleet import POINTS
from openprepay.demo.sums import cost_uc, money, runs_out_s
from openprepay.demo.virtual import VirtualTime
from openprepay.demo.wire import DOWN, UP, BrokenWire

DEMO = Path(draw.__file__).parent
START_S = 1_768_323_600


# -- time --------------------------------------------------------------------------------------------------------------


def test_time_waits_for_every_meter_and_no_second_is_left_out() -> None:
    clock = VirtualTime(START_S, 3600)
    clock.join("quick")
    clock.join("slow")
    lived: dict[str, list[int]] = {"quick": [], "slow": []}
    ahead: list[int] = []

    def live(name: str, pause_s: float) -> None:
        for second_s in range(START_S + 1, START_S + 400):
            lived[name].append(second_s)
            ahead.append(clock.now_s() - second_s)
            if pause_s and second_s % 40 == 0:
                threading.Event().wait(pause_s)
            clock.wait(name, second_s)

    threads = [threading.Thread(target=live, args=args) for args in (("quick", 0.0), ("slow", 0.02))]
    for thread in threads:
        thread.start()
    clock.start()
    for thread in threads:
        thread.join()
    clock.stop()
    assert lived["quick"] == lived["slow"] == list(range(START_S + 1, START_S + 400))
    step_s = 3600 // virtual.STEPS_PER_S
    assert max(ahead) <= step_s
    assert clock.trouble is None


def test_a_meter_that_stops_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "PATIENCE_S", 0.05)
    clock = VirtualTime(START_S, 3600)
    clock.join("stuck")
    clock.start()
    clock.wait("stuck", START_S)  # it has lived nothing of what follows
    clock._thread.join(10)
    assert clock.trouble is not None
    assert "stuck" in str(clock.trouble)
    clock.stop()


def test_stopping_lets_go_of_those_who_wait() -> None:
    clock = VirtualTime(START_S, 5)
    clock.join("one")
    waiter = threading.Thread(target=clock.wait, args=("one", START_S + 1000))
    waiter.start()
    clock.start()
    clock.stop()
    waiter.join(10)
    assert not waiter.is_alive()


# -- the broken wire ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """(meter's end, broker's end) of a wire that drops topic `lost` and changes payloads on topic `bent`."""

    def rule(direction: str, topic: str, payload: bytes) -> bytes | None:
        if topic == "lost":
            return None
        return payload.upper() if topic == "bent" and direction == UP else payload

    with socket.create_server(("127.0.0.1", 0)) as broker:
        wire = BrokenWire(broker.getsockname()[1], rule)
        meter = socket.create_connection(("127.0.0.1", wire.port))
        far, _ = broker.accept()
        for end in (meter, far):
            end.settimeout(10)
        with meter, far:
            yield meter, far
        wire.close()


def publish(topic: bytes, payload: bytes, packet_id: int) -> bytes:
    body = len(topic).to_bytes(2, "big") + topic + packet_id.to_bytes(2, "big") + payload
    assert len(body) < 128
    return bytes((0x32, len(body))) + body


def receive(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        data += end.recv(count - len(data))
    return data


def test_the_wire_passes_drops_and_changes(ends: tuple[socket.socket, socket.socket]) -> None:
    meter, broker = ends
    lost, kept, bent = publish(b"lost", b"abc", 7), publish(b"kept", b"abc", 8), publish(b"bent", b"abc", 9)
    for byte in lost + kept + bent:  # however the stream is cut
        meter.sendall(bytes((byte,)))
    assert receive(meter, 4) == b"\x40\x02\x00\x07"  # acknowledged, and gone
    assert receive(broker, len(kept)) == kept
    assert receive(broker, len(bent)) == publish(b"bent", b"ABC", 9)
    broker.sendall(lost + bent)
    assert receive(broker, 4) == b"\x40\x02\x00\x07"
    assert receive(meter, len(bent)) == bent
    long = bytes((0x10, 0xC8, 0x01)) + bytes(200)  # another packet, with a length of two bytes
    meter.sendall(long)
    assert receive(broker, len(long)) == long
    assert UP != DOWN


# -- money and drawings ------------------------------------------------------------------------------------------------


def test_cost_follows_the_tariff() -> None:
    flat, times = POINTS[0], POINTS[1]
    board = VirtualBoard(Constant(1000))
    assert cost_uc(flat, board, START_S, 3600) == 580_000
    assert cost_uc(times, board, START_S, 3600) == 640_000  # 18:00 in Berlin
    assert cost_uc(times, board, START_S + 6 * 3600, 3600) == 320_000
    assert runs_out_s(flat, board, START_S, 290_000) == START_S + 1800


@pytest.mark.parametrize(
    ("amount_uc", "text"), [(0, "0.00"), (1_500_000, "1.50"), (-1, "-0.000001"), (12_345_670, "12.34567")]
)
def test_money(amount_uc: int, text: str) -> None:
    assert money(amount_uc) == text


def test_drawings_fill_what_they_should() -> None:
    assert draw.bar(0, 100) == "▕" + " " * 10 + "▏"
    assert draw.bar(50, 100) == "▕" + "█" * 5 + " " * 5 + "▏"
    assert draw.bar(200, 100) == draw.bar(100, 100) == "▕" + "█" * 10 + "▏"
    rows = draw.chart([(0, 800), (5, 400), (8, 0)], 0, 10, columns=10, rows=2)
    assert rows == ["████      ", "███████   "]
    assert draw.marks([(0, "17:00"), (5, "x")], 0, 10, columns=20) == "17:00     x"
    assert draw.width(draw.pad("余额", 6)) == 6


# -- texts -------------------------------------------------------------------------------------------------------------


def pairs() -> Iterator[tuple[str, str, str]]:
    """(place, English, Chinese) of every pair in the demo's sources."""
    for path in sorted(DEMO.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Tuple) and len(node.elts) == 2:
                texts = [_text(one) for one in node.elts]
                if None not in texts and any("\u4e00" <= char <= "\u9fff" for char in str(texts[1])):
                    yield f"{path.name}:{node.lineno}", str(texts[0]), str(texts[1])


def _text(node: ast.expr) -> str | None:
    """A string's text; one with values put in, with their expressions in place of the values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{" + ast.unparse(part.value) + "}"  # type: ignore[attr-defined]
            for part in node.values
        )
    return None


def test_both_languages_say_the_same() -> None:
    found = list(pairs())
    assert len(found) > 60
    for place, english, chinese in found:
        fields = [
            sorted(name for _, name, _, _ in string.Formatter().parse(text) if name) for text in (english, chinese)
        ]
        assert fields[0] == fields[1], place
