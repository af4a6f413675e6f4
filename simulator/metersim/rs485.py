"""An RS-485 line in virtual time: one pair of wires, on which everybody hears what anybody says.

Time is in microseconds and passes only in `Bus.run`. A character takes its bits; one that is said while another driver
is on is heard wrong or not at all. So gaps, noise, late answers and drivers that are let go of too late do here what
they do on a wire, and the same seed does it again.

Source: MODBUS over Serial Line V1.02, 2.5.1 (characters and silences); TI SLLA383 (two drivers on one pair).
"""

import heapq
import os
import pty
import random
import select
import threading
import time
import tty
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from meterlink.modbus import RtuServer, silences_us


@dataclass(eq=False)
class Station:
    """Somebody on the line. heard: (end of the character, character), without its own · said: (begin, frame) of what it
    has sent · hold_us: how long its driver stays on behind the last stop bit."""

    bus: "Bus"
    hold_us: int = 0
    heard: list[tuple[int, int]] = field(default_factory=list)
    said: list[tuple[int, bytes]] = field(default_factory=list)

    def hear(self, at_us: int, octet: int) -> None:
        """A character has come in."""
        self.heard.append((at_us, octet))

    def say(self, frame: bytes, gaps_us: Sequence[int] = ()) -> int:
        """Send now, with a gap before each character as given (0 for the rest): the end of the last one."""
        self.said.append((self.bus.now_us, bytes(frame)))
        return self.bus.send(self, frame, gaps_us)


@dataclass(eq=False)
class Slave(Station):
    """A Modbus slave as a meter serves it: a frame ends by t3.5 of silence, and is answered `late_us` after that. What
    comes in while it sends is not heard."""

    server: RtuServer | None = None
    late_us: int = 0
    _busy_until_us: int = -1
    _last_us: int = -1

    def hear(self, at_us: int, octet: int) -> None:
        if at_us <= self._busy_until_us:
            return
        super().hear(at_us, octet)
        assert self.server is not None
        self.server.feed(octet)
        self._last_us = at_us
        self.bus.at(at_us + self.bus.t35_us, lambda: self._quiet(at_us))

    def _quiet(self, since_us: int) -> None:
        assert self.server is not None
        if since_us != self._last_us:
            return
        length = self.server.end()
        if length:
            reply = bytes(self.server.reply[:length])
            self.bus.at(self.bus.now_us + self.late_us, lambda: self._answer(reply))

    def _answer(self, reply: bytes) -> None:
        self._busy_until_us = self.say(reply)


