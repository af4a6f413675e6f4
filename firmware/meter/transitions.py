"""Disconnect control of DLMS/COSEM class 70 as data: its transitions, and which of them each mode lists."""

from meterlink import states

REMOTE_OFF = 0
REMOTE_ON = 1
REMOTE_PERMIT = 2
LOCAL_OFF = 3
LOCAL_ON = 4
MANUAL_ON = 5
MANUAL_OFF = 6

_OFF = states.CONTROL_DISCONNECTED
_ON = states.CONTROL_CONNECTED
_READY = states.CONTROL_READY

# (letter of class 70, trigger, from, to)
TRANSITIONS = (
    ("a", REMOTE_ON, _OFF, _ON),
    ("b", REMOTE_OFF, _ON, _OFF),
    ("c", REMOTE_OFF, _READY, _OFF),
    ("d", REMOTE_PERMIT, _OFF, _READY),
    ("e", MANUAL_ON, _READY, _ON),
    ("f", MANUAL_OFF, _ON, _READY),
    ("g", LOCAL_OFF, _ON, _READY),
    ("h", LOCAL_ON, _READY, _ON),
)

# Limits.supply_mode -> the letters that it lists. 0 is none of class 70's: a release is direct or a permit as each
# order says. Each mode lists b, c, e and g, and a or d: so supply can always be cut, and comes back from everywhere.
MODES = {0: "abcdegh", 2: "abcefg", 3: "bcdeg", 4: "abceg", 6: "bcdegh"}


def target(trigger: int, control: int, mode: int) -> int:
    """Where a transition leads, or -1 where the mode does not list it."""
    for letter, by, start, end in TRANSITIONS:
        if by == trigger and start == control and letter in MODES[mode]:
            return end
    return -1
