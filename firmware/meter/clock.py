"""The meter's clock: UTC seconds from the board's RTC, known or unknown, and who may move it.

Unknown (the RTC stopped, was never set, or lies before what the journal has seen) the clock runs on from the last
checkpoint: it orders events and intervals, which say so, and expires nothing. It is set by a signed order only: freely
where the order answers the meter's nonce, otherwise by 60 s a day in total.
"""

from meterlink import results
from meterlink.mac import equal
from meterlink.reports import NO_NONCE

NONCE_LENGTH = 8
SHIFT_S = 60  # a day, without a nonce
DAY_S = 86_400
_AHEAD_S = 2  # by which the RTC may lead: both clocks count whole seconds
_BEHIND_S = 5  # by which it may lag, after a start too: time stands until it has caught up


class Clock:
    """unix_s: now · known: whether that is the time · nonce: what a clock order answers · day, used_s: shifted
    without a nonce on that day (days since 1970), to be kept with the state."""

    def __init__(self, board) -> None:
        self._board = board
        self.unix_s = 0
        self.known = False
        self.nonce = NO_NONCE
        self.day = 0
        self.used_s = 0

    def start(self, saved_s: int, sure: bool) -> int:
        """Begin at a start of the meter; the seconds without power, or -1 where nobody knows.

        saved_s: time of the last checkpoint, 0 = none · sure: no setting of the RTC was cut short.
        """
        unix_s, valid = self._board.rtc()
        self.known = bool(valid and sure and unix_s >= saved_s - _BEHIND_S)
        self.unix_s = max(unix_s, saved_s) if self.known else saved_s
        self.renew()
        return self.unix_s - saved_s if self.known and saved_s else -1

    def renew(self) -> None:
        """A new nonce: at a start, and after each use."""
        self.nonce = bytes(self._board.entropy(NONCE_LENGTH))

    def tick(self, elapsed_s: int) -> int:
        """Let time pass: seconds by which the RTC jumped beside it, normally 0. Never backwards without a jump."""
        expected_s = self.unix_s + elapsed_s
        if self.known:
            unix_s, valid = self._board.rtc()
            if valid:
                jump_s = unix_s - expected_s
                if not -_BEHIND_S <= jump_s <= _AHEAD_S:
                    self.unix_s = unix_s
                    return jump_s
                expected_s = max(unix_s, self.unix_s)
        self.unix_s = expected_s
        return 0

    def judge(self, nonce: bytes, unix_s: int) -> int:
        """results.APPLIED where a clock order with this nonce may set that time, or BAD_NONCE."""
        if nonce != NO_NONCE:
            return results.APPLIED if equal(nonce, self.nonce) else results.BAD_NONCE
        if self.known and self._used_today() + abs(unix_s - self.unix_s) <= SHIFT_S:
            return results.APPLIED
        return results.BAD_NONCE

    def _used_today(self) -> int:
        return self.used_s if self.day == self.unix_s // DAY_S else 0

    def state(self) -> tuple:
        """What `move` changes, for `restore`."""
        return self.unix_s, self.known, self.nonce, self.day, self.used_s

    def restore(self, state: tuple) -> None:
        """Back to a `state`: what was decided could not be stored."""
        self.unix_s, self.known, self.nonce, self.day, self.used_s = state

    def move(self, nonce: bytes, unix_s: int) -> None:
        """Set the time that `judge` has allowed. The RTC is set by `set_rtc`, once the order is durable."""
        if nonce == NO_NONCE:
            self.used_s = self._used_today() + abs(unix_s - self.unix_s)
            self.day = self.unix_s // DAY_S
        else:
            self.renew()
        self.unix_s = unix_s
        self.known = True

    def set_rtc(self) -> None:
        """Give the time to the board."""
        self._board.set_rtc(self.unix_s)
