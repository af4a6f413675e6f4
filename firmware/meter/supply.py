"""Supply: what the meter intends, as DLMS/COSEM disconnect control (class 70), and why.

Supply is off while any hold or cause stands. Holds come by signed order, each with its own version; causes are the
meter's own (`watchers`, the account). Protection (reasons.HOLD_PROTECTION) sets all of them aside but safety,
over-voltage and temperature, and what makes a close unsafe.

Intent (`control`) moves by the transitions that the mode lists (`transitions`) and no others:

- A hold that stands opens the relay after its delay (remote off, b; from ready, c). The delay is the longer of what
  the order says and what the limits say, so that a flood of stops can be called back; safety does not wait.
- A cause opens it (local off, g): what would do harm at once, load control after a minute, the others after the limits'
  delay.
- When the last hold goes: release with *direct* closes by itself (a), with *permit* makes ready (d) and the
  customer's key closes (e). One *permit* among the releases since the trip asks for the key, whatever order they came
  in. Safety always asks for it, as do the end of an account and an overload that came too often. In a mode without d
  the meter stays disconnected until that key, and closes by a.
- Without credit the meter is ready, but closes neither by itself nor by key until a payment came; then it closes by
  itself (h), or by the key in a mode without h.
- Protection of a meter that is off makes it ready for the key.
- In a mode with f the customer's key, held for 3 s, opens the relay; the key closes it again.

Each close waits until supply has been good for `stable_s`, a random spread (not after the key) and the dwell since
the last operation. Every change is committed before the coil is told; where it cannot be committed the relay stays as
it is.
"""

import struct

from meter.loadcontrol import LoadControl
from meter.ports import INDICATE_TRIP
from meter.relay import Relay
from meter.transitions import (
    LOCAL_OFF,
    LOCAL_ON,
    MANUAL_OFF,
    MANUAL_ON,
    REMOTE_OFF,
    REMOTE_ON,
    REMOTE_PERMIT,
    target,
)
from meter.watchers import KEPT, LOAD_LIMIT, OVER_VOLTAGE, OVERLOAD, TEMPERATURE, UNDER_VOLTAGE, UNSTABLE, Watchers
from meterlink import events, reasons, states
from meterlink.bodies import CLOSE_PERMIT, DEFAULT, HOLD, RELEASE, Limits
from meterlink.reasons import BY_KEY, OWN

KEY_S = 3  # the key is held for so long to open the relay
LOAD_LIMIT_S = 60  # above the limit of load control for so long trips: a kettle may boil
HOUR_S = 3600  # in which supply closes by itself `overload_closes` times
WORN_PARTS = 10  # a relay is told to be worn when less than a tenth of its rated operations is left

_OFF = states.CONTROL_DISCONNECTED
_ON = states.CONTROL_CONNECTED
_READY = states.CONTROL_READY

_PROTECTION = 1 << reasons.HOLD_PROTECTION
_SAFETY = 1 << reasons.HOLD_SAFETY
_BY_ITSELF = 1  # bit 0 of `keyed`, as no hold has that number: a cause asks for the key

_CREDIT = 1 << reasons.CAUSE_OUT_OF_CREDIT | 1 << reasons.CAUSE_REMINDER
_UNCOMMISSIONED = 1 << reasons.CAUSE_NOT_COMMISSIONED
_RETIRED = 1 << reasons.CAUSE_RETIRED

DELAYED = _CREDIT | _RETIRED | UNDER_VOLTAGE  # trips after the limits' delay
AT_ONCE = OVERLOAD | OVER_VOLTAGE | TEMPERATURE
_TRIPS = DELAYED | AT_ONCE | LOAD_LIMIT
_LOAD_LIMIT = OWN + reasons.CAUSE_LOAD_LIMIT  # the customer may end it at any time: no event tells that it is armed
_HARM = OVER_VOLTAGE | TEMPERATURE  # heeds neither protection nor dwell, as a safety hold does
DESPITE_PROTECTION = _HARM | UNSTABLE | _UNCOMMISSIONED | _RETIRED
_COUNTED = (OVERLOAD, LOAD_LIMIT)  # closes by itself so often, then asks for the key

_STATE = ">BIIBIBBBBHHH"
_STATE_LENGTH = 24

NO_LIMITS = Limits(0, 0, 0, 0, 0, 0, 0)


