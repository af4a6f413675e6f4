"""The names of codes, for everyone but the meter (they would cost it memory): the constants themselves, in lower
case."""

from meterlink import bodies, bodies_root, events, orders, reasons, records, reports, results, states
from meterlink.sts import results as typed


def _table(module: object, prefix: str = "") -> dict[int, str]:
    return {
        value: key[len(prefix) :].lower()
        for key, value in vars(module).items()
        if key.isupper() and key.startswith(prefix) and isinstance(value, int)
    }


RESULT = _table(results)
EVENT = _table(events)
HOLD = _table(reasons, "HOLD_")
CAUSE = _table(reasons, "CAUSE_")
WHO = {0: "nobody", reasons.BY_KEY: "key"}  # beside holds and causes (`of_who`)
CONTROL = _table(states, "CONTROL_")
CONTACT = _table(states, "CONTACT_")
DIAGNOSIS = _table(states, "DIAGNOSIS_")
PENDING = _table(states, "PENDING_")
MODE = _table(states, "MODE_")
EMERGENCY = _table(states, "EMERGENCY_")
SETTLEMENT = _table(bodies, "SETTLEMENT_")
LATCH = _table(states, "LATCH_")
CLOCK = _table(states, "CLOCK_")
ALARM = _table(states, "ALARM_")
UPDATE = _table(states, "UPDATE_")
FLAG = _table(records, "FLAG_")
ASPECT = _table(orders, "ASPECT_")
ROLE = _table(orders, "ROLE_")
EPOCH_CAUSE = _table(bodies_root, "EPOCH_")
REPORT = _table(reports, "KIND_")
TYPED = _table(typed)  # what a meter answers to a typed token


def of(table: dict[int, str], code: int) -> str:
    """The name of a code; ``code_<n>`` for one that this version does not know."""
    return table.get(code, f"code_{code}")


def of_who(who: int) -> tuple[str, str]:
    """(table of labels, name) of what opens or closes a relay: a hold, a cause, the customer's key; ("who", "nobody")
    for 0."""
    if who >= reasons.BY_KEY or not who:
        return "who", of(WHO, who)
    if who >= reasons.OWN:
        return "cause", of(CAUSE, who - reasons.OWN)
    return "hold", of(HOLD, who)


def code(table: dict[int, str], name: str) -> int:
    """The code of a name; ValueError that lists the known names otherwise."""
    for value, known in table.items():
        if known == name:
            return value
    raise ValueError(f"{name!r} is not known; expected one of {', '.join(table.values())}")


def of_bits(table: dict[int, str], word: int) -> list[str]:
    """The names of the bits set in a word such as `holds`, lowest first; an unknown bit as ``code_<n>``."""
    return [of(table, bit) for bit in range(word.bit_length()) if word >> bit & 1]


def of_flags(table: dict[int, str], word: int) -> list[str]:
    """The names of the masks set in a flags byte, lowest first."""
    return [of(table, 1 << bit) for bit in range(word.bit_length()) if word >> bit & 1]
