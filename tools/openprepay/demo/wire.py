"""A broken network between one meter and its broker: MQTT passes through, but for the messages that a rule takes out or
changes. What is taken out is acknowledged first, as by a broker that then loses it: nobody sends it again.

Only for the demo's self-checks; a plain run has no such thing between meter and broker.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

from openprepay.demo.broker import HOST

UP = "up"  # from the meter
DOWN = "down"  # to the meter

Rule = Callable[[str, str, bytes], bytes | None]
"""rule(direction, topic, payload): the payload to pass on, of the same length; None takes the message out."""

_PUBLISH = 3
_PUBACK = 4


class BrokenWire:
    """Listens on `port` and passes every connection on to the broker at `broker_port`, by the rule."""

    def __init__(self, broker_port: int, rule: Rule) -> None:
        self._broker_port = broker_port
        self._rule = rule
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, name="wire", daemon=True).start()

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"{HOST}:{self.port}"

    def close(self) -> None:
        """Cut it."""
        for sock in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while True:
            try:
                meter, _ = self._listener.accept()
                broker = socket.create_connection((HOST, self._broker_port))
            except OSError:
                return
            self._sockets += [meter, broker]
            for direction, source, target in ((UP, meter, broker), (DOWN, broker, meter)):
                threading.Thread(
                    target=self._pass, args=(direction, source, target), name=f"wire {direction}", daemon=True
                ).start()

    def _pass(self, direction: str, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            while True:
                head, body = _packet(source)
                passed = self._judge(direction, head[0], body, source) if head[0] >> 4 == _PUBLISH else body
                if passed is not None:
                    target.sendall(head + passed)
        for sock in (source, target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _judge(self, direction: str, first: int, body: bytes, source: socket.socket) -> bytes | None:
        """The body of a PUBLISH as it goes on [MQTT 3.1.1, 3.3]."""
        at = 2 + int.from_bytes(body[:2], "big")
        topic = body[2:at].decode()
        packet_id = body[at : at + 2] if first >> 1 & 3 else b""
        at += len(packet_id)
        payload = self._rule(direction, topic, body[at:])
        if payload is not None:
            return body[:at] + payload
        if packet_id:
            source.sendall(struct.pack(">BB", _PUBACK << 4, 2) + packet_id)
        return None


def _packet(source: socket.socket) -> tuple[bytes, bytes]:
    """Fixed header and the rest of the next packet [2.2]; EOFError at the end of the stream."""
    head = _exactly(source, 1)
    length, shift = 0, 0
    while True:
        byte = _exactly(source, 1)
        head += byte
        length |= (byte[0] & 0x7F) << shift
        shift += 7
        if not byte[0] & 0x80:
            return head, _exactly(source, length)


def _exactly(source: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = source.recv(count - len(data))
        if not part:
            raise EOFError
        data += part
    return data
