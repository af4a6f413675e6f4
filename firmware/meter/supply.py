"""Supply: what the meter intends, as DLMS/COSEM disconnect control (class 70), and why.

Supply is off while any hold or cause stands. Holds come by signed order, each with its own version; causes are the
meter's own. Protection (reasons.HOLD_PROTECTION) sets all of them aside but safety.

Intent (`control`) moves by the transitions of class 70 only:

- A hold that stands opens the relay after its delay (remote off, b; from ready, c). The delay is the longer of what
  the order says and what the limits say, so that a flood of stops can be called back; safety does not wait.
- A cause of the meter's own opens it after the limits' delay (local off, g).
- When the last hold goes: release with *direct* closes by itself (a), with *permit* makes ready (d) and the
  customer's key closes (e). One *permit* among the releases since the trip asks for the key, whatever order they came
  in. Safety always asks for it.
- Without credit the meter is ready, but closes neither by itself nor by key until a payment came; then it closes by
  itself (h).
- Protection of a meter that is off makes it ready for the key.

Each close waits until supply has been good for `stable_s`, a random spread (not after the key) and the dwell since
the last operation. Every change is committed before the coil is told; where it cannot be committed the relay stays as
it is.
"""

import struct

from meter.ports import INDICATE_TRIP, UNKNOWN_DV, UNKNOWN_W
from meter.relay import Relay
from meterlink import events, reasons, states
from meterlink.bodies import CLOSE_PERMIT, DEFAULT, HOLD, RELEASE, Limits

REMOTE_OFF = 0
REMOTE_ON = 1
REMOTE_PERMIT = 2
LOCAL_OFF = 3
LOCAL_ON = 4
MANUAL_ON = 5

_OFF = states.CONTROL_DISCONNECTED
_ON = states.CONTROL_CONNECTED
_READY = states.CONTROL_READY

# (letter of class 70, trigger, from, to). f, manual off, is not offered: there is no such key.
TRANSITIONS = (
    ("a", REMOTE_ON, _OFF, _ON),
    ("b", REMOTE_OFF, _ON, _OFF),
    ("c", REMOTE_OFF, _READY, _OFF),
    ("d", REMOTE_PERMIT, _OFF, _READY),
    ("e", MANUAL_ON, _READY, _ON),
    ("g", LOCAL_OFF, _ON, _READY),
    ("h", LOCAL_ON, _READY, _ON),
)

OVERLOAD_S = 10  # above the limit for so long trips
OVERLOAD_REST_S = 60  # and keeps the relay open for so long

_PROTECTION = 1 << reasons.HOLD_PROTECTION
_SAFETY = 1 << reasons.HOLD_SAFETY
_OWN = 0x100  # marks a cause in an event's detail and among what is armed
_BY_ITSELF = 1  # bit 0 of `keyed`, as no hold has that number: `_ASK_FOR_KEY`, or a relay that was open when new
_ASK_FOR_KEY = (_OWN + reasons.CAUSE_OVERLOAD, _OWN + reasons.CAUSE_RETIRED)

_CREDIT = 1 << reasons.CAUSE_OUT_OF_CREDIT | 1 << reasons.CAUSE_REMINDER
_OVERLOAD = 1 << reasons.CAUSE_OVERLOAD
_UNSTABLE = 1 << reasons.CAUSE_SUPPLY_QUALITY
_UNCOMMISSIONED = 1 << reasons.CAUSE_NOT_COMMISSIONED
_RETIRED = 1 << reasons.CAUSE_RETIRED

_STATE = ">BIIBIB"

NO_LIMITS = Limits(0, 0, 0, 0, 0, 0, 0)


def target(trigger: int, control: int) -> int:
    """Where a transition leads, or -1 where class 70 does not list it."""
    for _, by, start, end in TRANSITIONS:
        if by == trigger and start == control:
            return end
    return -1


