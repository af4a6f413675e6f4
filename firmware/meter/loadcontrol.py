"""Load control: the power that the last `load` order allows, step by step of time."""

from meter.store import KEY_LOAD
from meterlink.bodies import decode_load

BLIND_S = 3600  # a limit counts on for so long by a clock that is not known: what takes away must end


class LoadControl:
    """steps: (from_s, power_w), the last one without a limit; () = none · a kept part (see `core.Meter`)."""

    key = KEY_LOAD

    def __init__(self, clock) -> None:
        self._clock = clock
        self._blind_s = 0
        self._body = b"\x01\x00"
        self.steps: "tuple[tuple[int, int], ...]" = ()
        self.fresh = False

    def take(self, body: bytes, steps: "tuple[tuple[int, int], ...]") -> None:
        """What an order states; body: encoded."""
        self._body, self.steps, self.fresh = body, steps, True

    def in_force(self) -> "tuple[int, int]":
        """(power in W that is allowed now, UTC second at which that ends); 0 = no limit, and no end."""
        limit_w = until_s = 0
        if self._blind_s <= BLIND_S:
            for from_s, power_w in self.steps:
                if from_s > self._clock.unix_s:
                    until_s = from_s
                    break
                limit_w = power_w
        return limit_w, until_s

    def limit_w(self, elapsed_s: int) -> int:
        """The power that is allowed, once a second."""
        self._blind_s = 0 if self._clock.known else self._blind_s + elapsed_s
        return self.in_force()[0]

    def state(self) -> tuple:
        """For `restore`."""
        return self._body, self.steps, self.fresh

    def restore(self, state: tuple) -> None:
        """Back to a `state`."""
        self._body, self.steps, self.fresh = state

    def pack(self) -> bytes:
        """For the journal."""
        return self._body

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        self._body, self.steps = raw, decode_load(raw)
