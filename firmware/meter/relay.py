"""The relay as a physical thing: what it is told, what contact and current say, and how often it may be told again.

The intent is given by the caller (`supply`). A mismatch that lasts `SETTLE_S` has a name (states.DIAGNOSIS_*) and an
event within 5 s. A relay that did not follow is told again, a bounded number of times.
"""

from meterlink import events, states

SETTLE_S = 2  # a contact follows its pulse within tens of milliseconds; readings come once a second
MAX_ATTEMPTS = 3
OPEN_RETRY_S = 600  # a contact that did not open in MAX_ATTEMPTS is told again at this pace: it may be worn, not welded
RETRY_S = 5
NO_LOAD_MA = 20  # a current below this is none
MAX_NO_LOAD_S = 0xFFFF

_EVENT = {
    states.DIAGNOSIS_WELDED: events.RELAY_WELDED,
    states.DIAGNOSIS_FAILED_TO_CLOSE: events.RELAY_FAILED_TO_CLOSE,
    states.DIAGNOSIS_BYPASSED: events.RELAY_BYPASSED,
}


class Relay:
    """contact, load_ma, no_load_s, diagnosis: as last sensed · attempts: pulses since the intent changed · operations:
    pulses of this relay's life (both kept with the supply's state) · open_seen: it was open at some time since
    `take_open_seen`."""

    def __init__(self, board, log) -> None:
        self._board = board
        self._log = log  # (code, argument, detail)
        self.contact = states.CONTACT_UNKNOWN
        self.load_ma = 0
        self.no_load_s = 0
        self.diagnosis = states.DIAGNOSIS_OK
        self.attempts = 0
        self.operations = 0
        self._last_s: "int | None" = None  # when it was last told something in this run
        self._settled_s = 0  # how long contact and intent have disagreed
        self._told: "tuple[int, int] | None" = None  # (event, detail) to be logged when the contact has followed

    def sense(self, elapsed_s: int, closed: bool) -> None:
        """Read contact and current; compare with the intent."""
        self.contact = self._board.contact()
        self.load_ma = self._board.load_ma()
        flowing = self.load_ma > NO_LOAD_MA
        self.no_load_s = 0 if flowing else min(self.no_load_s + elapsed_s, MAX_NO_LOAD_S)
        found = self._mismatch(closed, flowing)
        if found == states.DIAGNOSIS_OK:
            self._settled_s = 0
            self._agree(closed)
        else:
            self._settled_s += elapsed_s
            if self._settled_s >= SETTLE_S and found != self.diagnosis:
                self.diagnosis = found
                failed = found == states.DIAGNOSIS_FAILED_TO_CLOSE
                self._log(_EVENT[found], self.attempts if failed else self.load_ma, 0)

    def _mismatch(self, closed: bool, flowing: bool) -> int:
        """What contact and current say against the intent."""
        if self.contact == states.CONTACT_OPEN:
            if flowing:
                return states.DIAGNOSIS_BYPASSED
            return states.DIAGNOSIS_FAILED_TO_CLOSE if closed else states.DIAGNOSIS_OK
        if closed:
            return states.DIAGNOSIS_OK
        if self.contact == states.CONTACT_CLOSED or flowing:
            return states.DIAGNOSIS_WELDED
        return states.DIAGNOSIS_OK

    def _agree(self, closed: bool) -> None:
        if self._told:
            self._log(self._told[0], 0, self._told[1])
            self._told = None
        if self.diagnosis != states.DIAGNOSIS_OK:
            self.diagnosis = states.DIAGNOSIS_OK
            self._log(events.RELAY_RECOVERED, 0, 0)
        if closed:
            self.attempts = 0

    def rested(self, mono_s: int, dwell_s: int) -> bool:
        """Whether the last operation lies `dwell_s` back."""
        return self._last_s is None or mono_s - self._last_s >= dwell_s

    def again(self, mono_s: int, closed: bool, dwell_s: int) -> bool:
        """Whether the relay, which did not follow, is to be told again now."""
        if self.diagnosis == states.DIAGNOSIS_BYPASSED and not closed:
            return False  # it is open: there is nothing that it could do
        if self._settled_s < SETTLE_S:
            return False
        pause_s = max(dwell_s, RETRY_S)
        if self.attempts >= MAX_ATTEMPTS:
            if closed:
                return False
            pause_s = max(pause_s, OPEN_RETRY_S)
        return self.rested(mono_s, pause_s)

    def pulse(self, mono_s: int, closed: bool, detail: int) -> None:
        """Tell the relay; `attempts` and `operations` were counted and committed before."""
        self._last_s = mono_s
        self._settled_s = 0
        self._told = (events.RELAY_CLOSED if closed else events.RELAY_OPENED, detail)
        self._board.coil(closed)
