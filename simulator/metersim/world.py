"""Moves the time of a meter that runs in another process: one tick a virtual second over a socket, in lock-step.

The messages stand in `meter.boards.unix`. The world is the board's physics (`VirtualBoard`) plus a pace: `speed`
virtual seconds a real second at the most.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

from metersim.board import VirtualBoard

_TICK = struct.Struct(">cIIBQQIHiBBhHhH")
_LENGTH = {b"C": 1, b"R": 4, b"W": 8, b"I": 3, b"A": 12}
REPLY_LIMIT_S = 60


class WorldError(RuntimeError):
    """The meter's process broke the conversation; the text says how."""


class Gone(WorldError):
    """The meter's process closed the connection."""


class World(threading.Thread):
    """Runs a board's time against one meter until `stop`.

    speed: virtual seconds per real second, 1..100 000 · on_second(board): called after each answered second, in this
    thread · resets: a meter that goes away comes back after a reset of its processor, as `unix_boot` makes them;
    otherwise that is an error. `heap_used`, `heap_peak`: bytes, as the meter last told. `error`: what ended the run,
    None while it runs or after `stop`.
    """

    def __init__(
        self,
        board: VirtualBoard,
        speed: int = 1,
        on_second: Callable[[VirtualBoard], None] | None = None,
        resets: bool = False,
    ) -> None:
        super().__init__(daemon=True, name="world")
        if not 1 <= speed <= 100_000:
            raise ValueError(f"speed: {speed} given, 1..100000 expected")
        self.board = board
        self.speed = speed
        self.heap_used = 0
        self.heap_peak = 0
        self.error: Exception | None = None
        self.booted = threading.Event()
        self.lock = threading.RLock()  # held while the physics moves: take it to read or change the board
        self._on_second = on_second
        self._resets = resets
        self._stop_asked = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._listener.settimeout(REPLY_LIMIT_S)
        self.port: int = self._listener.getsockname()[1]

    def stop(self) -> None:
        """End the run; the meter sees its world go away."""
        self._stop_asked.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread where it still waits for the meter
        self._listener.close()
        if self.is_alive() and threading.current_thread() is not self:
            self.join(REPLY_LIMIT_S)

    def run(self) -> None:
        try:
            self._serve()
            while self._resets and not self._stop_asked.is_set():
                with self.lock:
                    self.board.reset()
                self._serve()
        except (OSError, WorldError) as error:
            if not self._stop_asked.is_set():
                self.error = error
        finally:
            self._listener.close()

    def _serve(self) -> None:
        """One life of the meter's process."""
        connection, _ = self._listener.accept()
        with connection:
            connection.settimeout(REPLY_LIMIT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                self._converse(connection)
            except (Gone, ConnectionError):
                if not self._resets:
                    raise

    def _converse(self, connection: socket.socket) -> None:
        due = time.monotonic()
        while not self._stop_asked.is_set():
            with self.lock:
                message = self._next_tick()
            connection.sendall(message)
            self._take_answers(connection)
            self.booted.set()
            if self._on_second:
                self._on_second(self.board)
            due = max(due + 1 / self.speed, time.monotonic() - 1)
            self._stop_asked.wait(max(0.0, due - time.monotonic()))

    def _next_tick(self) -> bytes:
        board = self.board
        board.advance(1)
        unix_s, valid = board.rtc()
        counts = board.pulses()
        return _TICK.pack(
            b"T",
            board.mono_s,
            unix_s,
            valid,
            counts[0],
            counts[1],
            board.load_ma(),
            board.voltage_dv(),
            board.quantities()[0][2],
            board.contact(),
            1 if board.take_key() else 0,
            board.temperature_dc(),
            board.inputs(),
            *board.quantities()[0][3:],
        )

    def _take_answers(self, connection: socket.socket) -> None:
        while True:
            kind = _exactly(connection, 1)
            if kind not in _LENGTH:
                raise WorldError(f"the meter sent {kind!r}, one of {b''.join(_LENGTH)!r} expected")
            body = _exactly(connection, _LENGTH[kind])
            with self.lock:
                if self._obey(kind, body):
                    return

    def _obey(self, kind: bytes, body: bytes) -> bool:
        """Carry out one message; True for the acknowledgement that closes a second."""
        if kind == b"C":
            self.board.coil(bool(body[0]))
        elif kind == b"R":
            self.board.set_rtc(int.from_bytes(body, "big"))
        elif kind == b"W":
            self.board.set_witness(int.from_bytes(body, "big"))
        elif kind == b"I":
            self.board.indicate(body[0], int.from_bytes(body[1:], "big"))
        else:
            mono_s, self.heap_used, self.heap_peak = struct.unpack(">III", body)
            if mono_s != self.board.mono_s:
                raise WorldError(f"the meter acknowledged second {mono_s}, {self.board.mono_s} expected")
            return True
        return False


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = connection.recv(count - len(data))
        if not part:
            raise Gone("the meter closed its connection to the world")
        data += part
    return data
