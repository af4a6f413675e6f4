"""The tariff in force, the one that waits for its time, the rate of the moment, and what is counted by them.

A watt-hour takes the rate and the step in force in the second in which it is completed; the remainder of the price is
carried over every switch. The body of a tariff lies in one of three places of the journal. It is stored there before
the order that it came with is decided, in the place that neither tariff uses; the decision then says which place.
"""

import struct

from meter.store import KEY_RUNNING, KEY_TARIFF, KEY_TARIFF_BODIES, KEY_TARIFF_PASSIVE
from meterlink import tariff
from meterlink.billing import Running

_NAMED = ">HIB"  # signing epoch and version of its order, place of its body
_NAMED_LENGTH = 7
_VERSION_LENGTH = 6
_PLACES = 3
_RUNNING = ">IIQ"


class Pricing(Running):
    """active: the Tariff in force, before commissioning one that costs nothing · active_version: (signing epoch,
    version) of its order, (0, 0) as made · passive: the one that waits, or None · rate: 0..3, in force · standing_uc:
    what of the account's charges is for time. A kept part (see `core.Meter`); step_wh is in the checkpoint."""

    key = KEY_RUNNING

    def __init__(self) -> None:
        super().__init__()
        self.active = tariff.Tariff((0,))
        self.active_version = (0, 0)
        self.passive: "tariff.Tariff | None" = None
        self.rate = 0
        self.standing_uc = 0
        self.fresh = False
        self._active_named = b""
        self._passive_named = b""

    # -- time ----------------------------------------------------------------------------------------------------------

    def due(self, unix_s: int, known: bool) -> int:
        """Since when the waiting tariff is to be in force, or 0. Without the time it waits on."""
        plan = self.passive
        return plan.activate_s if known and plan is not None and unix_s >= plan.activate_s else 0

    def switch_to(self, plan, named: bytes, unix_s: int) -> None:
        """A tariff takes over at `unix_s`; none waits any more."""
        self.switch(plan, unix_s)
        self.active, self.active_version, self._active_named = plan, _version(named), named
        self.passive, self._passive_named = None, b""

    def switch_to_passive(self, unix_s: int) -> None:
        """The waiting tariff takes over, at its time."""
        self.switch_to(self.passive, self._passive_named, unix_s)

    def settle(self, unix_s: int) -> int:
        """The time has come to `unix_s`: the standing charges that fall due, in micro-currency."""
        before = self.period, self.day
        due_uc = self.turn(self.active, unix_s)
        self.fresh = self.fresh or before != (self.period, self.day)
        return due_uc

    def update(self, unix_s: int, known: bool) -> bool:
        """Set the rate for the time that begins now; whether it changed."""
        before = self.rate
        self.rate = self.active.rate_at(unix_s, known)
        return self.rate != before

    def next_s(self, unix_s: int) -> int:
        """The next second at which the rate may change: slots start at quarters of an hour, whatever the offset."""
        quarter_s = unix_s - unix_s % tariff.QUARTER_S + tariff.QUARTER_S
        if self.passive is not None and unix_s < self.passive.activate_s < quarter_s:
            return self.passive.activate_s
        return quarter_s

    def local(self, unix_s: int) -> "tuple[int, int, int, int, int]":
        """(year, month, day, weekday 0 = Monday, second of the day); that of UTC before commissioning."""
        return self.active.local(unix_s)

    def special(self, unix_s: int) -> bool:
        """Whether the local day is a special one on which credit never trips."""
        return self.active.friendly(unix_s)

    def next_local_day_s(self, unix_s: int) -> int:
        """The first second of a later local day."""
        return self.active.next_day_s(unix_s)

    # -- money ---------------------------------------------------------------------------------------------------------

    def price_uc_per_kwh(self) -> int:
        """Price of the next watt-hour."""
        return self.active.price_uc_per_kwh(self.rate, self.step_wh)

    def use(self, energy_wh: int) -> bool:
        """Count consumption that was charged; whether it went beyond a step."""
        before = self.active.step(self.step_wh)
        self.step_wh += energy_wh
        return self.active.step(self.step_wh) != before

    def open_account(self) -> None:
        """Another account begins: its steps and charges do as well. The day is paid for."""
        self.step_wh = self.standing_uc = 0
        self.fresh = True

    # -- in the journal ------------------------------------------------------------------------------------------------

    def state(self) -> tuple:
        """For `restore`."""
        running = self.rate, self.step_wh, self.period, self.day, self.standing_uc, self.fresh
        return self.active, self.active_version, self._active_named, self.passive, self._passive_named, running

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self.active, self.active_version, self._active_named, self.passive, self._passive_named, running = state
        self.rate, self.step_wh, self.period, self.day, self.standing_uc, self.fresh = running

    def pack(self) -> bytes:
        """What is counted over time."""
        return struct.pack(_RUNNING, self.period, self.day, self.standing_uc)

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        self.period, self.day, self.standing_uc = struct.unpack(_RUNNING, raw)

    def free_place(self) -> int:
        """The place of a body that neither tariff uses."""
        taken = [named[_VERSION_LENGTH] for named in self._named() if len(named) == _NAMED_LENGTH]
        place = 0
        while place in taken:
            place += 1
        return place

    def wait(self, plan, named: bytes) -> None:
        """A tariff is to take over at its time; it takes the place of another that waits."""
        self.passive, self._passive_named = plan, named

    def _named(self) -> "tuple[bytes, bytes]":
        return self._active_named, self._passive_named

    def items(self) -> "list[tuple[int, bytes]]":
        """Which tariffs are in force and wait, for the journal."""
        return [(KEY_TARIFF, self._active_named), (KEY_TARIFF_PASSIVE, self._passive_named)]

    def load(self, get, made: bytes) -> None:
        """From the journal. get: a value by its key · made: body of the tariff that the meter was made with."""
        self._active_named = get(KEY_TARIFF) or b""
        self._passive_named = get(KEY_TARIFF_PASSIVE) or b""
        found = _find(get, self._active_named)
        self.active_version = _version(self._active_named) if found else (0, 0)
        self.active = found or tariff.decode(made)
        self.passive = _find(get, self._passive_named)


def name(version: "tuple[int, int]", place: int) -> bytes:
    """What names a tariff in the journal: the version of its order and the place of its body."""
    return struct.pack(_NAMED, *version, place)


def _version(named: bytes) -> "tuple[int, int]":
    return struct.unpack_from(_NAMED[:-1], named, 0)


def _find(get, named: bytes):
    """The tariff that is named, or None. Releases before 2 put the body itself behind the version."""
    if len(named) != _NAMED_LENGTH:
        return tariff.decode(named[_VERSION_LENGTH:]) if named else None
    body = get(KEY_TARIFF_BODIES + named[_VERSION_LENGTH])
    return tariff.decode(body) if body else None
