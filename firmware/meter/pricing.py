"""The tariff in force, the one that waits for its time, and the rate of the moment.

A watt-hour takes the rate in force in the second in which it is completed; the remainder of the price is carried over
every switch.
"""

import struct

from meterlink import tariff

_HEAD = ">HI"
_HEAD_LENGTH = 6


class Pricing:
    """active, passive: a Tariff, or None · active_version: (signing epoch, version) of its order, (0, 0) as made ·
    rate: 0..3, in force · step_wh: consumed in the period of the tariff's steps."""

    def __init__(self) -> None:
        self.active: "tariff.Tariff | None" = None
        self.active_version = (0, 0)
        self.passive: "tariff.Tariff | None" = None
        self.passive_version = (0, 0)
        self.rate = 0
        self.step_wh = 0

    def due(self, unix_s: int, known: bool) -> bool:
        """Whether the waiting tariff is to take over. Without the time it waits on."""
        return known and self.passive is not None and unix_s >= self.passive.activate_s

    def switch(self) -> None:
        """The waiting tariff takes over."""
        self.active, self.active_version = self.passive, self.passive_version
        self.passive = None

    def update(self, unix_s: int, known: bool) -> bool:
        """Set the rate for the time that begins now; whether it changed."""
        before = self.rate
        self.rate = self.active.rate_at(unix_s, known) if self.active else 0
        return self.rate != before

    def next_s(self, unix_s: int) -> int:
        """The next second at which the rate may change: slots start at quarters of an hour, whatever the offset."""
        quarter_s = unix_s - unix_s % tariff.QUARTER_S + tariff.QUARTER_S
        if self.passive is not None and unix_s < self.passive.activate_s < quarter_s:
            return self.passive.activate_s
        return quarter_s

    def price_uc_per_kwh(self) -> int:
        """Price of the rate in force."""
        return self.active.prices_uc_per_kwh[self.rate] if self.active else 0

    def state(self) -> tuple:
        """For `restore`."""
        return self.active, self.active_version, self.passive, self.passive_version, self.rate

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.active, self.active_version, self.passive, self.passive_version, self.rate = state


def pack(version: "tuple[int, int]", plan) -> bytes:
    """A tariff and its version for the journal; no bytes for none."""
    return struct.pack(_HEAD, *version) + plan.encode() if plan else b""


def unpack(raw: "bytes | None") -> tuple:
    """(version, tariff) from the journal; ((0, 0), None) for none."""
    if not raw:
        return (0, 0), None
    return struct.unpack_from(_HEAD, raw, 0), tariff.decode(raw[_HEAD_LENGTH:])