class Supply:
    """control: states.CONTROL_* · holds, causes: bits · keyed: bits of the holds whose release asks for the key ·
    limits: NO_LIMITS before commissioning · retired: the account is closed for good · relay, load: as they are named.

    `log(code, argument, detail)` notes an event; `commit(switch)` makes this state durable and returns whether it is;
    switch: (closed, who) where the relay is to be told to follow, else None. *Who* opens or closes it is a hold (1 ..
    31), or OWN + cause; who closes it is the one that stood last; BY_KEY is the customer.
    """

    def __init__(self, board, clock, log, commit) -> None:
        self._board = board
        self._log = log
        self._commit = commit
        self.relay = Relay(board, log)
        self.load = LoadControl(clock)
        self._watchers = Watchers(board)
        self.control = _ON
        self.holds = 0
        self.causes = 0
        self.keyed = 0
        self.limits = NO_LIMITS
        self.power_limit_w = 0  # kept with the state of typed tokens, which set it; 0 = none
        self.retired = False
        self._armed: "dict[int, int]" = {}  # who -> due by the monotonic clock
        self._resume_s = -1  # what was left of an armed trip before the power failed, -1: nothing was armed
        self._close_due_s: "int | None" = None
        self._close_spread_s = DEFAULT
        self._closes = [0, 0]  # of _COUNTED, by itself in the present hour,
        self._hour_s = [0, 0]  # of which so much is left
        self._ended = 0  # who kept supply off last
        self._key = False
        self._held_s = 0
        self._mono_s = 0

    # -- state in the journal ------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """Intent, holds, what must not be found anew, the relay's counts. (What is armed is in the checkpoint, as
        seconds left.)"""
        relay = self.relay
        kept = self.causes & KEPT
        counts = relay.attempts, relay.operations, kept & 0xFF, kept >> 8
        return struct.pack(
            _STATE, self.control, self.holds, self.keyed, *counts, *self._closes, *self._hour_s, self._ended
        )

    def unpack(self, raw: bytes) -> None:
        """Take them from the journal; earlier firmware kept the first 15 bytes."""
        relay = self.relay
        f = struct.unpack(_STATE, raw + bytes(_STATE_LENGTH - len(raw)))
        self.control, self.holds, self.keyed, relay.attempts, relay.operations = f[:5]
        self.causes = f[5] | f[6] << 8
        self._watchers.causes = self.causes
        self._closes, self._hour_s, self._ended = list(f[7:9]), list(f[9:11]), f[11]

    def adopt(self) -> None:
        """First start of a new meter: the intent is what the contact is; an open one asks for the key."""
        if self._board.contact() == states.CONTACT_OPEN:
            self.control = _READY
            self.keyed = _BY_ITSELF

    def resume(self, mono_s: int, left_s: int, delays: "list[tuple[int, int]]") -> None:
        """After a start: arm again what stands, (hold, its ordered delay), but for no longer than `left_s`.

        left_s: what a trip that was armed when power failed may still wait, -1 = none was. So power that fails again
        and again does not put a trip off.
        """
        self._mono_s = mono_s
        self._resume_s = left_s
        for hold, delay_s in delays:
            if self._holds_standing() >> hold & 1:
                self._arm(hold, self.delay_s(hold, delay_s))

    def left_s(self) -> int:
        """Seconds until the armed trip, at least 1, for the checkpoint; 0 = none."""
        if not self._armed or self.control != _ON:
            return 0
        return max(1, min(min(self._armed.values()) - self._mono_s, 0xFFFF))

    def pending(self) -> "tuple[int, int]":
        """(states.PENDING_*, seconds until it is due) of the armed operation; seconds 0 where only conditions lack."""
        if self.control == _ON:
            if self._armed:
                return states.PENDING_TRIP, max(0, min(self._armed.values()) - self._mono_s)
        elif self._close_due_s is not None:
            return states.PENDING_CLOSE, max(0, self._close_due_s - self._mono_s)
        return states.PENDING_NONE, 0

    def armed(self) -> "tuple[int, int, int]":
        """(how many trips are armed, who is the first, seconds until it is due)."""
        if self.control != _ON or not self._armed:
            return 0, 0, 0
        first = self._first()
        return len(self._armed), first, max(0, self._armed[first] - self._mono_s)

    def closes_left(self, which: int) -> int:
        """How often supply yet comes back by itself in this hour after an overload (0), after load control (1)."""
        return max(0, self.limits.overload_closes - self._closes[which])

    def alarms(self) -> int:
        """Bits of states.ALARM_TEMPERATURE, ALARM_LOAD_LIMIT and ALARM_RELAY_WORN."""
        causes = self.causes
        return (
            (causes & TEMPERATURE != 0) << states.ALARM_TEMPERATURE
            | (causes & LOAD_LIMIT != 0) << states.ALARM_LOAD_LIMIT
            | (self.relay.operations >= self._worn()) << states.ALARM_RELAY_WORN
        )

    def _worn(self) -> int:
        rated = self._board.rated_operations
        return rated - rated // WORN_PARTS

    def why(self) -> "tuple[str, int]":
        """The first thing that keeps supply off, or is about to: ("hold", n), ("cause", n), ("key", 0) where it waits
        for the customer's key, ("", 0) where nothing does."""
        causes = self._causes_standing()
        for kind, word in (("hold", self._holds_standing()), ("cause", causes & ~UNSTABLE), ("cause", causes)):
            for number in range(32):
                if word >> number & 1:
                    return kind, number
        return ("key" if self.control != _ON and self._asks() else ""), 0

    # -- orders --------------------------------------------------------------------------------------------------------

    def state(self) -> tuple:
        """What `order` changes, for `restore`."""
        return self.holds, self.keyed, dict(self._armed), self._close_due_s, self._close_spread_s, self.relay.attempts

    def restore(self, state: tuple) -> None:
        """Back to a `state`: the order could not be stored."""
        self.holds, self.keyed, self._armed, self._close_due_s, self._close_spread_s, self.relay.attempts = state

    def order(self, hold: int, action: int, close: int, delay_s: int, spread_s: int) -> None:
        """Set or release a hold; the intent follows at the next step."""
        bit = 1 << hold
        if action == HOLD:
            if not self.holds & bit:
                self._log(events.HOLD_SET, 0, hold)
            self.holds |= bit
            if hold == reasons.HOLD_SAFETY or (hold == reasons.HOLD_PROTECTION and self.control != _ON):
                self.keyed |= bit
            if self._holds_standing() & bit:
                self._arm(hold, self.delay_s(hold, delay_s))
            return
        if self.holds & bit:
            self._log(events.HOLD_RELEASED, 0, hold)
            if close == CLOSE_PERMIT and hold != reasons.HOLD_PROTECTION:
                self.keyed |= bit
        if self.control == _ON or (close != CLOSE_PERMIT and hold != reasons.HOLD_SAFETY):
            self.keyed &= ~bit
        if self.control == _ON and close != CLOSE_PERMIT:
            self.relay.attempts = 0  # whoever asks again gets another try
        self.holds &= ~bit
        self._close_spread_s = spread_s

    def release(self, hold: int, close: int) -> None:
        """Release a hold without an order of its own: an account ends, or a token was typed."""
        self.order(hold, RELEASE, close, DEFAULT, DEFAULT)

    def delay_s(self, hold: int, ordered_s: int) -> int:
        """Seconds from a hold to its trip: the longer of what was ordered and the limits; safety at once."""
        if hold == reasons.HOLD_SAFETY:
            return 0
        if ordered_s == DEFAULT:
            return self.limits.trip_delay_s
        return max(ordered_s, self.limits.trip_delay_s)

    def press(self, held_s: int = 0) -> None:
        """The customer pressed the reconnection key for so many seconds: acted on at the next step."""
        self._key = True
        self._held_s = held_s

    # -- time ----------------------------------------------------------------------------------------------------------

    def step(self, mono_s: int, elapsed_s: int, credit_causes: int, frozen: bool) -> None:
        """Sense, then move intent and relay where something is due.

        credit_causes: those that the account finds, bits of CAUSE_OUT_OF_CREDIT and CAUSE_REMINDER (which the account
        withdraws when the key was held) · frozen: nothing can be committed or switched, so the relay stays as it is.
        Without limits (before commissioning) it does as well.
        """
        self._mono_s = mono_s
        on = self.control == _ON
        self.relay.sense(elapsed_s, on)
        limits = self.limits
        load_ma = self.relay.load_ma if on else None
        self._watchers.step(elapsed_s, limits, load_ma, self.power_limit_w, self.load.limit_w(elapsed_s))
        causes = self._watchers.causes & (~UNSTABLE if on else -1)
        if limits is NO_LIMITS:
            self.causes = causes if on else causes | _UNCOMMISSIONED
        else:
            self.causes = causes | credit_causes | (_RETIRED if self.retired else 0)
            self._pass_hour(elapsed_s)
            self._keep_armed()
            if not frozen:
                self._move()
        if frozen:
            self._key = False
        self._resume_s = -1

    def _pass_hour(self, elapsed_s: int) -> None:
        for i in range(2):
            self._hour_s[i] = max(0, self._hour_s[i] - elapsed_s)
            if not self._hour_s[i]:
                self._closes[i] = 0

    def _holds_standing(self) -> int:
        """The holds that count: all but protection itself; under protection safety alone."""
        return self.holds & (_SAFETY if self.holds & _PROTECTION else ~_PROTECTION)

    def _causes_standing(self) -> int:
        """The causes that count: under protection those that would do harm, or make a close unsafe."""
        return self.causes & (DESPITE_PROTECTION if self.holds & _PROTECTION else -1)

    def _asks(self) -> bool:
        """Whether it takes the customer's key to close."""
        return bool(self.keyed) or (self.control == _READY and self._target(LOCAL_ON) < 0)

    def _target(self, trigger: int) -> int:
        return target(trigger, self.control, self.limits.supply_mode)

    # -- trips ---------------------------------------------------------------------------------------------------------

    def _arm(self, who: int, delay_s: int) -> None:
        """A trip for `who` is due after a delay; a newer statement of the same hold replaces the older."""
        if self._resume_s >= 0:
            delay_s = min(delay_s, self._resume_s)
        self._armed[who] = self._mono_s + delay_s
        if self.control == _ON:
            if who != _LOAD_LIMIT:
                self._log(events.TRIP_ARMED, delay_s, who)
            if delay_s:
                self._board.indicate(INDICATE_TRIP, min(delay_s, 0xFFFF))

    def _keep_armed(self) -> None:
        """What is armed equals what stands: a cause that has come, a hold that protection no longer sets aside."""
        holds = self._holds_standing()
        causes = self._causes_standing() & _TRIPS
        if not holds and not causes and not self._armed:
            return
        for who in list(self._armed):
            if not (causes >> (who - OWN) if who >= OWN else holds >> who) & 1:
                del self._armed[who]
                if self.control == _ON and not self._armed and who != _LOAD_LIMIT:
                    self._log(events.TRIP_WITHDRAWN, 0, who)
        if self.control != _ON:
            return
        if holds:
            for hold in range(1, 32):
                if holds >> hold & 1 and hold not in self._armed:
                    self._arm(hold, self.delay_s(hold, DEFAULT))
        for cause in range(16):
            if causes >> cause & 1 and OWN + cause not in self._armed:
                self._arm(OWN + cause, self._cause_delay_s(1 << cause))

    def _cause_delay_s(self, cause: int) -> int:
        if cause & LOAD_LIMIT:
            return LOAD_LIMIT_S
        return 0 if cause & AT_ONCE else self.limits.trip_delay_s

    def _first(self) -> int:
        """Who is due to trip first; -1 = no one."""
        found = -1
        for who, due_s in self._armed.items():
            if found < 0 or due_s < self._armed[found]:
                found = who
        return found

    # -- moves ---------------------------------------------------------------------------------------------------------

    def _move(self) -> None:
        """One transition or one pulse, where one is due."""
        if self.control == _ON:
            self._move_on()
        else:
            self._move_off()

    def _move_on(self) -> None:
        relay = self.relay
        dwell_s = self.limits.dwell_s
        rested = relay.rested(self._mono_s, dwell_s)
        who = self._first()
        if who >= 0 and self._armed[who] <= self._mono_s:
            cause = 1 << who - OWN if who >= OWN else 0
            if rested or who == reasons.HOLD_SAFETY or cause & _HARM:
                self._trip(LOCAL_OFF if cause else REMOTE_OFF, who, cause)
            return
        key, self._key = self._key, False
        if key and relay.diagnosis == states.DIAGNOSIS_FAILED_TO_CLOSE:
            relay.attempts = 0
        if key and self._held_s >= KEY_S and rested and self._target(MANUAL_OFF) >= 0:
            self._change(MANUAL_OFF, self.keyed | _BY_ITSELF, BY_KEY)
        elif who < 0 and relay.again(self._mono_s, True, dwell_s) and not self._watchers.causes & UNSTABLE:
            self._pulse_again()

    def _trip(self, trigger: int, who: int, cause: int) -> None:
        """Open, and settle whether it takes the key to close again."""
        before = list(self._closes), list(self._hour_s)
        keyed = self.keyed | (_BY_ITSELF if self.causes & _RETIRED else 0)
        for i in range(2):
            if self.causes & _COUNTED[i]:
                if self._closes[i] >= self.limits.overload_closes:
                    keyed |= _BY_ITSELF
                else:
                    self._closes[i] += 1
                    self._hour_s[i] = self._hour_s[i] or HOUR_S
        if not self._change(trigger, keyed, who):
            self._closes, self._hour_s = before

    def _move_off(self) -> None:
        holds = self._holds_standing()
        causes = self._causes_standing()
        if holds:
            if self.control == _READY:
                self._change(REMOTE_OFF, self.keyed, 0)
        elif self.control == _OFF and (self.keyed or causes or self._target(REMOTE_ON) < 0):
            if self._change(REMOTE_PERMIT, self.keyed, 0) and not causes:
                self._log(events.READY_FOR_RECONNECTION, 0, 0)
        if self.relay.again(self._mono_s, False, self.limits.dwell_s):
            self._pulse_again()
        if holds or causes & ~UNSTABLE:
            kind, number = self.why()
            self._ended = OWN + number if kind == "cause" else number
        if holds or causes:
            self._stay_off()
            return
        key = self._key and (self.control == _READY or self.keyed)
        if key:
            self._close_due_s = self._mono_s
        elif self._asks():
            self._stay_off()
            return
        elif self._close_due_s is None:
            self._close_due_s = self._mono_s + self._spread_s()
        if self._mono_s >= self._close_due_s and self.relay.rested(self._mono_s, self.limits.dwell_s):
            trigger = REMOTE_ON if self.control == _OFF else MANUAL_ON if key else LOCAL_ON
            if self._change(trigger, 0, BY_KEY if key else self._ended):
                self._stay_off()
                self._close_spread_s = DEFAULT

    def _stay_off(self) -> None:
        """Neither a close that was due nor a key that was pressed counts any more."""
        self._close_due_s = None
        self._key = False

    def _spread_s(self) -> int:
        """A random delay, so that a street does not come back in one second."""
        widest_s = self.limits.spread_s if self._close_spread_s == DEFAULT else self._close_spread_s
        return int.from_bytes(self._board.entropy(2), "big") % (widest_s + 1)

    def _change(self, trigger: int, keyed: int, who: int) -> bool:
        """One transition: committed, then carried out. Whether it was; without a commit nothing has changed.

        who: opens or closes the relay (see `Supply`); of no meaning where it is open before and after.
        """
        relay = self.relay
        control = self._target(trigger)
        if control < 0:
            return False
        before = self.control, self.keyed, self._armed, self._ended, relay.attempts, relay.operations
        switch = (control == _ON, who) if _ON in (control, self.control) else None
        self.control = control
        self.keyed = keyed
        if switch:
            self._armed = {}
            self._ended = who
            relay.attempts = 1
            relay.operations += 1
        if not self._commit(switch):
            self.control, self.keyed, self._armed, self._ended, relay.attempts, relay.operations = before
            return False
        if switch:
            self._pulse(who)
        return True

    def _pulse_again(self) -> None:
        """Tell the relay once more what it did not follow; the attempt is committed before its pulse."""
        relay = self.relay
        before = relay.attempts, relay.operations
        relay.attempts = min(relay.attempts + 1, 0xFF)
        relay.operations += 1
        if self._commit(None):
            self._pulse(self._ended)
        else:
            relay.attempts, relay.operations = before

    def _pulse(self, who: int) -> None:
        if self.relay.operations == self._worn():
            self._log(events.RELAY_WORN, self.relay.operations, 0)
        self.relay.pulse(self._mono_s, self.control == _ON, who)