class Bus:
    """The wires. baud; bits: of a character, start and stop bits included · echo: who speaks hears himself as well ·
    t15_us, t35_us: the silences of that rate · now_us: how far time has come."""

    def __init__(self, baud: int = 9600, bits: int = 11, seed: int = 0, echo: bool = False) -> None:
        self.character_us = (bits * 1_000_000 + baud - 1) // baud
        self.t15_us, self.t35_us = silences_us(baud)
        self.now_us = 0
        self._echo = echo
        self.stations: list[Station] = []
        self._draw = random.Random(seed)
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._driven: list[tuple[Station, int, int]] = []

    def station(self, hold_us: int = 0) -> Station:
        """Somebody who hears, and speaks when told."""
        one = Station(self, hold_us)
        self.stations.append(one)
        return one

    def slave(self, server: RtuServer, late_us: int = 0, hold_us: int = 0) -> Slave:
        """A slave that answers by itself."""
        one = Slave(self, hold_us, server=server, late_us=late_us)
        self.stations.append(one)
        return one

    def at(self, when_us: int, action: Callable[[], None]) -> None:
        """Do something then."""
        self._count += 1
        heapq.heappush(self._due, (when_us, self._count, action))

    def run(self, for_us: int) -> None:
        """Let time pass."""
        end_us = self.now_us + for_us
        while self._due and self._due[0][0] <= end_us:
            self.now_us, _, action = heapq.heappop(self._due)
            action()
        self.now_us = end_us

    def settle(self) -> None:
        """Let time pass until nobody has anything to do, and t3.5 more."""
        while self._due:
            self.run(self._due[0][0] - self.now_us)
        self.run(self.t35_us)

    def send(self, talker: Station, frame: bytes, gaps_us: Sequence[int]) -> int:
        """See `Station.say`."""
        begin_us = at_us = self.now_us
        for number, octet in enumerate(frame):
            at_us += gaps_us[number] if number < len(gaps_us) else 0
            at_us += self.character_us
            self.at(at_us, self._character(talker, at_us, octet))
        self._driven = [one for one in self._driven if one[2] + 300 * self.character_us > begin_us]
        self._driven.append((talker, begin_us, at_us + talker.hold_us))
        return at_us

    def noise(self, octets: bytes, gaps_us: Sequence[int] = ()) -> None:
        """What no driver said is heard by all, and spoils what is being said."""
        nobody = Station(self)
        self.send(nobody, octets, gaps_us)

    def _character(self, talker: Station, end_us: int, octet: int) -> Callable[[], None]:
        def arrive() -> None:
            heard = octet
            if any(
                one is not talker and begin_us < end_us and until_us > end_us - self.character_us
                for one, begin_us, until_us in self._driven
            ):
                if self._draw.random() < 0.5:
                    return
                heard = octet ^ self._draw.randrange(1, 256)
            for station in self.stations:
                if station is not talker or self._echo:
                    station.hear(end_us, heard)

        return arrive


class Bridge:
    """Somebody outside on a bus, through a pty: `path` is what a master opens. What comes in there is said on the bus
    in one piece once nothing more has come for `pause_s`; what others say goes back. echo: the adapter hears itself.

    paced: an answer goes back when its last character would have come on the wires, counted from the first character of
    the request, so that a master outside has the time of a real line.
    """

    def __init__(self, bus: Bus, pause_s: float = 0.02, echo: bool = False, paced: bool = False) -> None:
        self._bus = bus
        self._master = bus.station()
        self._pause_s = pause_s
        self._echo = echo
        self._paced = paced
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self.path = os.ttyname(self._theirs)
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="bridge")

    def __enter__(self) -> "Bridge":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        os.close(self._ours)
        os.close(self._theirs)

    def _serve(self) -> None:
        frame, came_at = b"", 0.0
        while not self._closing:
            if select.select([self._ours], [], [], self._pause_s)[0]:
                came_at = time.monotonic() if not frame else came_at
                frame += os.read(self._ours, 512)
            elif frame:
                at, begin_us = len(self._master.heard), self._bus.now_us
                self._master.say(frame)
                self._bus.settle()
                back = bytes(octet for _, octet in self._master.heard[at:])
                if self._paced and back:
                    took_s = (self._master.heard[-1][0] - begin_us) / 1_000_000
                    time.sleep(max(0.0, came_at + took_s - time.monotonic()))
                os.write(self._ours, frame + back if self._echo else back)
                frame = b""


class Hub:
    """Ptys as one line, in real time: what comes in at one goes out at all others. paths: what to open."""

    def __init__(self, count: int) -> None:
        self._ends = [pty.openpty() for _ in range(count)]
        for _, theirs in self._ends:
            tty.setraw(theirs)
        self.paths = [os.ttyname(theirs) for _, theirs in self._ends]
        self._closing = False
        self._thread = threading.Thread(target=self._serve, daemon=True, name="hub")

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing = True
        self._thread.join()
        for ours, theirs in self._ends:
            os.close(ours)
            os.close(theirs)

    def _serve(self) -> None:
        fds = [ours for ours, _ in self._ends]
        while not self._closing:
            for source in select.select(fds, [], [], 0.05)[0]:
                said = os.read(source, 512)
                for target in fds:
                    if target != source:
                        os.write(target, said)
