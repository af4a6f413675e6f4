"""The bus as it is set: address, baud rate, parity, stop bits. Set over the service port alone, so that nobody takes a
meter off its bus from the bus.

What is set is on trial: unless a good request for the meter comes in over the bus within TRIAL_S, the settings before
it return. A power cut begins the trial anew.
"""

from meter.store import KEY_LINE
from meterlink import events, lines, results

TRIAL_S = 600
WATCH_S = 3600  # frames that are damaged are counted over such a time, and told from MANY_BAD on
MANY_BAD = 100
FACTORY = (1, 9600, 1, 1)

MQTT_NONE = 0  # mqtt_state
MQTT_DOWN = 1
MQTT_UP = 2


class Line:
    """settings: (address, baud, parity, stop bits) in force · left_s: until they are undone, 0 where they stand ·
    server: the bus's `RtuServer`, or None · mqtt_state, mqtt_connects: of the uplink · a kept part (see `core.Meter`).
    """

    key = KEY_LINE

    def __init__(self, meter) -> None:
        self._meter = meter
        self._set: "tuple[int, ...]" = ()  # () = as the board starts with
        self._former: "tuple[int, ...]" = ()
        self._open: "tuple[int, ...]" = ()
        self._requests = 0
        self._bad = 0
        self._watch_s = 0
        self.given: "tuple[int, ...]" = FACTORY
        self.left_s = 0
        self.server = None
        self.mqtt_state = MQTT_NONE
        self.mqtt_connects = 0
        self.fresh = False

    @property
    def settings(self) -> "tuple[int, ...]":
        """Those in force."""
        return self._set or self.given

    def former(self) -> "tuple[int, ...]":
        """Those that return unless the meter is heard; zeros where nothing is on trial."""
        return (self._former or self.given) if self.left_s else (0, 0, 0, 0)

    def opened(self, server) -> None:
        """The bus is served by `server` with the settings in force."""
        self.server = server
        self._open = self.settings
        self._requests = server.requests
        self._bad = server.receiver.bad_frames

    def take(self, body: bytes) -> int:
        """Set what a body of `meterlink.lines` states: results.APPLIED once it is durable, BAD_BODY, STORAGE_FAILED.
        The bus follows when it is quiet."""
        settings = lines.unpack(body)
        if settings is None:
            return results.BAD_BODY
        meter = self._meter
        before = self._set, self._former, self.left_s, self.fresh
        mark = meter.log.mark()
        if not self.left_s:
            self._former = self._set
        self._set, self.left_s, self.fresh = settings, TRIAL_S, True
        if self.server:
            self._requests = self.server.requests
        self._note(events.LINE_CHANGED)
        if meter.commit([]):
            return results.APPLIED
        self._set, self._former, self.left_s, self.fresh = before
        meter.log.forget(mark)
        return results.STORAGE_FAILED

    def step(self, elapsed_s: int) -> None:
        """Once a second."""
        server = self.server
        if self.left_s:
            if server and self._open == self.settings and server.requests != self._requests:
                self._end(events.LINE_KEPT)
            elif self.left_s > elapsed_s:
                self.left_s -= elapsed_s
            else:
                self._set = self._former
                self._end(events.LINE_UNDONE)
        self._watch_s += elapsed_s
        if self._watch_s >= WATCH_S and server:
            self._watch_s = 0
            bad = server.receiver.bad_frames - self._bad & 0xFFFF
            self._bad = server.receiver.bad_frames
            if bad >= MANY_BAD:
                self._meter.note(events.LINE_DISTURBED, bad)

    def _end(self, code: int) -> None:
        self._former, self.left_s, self.fresh = (), 0, True
        self._note(code)

    def _note(self, code: int) -> None:
        address, baud, parity, stop_bits = self.settings
        self._meter.note(code, baud, stop_bits << 12 | parity << 8 | address)

    def pack(self) -> bytes:
        """For the journal: what is set, and while that is on trial what was before; NONE where that is the board's."""
        raw = lines.pack(*self._set) if self._set else _NONE
        if self.left_s:
            raw += lines.pack(*self._former) if self._former else _NONE
        return raw

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        self._set = lines.unpack(raw[: lines.LENGTH]) or ()
        self._former = lines.unpack(raw[lines.LENGTH :]) or ()
        self.left_s = TRIAL_S if len(raw) > lines.LENGTH else 0


_NONE = bytes(lines.LENGTH)


def block(meter) -> tuple:
    """In the order of `registers.LINE`."""
    line, heard_s = meter.line, meter.heard_s
    server = line.server
    counted = (0, 0, 0, 0, 0, 0)
    if server:
        receiver = server.receiver
        counted = (
            receiver.frames,
            receiver.bad_frames,
            receiver.overruns,
            server.requests,
            server.broadcasts,
            receiver.frames - server.requests - server.broadcasts & 0xFFFF,
        )
    ages = [_NEVER, _NEVER, _NEVER]
    for carrier in heard_s:
        place = meter.CARRIER_TCP if carrier > meter.CARRIER_LOCAL else carrier
        if place < len(ages):
            ages[place] = min(ages[place], meter.mono_s - heard_s[carrier])
    return (
        line.settings + line.former() + (line.left_s,) + counted + tuple(ages) + (line.mqtt_state, line.mqtt_connects)
    )


_NEVER = 0xFFFFFFFF