class Supply:
    """control: states.CONTROL_* · holds, causes: bits · keyed: bits of the holds whose release asks for the key ·
    limits: NO_LIMITS before commissioning · retired: the account is closed for good · relay.

    `log(code, argument, detail)` notes an event; `commit()` makes this state durable and returns whether it is.
    """

    def __init__(self, board, log, commit) -> None:
        self._board = board
        self._log = log
        self._commit = commit
        self.relay = Relay(board, log)
        self.control = _ON
        self.holds = 0
        self.causes = 0
        self.keyed = 0
        self.limits = NO_LIMITS
        self.power_limit_w = 0  # kept with the state of typed tokens, which set it; 0 = none
        self.retired = False
        self._armed: "dict[int, int]" = {}  # hold number or _OWN + cause -> due by the monotonic clock
        self._resume_s = -1  # what was left of an armed trip before the power failed, -1: nothing was armed
        self._close_due_s: "int | None" = None
        self._close_spread_s = DEFAULT
        self._stable_for_s = 0
        self._overload_for_s = 0
        self._overload_until_s = 0
        self._key = False
        self._held_s = 0
        self._mono_s = 0

    # -- state in the journal ------------------------------------------------------------------------------------------

    def pack(self) -> bytes:
        """Intent, holds and the relay's counts. (What is armed is in the checkpoint, as seconds left.)"""
        relay = self.relay
        return struct.pack(
            _STATE, self.control, self.holds, self.keyed, relay.attempts, relay.operations, self.causes & _OVERLOAD
        )

    def unpack(self, raw: bytes) -> None:
        """Take them from the journal."""
        relay = self.relay
        f = struct.unpack(_STATE, raw)
        self.control, self.holds, self.keyed, relay.attempts, relay.operations, self.causes = f

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

    def why(self) -> "tuple[str, int]":
        """The first thing that keeps supply off, or is about to: ("hold", n), ("cause", n), ("key", 0) where it waits
        for the customer's key, ("", 0) where nothing does."""
        for kind, word in (("hold", self._holds_standing()), ("cause", self._causes_standing())):
            for number in range(32):
                if word >> number & 1:
                    return kind, number
        return ("key" if self.control != _ON and self.keyed else ""), 0

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

        credit_causes: those that the account finds, bits of CAUSE_OUT_OF_CREDIT and CAUSE_REMINDER · frozen: nothing
        can be committed, so the relay stays as it is. Without limits (before commissioning) it does as well.
        """
        self._mono_s = mono_s
        self.relay.sense(elapsed_s, self.control == _ON)
        self._watch_supply(elapsed_s)
        self._set_cause(_UNCOMMISSIONED, self.limits is NO_LIMITS and self.control != _ON)
        if self.limits is not NO_LIMITS:
            self._watch_load(elapsed_s)
            self.causes = self.causes & ~_CREDIT | credit_causes
            self._set_cause(_RETIRED, self.retired)
            self._keep_armed()
            if not frozen:
                self._move()
        if frozen:
            self._key = False
        self._resume_s = -1

    def _watch_supply(self, elapsed_s: int) -> None:
        """How long the voltage has been good; it keeps an open relay open, and never opens a closed one."""
        voltage_dv = self._board.voltage_dv()
        nominal_dv = getattr(self._board, "nominal_dv", 2300)
        good = voltage_dv == UNKNOWN_DV or nominal_dv * 8 <= voltage_dv * 10 <= nominal_dv * 12
        self._stable_for_s = min(self._stable_for_s + elapsed_s, 0xFFFF) if good else 0
        self._set_cause(_UNSTABLE, self.control != _ON and not self._stable())

    def _stable(self) -> bool:
        return self._stable_for_s >= self.limits.stable_s

    def _watch_load(self, elapsed_s: int) -> None:
        if self.control == _ON and self._overloaded():
            self._overload_for_s += elapsed_s
            self._overload_until_s = self._mono_s + OVERLOAD_REST_S
            if self._overload_for_s >= OVERLOAD_S:
                self._set_cause(_OVERLOAD, True)
        else:
            self._overload_for_s = 0
            if self._mono_s >= self._overload_until_s:
                self._set_cause(_OVERLOAD, False)

    def _overloaded(self) -> bool:
        power_w = self._board.power_w()
        return 0 < self.limits.max_current_ma < self.relay.load_ma or 0 < self.power_limit_w < power_w < UNKNOWN_W

    def _set_cause(self, bit: int, stands: bool) -> None:
        self.causes = self.causes | bit if stands else self.causes & ~bit

    def _holds_standing(self) -> int:
        """The holds that count: all but protection itself; under protection safety alone."""
        return self.holds & (_SAFETY if self.holds & _PROTECTION else ~_PROTECTION)

    def _causes_standing(self) -> int:
        """The causes that count: under protection only those that make a close unsafe, and the end of the account."""
        return self.causes & (_UNSTABLE | _UNCOMMISSIONED | _RETIRED) if self.holds & _PROTECTION else self.causes

    # -- trips ---------------------------------------------------------------------------------------------------------

    def _arm(self, who: int, delay_s: int) -> None:
        """A trip for `who` is due after a delay; a newer statement of the same hold replaces the older."""
        if self._resume_s >= 0:
            delay_s = min(delay_s, self._resume_s)
        self._armed[who] = self._mono_s + delay_s
        if self.control == _ON:
            self._log(events.TRIP_ARMED, delay_s, who)
            if delay_s:
                self._board.indicate(INDICATE_TRIP, min(delay_s, 0xFFFF))

    def _keep_armed(self) -> None:
        """What is armed equals what stands: a cause that has come, a hold that protection no longer sets aside."""
        holds = self._holds_standing()
        causes = self._causes_standing()
        if not holds and not causes and not self._armed:
            return
        for who in list(self._armed):
            if not (causes >> (who - _OWN) if who >= _OWN else holds >> who) & 1:
                del self._armed[who]
                if self.control == _ON and not self._armed:
                    self._log(events.TRIP_WITHDRAWN, 0, who)
        if self.control != _ON:
            return
        if holds:
            for hold in range(1, 32):
                if holds >> hold & 1 and hold not in self._armed:
                    self._arm(hold, self.delay_s(hold, DEFAULT))
        for cause, delay_s in (
            (reasons.CAUSE_OUT_OF_CREDIT, self.limits.trip_delay_s),
            (reasons.CAUSE_OVERLOAD, 0),
            (reasons.CAUSE_RETIRED, self.limits.trip_delay_s),
        ):
            if causes >> cause & 1 and _OWN + cause not in self._armed:
                self._arm(_OWN + cause, delay_s)

    def _due(self) -> int:
        """Who is due to trip, the earliest first; -1 = no one."""
        found = -1
        for who, due_s in self._armed.items():
            if due_s <= self._mono_s and (found < 0 or due_s < self._armed[found]):
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
        who = self._due()
        if who >= 0:
            if who == reasons.HOLD_SAFETY or relay.rested(self._mono_s, dwell_s):
                keyed = self.keyed | _BY_ITSELF if who in _ASK_FOR_KEY else self.keyed
                self._change(LOCAL_OFF if who >= _OWN else REMOTE_OFF, keyed, who)
            return
        if self._key and relay.diagnosis == states.DIAGNOSIS_FAILED_TO_CLOSE:
            relay.attempts = 0
        self._key = False
        if self._stable() and relay.again(self._mono_s, True, dwell_s):
            self._pulse_again()

    def _move_off(self) -> None:
        holds = self._holds_standing()
        causes = self._causes_standing()
        if holds and self.control == _READY:
            self._change(REMOTE_OFF, self.keyed, -1)
        elif not holds and self.control == _OFF and (self.keyed or causes):
            if self._change(REMOTE_PERMIT, self.keyed, -1) and not causes:
                self._log(events.READY_FOR_RECONNECTION, 0, 0)
        if self.relay.again(self._mono_s, False, self.limits.dwell_s):
            self._pulse_again()
        if holds or causes:
            self._close_due_s = None
            self._key = False
            return
        if self._key and self.control == _READY:
            trigger = MANUAL_ON
            self._close_due_s = self._mono_s
        elif self.keyed:
            self._close_due_s = None
            self._key = False
            return
        else:
            trigger = LOCAL_ON if self.control == _READY else REMOTE_ON
            if self._close_due_s is None:
                self._close_due_s = self._mono_s + self._spread_s()
        if self._mono_s >= self._close_due_s and self.relay.rested(self._mono_s, self.limits.dwell_s):
            if self._change(trigger, 0, 0):
                self._close_due_s = None
                self._close_spread_s = DEFAULT
                self._key = False

    def _spread_s(self) -> int:
        """A random delay, so that a street does not come back in one second."""
        widest_s = self.limits.spread_s if self._close_spread_s == DEFAULT else self._close_spread_s
        return int.from_bytes(self._board.entropy(2), "big") % (widest_s + 1)

    def _change(self, trigger: int, keyed: int, detail: int) -> bool:
        """One transition: committed, then carried out. Whether it was; without a commit nothing has changed.

        detail: for the event of the relay; -1 where the relay is open before and after.
        """
        relay = self.relay
        before = self.control, self.keyed, self._armed, relay.attempts, relay.operations
        control = target(trigger, self.control)
        if control < 0:
            return False
        self.control = control
        self.keyed = keyed
        if detail >= 0:
            self._armed = {}
            relay.attempts = 1
            relay.operations += 1
        if not self._commit():
            self.control, self.keyed, self._armed, relay.attempts, relay.operations = before
            return False
        if detail >= 0:
            relay.pulse(self._mono_s, control == _ON, detail)
        return True

    def _pulse_again(self) -> None:
        """Tell the relay once more what it did not follow; the attempt is committed before its pulse."""
        relay = self.relay
        before = relay.attempts, relay.operations
        relay.attempts = min(relay.attempts + 1, 0xFF)
        relay.operations += 1
        if self._commit():
            relay.pulse(self._mono_s, self.control == _ON, 0)
        else:
            relay.attempts, relay.operations = before
