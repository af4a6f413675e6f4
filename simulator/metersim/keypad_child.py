"""The stand of `openprepay sim keypad --micropython`: the firmware and the task that runs its panel in another process,
on real MicroPython; display, keypad, lamps and buzzer are messages (`meter.boards.unix_front`)."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable

from metersim.child import ChildMeter
from metersim.stand import OUTAGE_S, PAYMENT_UC, KeysError, Stand

COLUMNS = 16
HEAP = "512K"  # the panel and its task are loaded beside the meter
LIMIT_S = 60
KEY_S = 0.05  # a key is down for so long, and up before the next
HOLD_S = 3.3
STILL_S = 0.6  # a display that has not changed for so long shows what it is to show


class ChildStand(Stand):
    """See `Stand`; a context. Time runs by itself, `speed` virtual seconds a second."""

    def __init__(
        self,
        meter: int,
        credit_uc: int = 0,
        kwh: bool = False,
        load_w: int = 0,
        speed: int = 1,
        micropython: bool = True,
    ) -> None:
        super().__init__(meter, kwh, load_w)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1)
        self._connection: socket.socket | None = None
        self._lines = [" " * COLUMNS, " " * COLUMNS]
        self._lit = False
        self._lamps = [0, 0, 0]
        self._buzzes = 0
        self._written_s = 0.0
        self.child = ChildMeter(
            self.board,
            record=self.record(),
            speed=speed,
            micropython=micropython,
            orders=[self.bench.credit(credit_uc)] if credit_uc else [],
            front=self._listener.getsockname()[1],
            heap=HEAP,
        )

    def __enter__(self) -> "ChildStand":
        threading.Thread(target=self._hear, daemon=True, name="stand").start()
        self._start(self.child.start)
        return self

    def __exit__(self, *_: object) -> None:
        self.child.stop()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _start(self, start: Callable[[], None]) -> None:
        """Start the firmware; returns when the display shows something."""
        self._written_s = 0.0
        start()
        until = time.monotonic() + LIMIT_S
        while not self._written_s:
            self.child.check()
            if time.monotonic() > until:
                raise TimeoutError(f"the panel shows nothing: {self.child.console()[-2000:]}")
            time.sleep(KEY_S)

    # -- what the panel says -------------------------------------------------------------------------------------------

    def _hear(self) -> None:
        with contextlib.suppress(OSError):
            while True:  # once for each start of the firmware
                connection, _ = self._listener.accept()
                with connection, connection.makefile("rb") as file:
                    self._connection = connection
                    while head := file.read(1):
                        if head == b"W":
                            row, column, count = file.read(3)
                            self._write(row, column, file.read(count).decode("latin-1"))
                        else:
                            self._take(head, file.read(1)[0])

    def _write(self, row: int, column: int, text: str) -> None:
        line = self._lines[row]
        self._lines[row] = line[:column] + text + line[column + len(text) :]
        self._written_s = time.monotonic()

    def _take(self, head: bytes, value: int) -> None:
        if head == b"L":
            self._lit = bool(value)
        elif head == b"B":
            self._buzzes += value
        elif head in b"012":
            self._lamps[int(head)] = value

    # -- the hand ------------------------------------------------------------------------------------------------------

    def press(self, char: str, held_s: int = 0) -> None:
        if self._connection is not None:
            self._connection.sendall(char.encode())
            time.sleep(HOLD_S if held_s else KEY_S)
            self._connection.sendall(b"\0")
            time.sleep(KEY_S)

    def run(self, seconds: int) -> None:
        until_s = self.board.true_s + seconds
        while self.board.true_s < until_s:
            self.child.check()
            time.sleep(KEY_S)

    def buy(self, amount_uc: int = PAYMENT_UC) -> None:
        raise KeysError("b: given with --micropython, which takes credit at its start alone (--credit)")

    def outage(self) -> None:
        self._start(lambda: self.child.power_cycle(OUTAGE_S))

    def lines(self) -> tuple[str, str]:
        """As soon as the display stands still, which is at once while nobody presses a key."""
        until = time.monotonic() + LIMIT_S
        while time.monotonic() - self._written_s < STILL_S and time.monotonic() < until:
            time.sleep(KEY_S)
        return self._lines[0], self._lines[1]

    def lit(self) -> bool:
        return self._lit

    def lamps(self, at_s: float | None) -> list[str]:
        return ["●" if on else "○" for on in self._lamps]

    def buzzer(self) -> str:
        return str(self._buzzes)
