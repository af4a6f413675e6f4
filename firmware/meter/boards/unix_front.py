"""Starts a meter with its panel on the unix port: ``micropython -m meter.boards.unix_front front=PORT name=value …``

As `unix_main`, whose options the others are. front=PORT is a TCP port on 127.0.0.1, of who stands before the meter; the
parts of the panel (see `shell.panel`) are messages there:

    stand -> meter   a byte whenever the keypad changes: the key that is down, 0 for none
    meter -> stand   "W" + row, column, count, characters | "L" + lit | "C" + level | "B" + on |
                     "0", "1", "2" (a lamp) + on
"""

import asyncio
import sys

from meter.boards import unix_main
from meter.panel import Panel
from meter.shell import panel


class Lamp:
    """A lamp, or the buzzer: told when it changes."""

    def __init__(self, send, name: bytes) -> None:
        self._send = send
        self._name = name
        self._on = -1

    def value(self, on: int) -> None:
        if on != self._on:
            self._on = on
            self._send(self._name + bytes((on,)))


class Stand:
    """Keypad and display over the connection."""

    def __init__(self, reader, writer) -> None:
        self._reader = reader
        self._send = writer.write
        self._keys = b""
        self._down = ""

    async def hear(self) -> None:
        """Take the keys; ends with the connection."""
        while True:
            heard = await self._reader.read(32)
            if not heard:
                return
            self._keys += heard

    def down(self) -> str:
        if self._keys:
            self._down = chr(self._keys[0]) if self._keys[0] else ""
            self._keys = self._keys[1:]
        return self._down

    def write(self, row: int, column: int, text: str) -> bool:
        self._send(b"W" + bytes([row, column, len(text)] + [ord(char) for char in text]))
        return True

    def light(self, on: bool) -> None:
        self._send(b"L" + bytes((1 if on else 0,)))

    def contrast(self, level: int) -> None:
        self._send(b"C" + bytes((level,)))


async def front(meter, port: int) -> None:
    """Show the panel to who stands there."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    stand = Stand(reader, writer)
    hearing = asyncio.create_task(stand.hear())
    lamps = [Lamp(writer.write, name) for name in (b"0", b"1", b"2")]
    try:
        await panel.serve(Panel(meter), stand, stand, lamps, Lamp(writer.write, b"B"))
    finally:
        hearing.cancel()


def links(meter, option: dict) -> list:
    """The links of `unix_main`, and the panel."""
    return unix_main.links(meter, option) + [("front", lambda: front(meter, int(option["front"])))]


if __name__ == "__main__":
    asyncio.run(unix_main.main(unix_main.options(sys.argv[1:]), links))
