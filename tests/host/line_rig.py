"""Lines with slaves that misbehave as told, for the tests of the Modbus bus: a pty, RTU over TCP, and Modbus TCP.

Register n of unit u holds n + 1000 * u until it is written; record r of a file holds 12 registers r, file, r, file …
Unit 13 is on no line.
"""

import contextlib
import os
import pty
import select
import socket
import struct
import threading
import tty
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from meterlink import modbus, modbus_tcp

UNITS = (1, 2, 3)
REGISTERS = 400
WRITE_ONLY_FROM = 300
_SILENCE_S = 0.02

Fault = Callable[[bytes], bytes]
"""What goes out in place of a reply."""


def silent(reply: bytes) -> bytes:
    return b""


class Space(modbus.RegisterSpace):
    """See the module."""

    def __init__(self, unit: int) -> None:
        self.words = [address + 1000 * unit for address in range(REGISTERS)]
        self.written: list[tuple[int, bytes]] = []

    def read(self, address: int, count: int, out: memoryview, offset: int, input_registers: bool) -> int:
        if address + count > WRITE_ONLY_FROM:
            return modbus.ILLEGAL_ADDRESS
        out[offset : offset + 2 * count] = struct.pack(f">{count}H", *self.words[address : address + count])
        return 0

    def write(self, address: int, count: int, data: memoryview) -> int:
        if address + count > REGISTERS:
            return modbus.ILLEGAL_ADDRESS
        self.words[address : address + count] = struct.unpack(f">{count}H", data)
        self.written.append((address, bytes(data)))
        return 0

    def read_file(self, file: int, record: int, registers: int, out: memoryview, offset: int) -> int:
        out[offset : offset + 2 * registers] = record_words(file, record, registers)
        return 0


def record_words(file: int, record: int, registers: int) -> bytes:
    return struct.pack(">HH", record, file) * (registers // 2)


class Line:
    """`port`: as in an address, without the unit · `requests`: frames that came · `faults`: what becomes of the next
    replies, one each · `say(raw)`: put bytes on the line now."""

    def __init__(self, kind: str, spaces: dict[int, Any] | None = None) -> None:
        self.kind = kind
        self.requests: list[bytes] = []
        self.faults: deque[Fault] = deque()
        self.spaces: dict[int, Any] = spaces or {unit: Space(unit) for unit in UNITS}
        self.connections = 0
        self._end = threading.Event()
        self._stream: int | socket.socket | None = None
        if kind == "serial":
            self._stream, self._far = pty.openpty()
            tty.setraw(self._far)
            self.port = f"serial:{os.ttyname(self._far)}"
        else:
            self._listener = socket.create_server(("127.0.0.1", 0))
            self.port = f"{kind}://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._end.set()
        if self.kind != "serial":
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self.drop()
        self._thread.join(10)
        if self.kind == "serial":
            os.close(self._far)
            assert isinstance(self._stream, int)
            os.close(self._stream)

    def drop(self) -> None:
        """Break the connection."""
        if isinstance(self._stream, socket.socket):
            with contextlib.suppress(OSError):
                self._stream.shutdown(socket.SHUT_RDWR)

    def say(self, raw: bytes) -> None:
        if isinstance(self._stream, int):
            os.write(self._stream, raw)
        elif self._stream is not None and raw:
            self._stream.sendall(raw)

    def _run(self) -> None:
        serve = self._serve_tcp if self.kind == "tcp" else self._serve_rtu
        if self.kind == "serial":
            serve()
            return
        while not self._end.is_set():
            try:
                self._stream, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), self._stream:
                serve()

    def _take(self, wait_s: float) -> bytes | None:
        """What came; None when nothing did, b"" at the end."""
        assert self._stream is not None
        if not select.select([self._stream], [], [], wait_s)[0]:
            return None
        return os.read(self._stream if isinstance(self._stream, int) else self._stream.fileno(), 512)

    def _serve_rtu(self) -> None:
        servers = [modbus.RtuServer(modbus.ServerPdu(space), unit) for unit, space in self.spaces.items()]
        frame = b""
        while not self._end.is_set():
            data = self._take(_SILENCE_S)
            if data == b"":
                return
            if data:
                frame += data
                continue
            if not frame:
                continue
            self.requests.append(frame)
            for server in servers:
                for byte in frame:
                    server.feed(byte)
                self._reply(bytes(server.reply[: server.end()]))
            frame = b""

    def _serve_tcp(self) -> None:
        receiver = modbus_tcp.TcpReceiver()
        servers = {u: modbus_tcp.TcpServer(modbus.ServerPdu(space), u) for u, space in self.spaces.items()}
        while not self._end.is_set():
            data = self._take(_SILENCE_S)
            if data == b"":
                return
            for byte in data or b"":
                length = receiver.feed(byte)
                if length:
                    self.requests.append(bytes(receiver.buffer[:length]))
                    server = servers.get(receiver.buffer[6])
                    if server is not None:
                        self._reply(bytes(server.reply[: server.handle(receiver, length)]))

    def _reply(self, reply: bytes) -> None:
        if reply:
            self.say(self.faults.popleft()(reply) if self.faults else reply)


@contextlib.contextmanager
def line(kind: str, spaces: dict[int, Any] | None = None) -> Iterator[Line]:
    """A running line of kind serial, socket or tcp; `spaces`: other slaves than those of this module, by unit."""
    one = Line(kind, spaces)
    one.start()
    try:
        yield one
    finally:
        one.close()


def framed(*data: int) -> bytes:
    """An RTU frame with its CRC."""
    return bytes(data) + modbus.crc16(bytes(data)).to_bytes(2, "little")
