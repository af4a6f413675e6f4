"""Which statements may open a relay: one table by aspect, read by the gate and by nobody else.

A statement opens where carrying it out can end supply that stands: at once, by a timer, or because credit is used up
sooner. It is compared with what was wanted `before` it; where that is not known, what could open does. What gives, and
what leaves things as they are, passes freely.

Not in the table, because they never take supply away by themselves: credit without a refund, the clock, cleared
latches, keys, firmware and new accounts (root's, whose key lies offline with its custodians), and recovery.
"""

from collections.abc import Callable

from meterlink import bodies, reasons, states, tariff
from meterlink.bodies import Limits
from meterlink.orders import (
    ASPECT_CREDIT,
    ASPECT_DEBT,
    ASPECT_LIMITS,
    ASPECT_LOAD,
    ASPECT_MODE,
    ASPECT_RETIRE,
    ASPECT_SUPPLY,
    ASPECT_TARIFF,
)
from meterlink.tariff import Tariff

Test = Callable[[int, bytes, bytes | None], bool]
"""test(selector, body, body before it): whether it may open a relay."""


def opens(aspect: int, selector: int, body: bytes, before: bytes | None = None) -> bool:
    """Whether a statement may open a relay. `body`: whole, also where it travels apart."""
    test = OPENING.get(aspect)
    return test is not None and test(selector, body, before)


def compares(aspect: int, body: bytes) -> bool:
    """Whether `opens` wants to know what was stated before."""
    return aspect in _COMPARING and (aspect != ASPECT_CREDIT or _refunded_uc(body) > 0)


def _supply(selector: int, body: bytes, _before: bytes | None) -> bool:
    """A hold sets supply off, and the end of protection lets what stands do so."""
    action = bodies.decode_supply(body)[0]
    return (action == bodies.HOLD) != (selector == reasons.HOLD_PROTECTION)


def _refunded_uc(body: bytes) -> int:
    return int.from_bytes(body[8:16], "big")


def _credit(_selector: int, body: bytes, before: bytes | None) -> bool:
    """A refund that takes more than is credited with it."""
    refunded_uc = _refunded_uc(body)
    if not refunded_uc:
        return False
    credited_uc = int.from_bytes(body[:8], "big")
    if before is None:
        return True
    return credited_uc - refunded_uc < int.from_bytes(before[:8], "big") - _refunded_uc(before)


def _tariff(_selector: int, body: bytes, before: bytes | None) -> bool:
    """One that may charge more for anything: not dearer are only lower prices in the same places, or a tariff whose
    dearest watt-hour costs no more than the cheapest one before it."""
    if before is None:
        return True
    new, old = tariff.decode(body), tariff.decode(before)
    charged = {charge[0]: charge[1] for charge in old.charges}
    if any(charge[1] > charged.get(charge[0], 0) for charge in new.charges):
        return True
    if _earns_less(new, old):
        return True
    if max(new.prices_uc_per_kwh) <= min(old.prices_uc_per_kwh):
        return False
    alike = _places(new) == _places(old)
    return not alike or any(
        price > was for price, was in zip(new.prices_uc_per_kwh, old.prices_uc_per_kwh, strict=True)
    )


def _places(plan: Tariff) -> tuple[object, ...]:
    """All of a tariff but its amounts: which price applies when."""
    return (
        len(plan.prices_uc_per_kwh),
        plan.slots,
        plan.utc_offset_quarters,
        plan.unknown_time_rate,
        plan.steps_wh,
        plan.year_from,
        plan.more_days,
        plan.seasons,
        plan.special_days,
        plan.offsets,
    )


def _earns_less(new: Tariff, old: Tariff) -> bool:
    if not old.export_prices_uc_per_kwh:
        return False
    if not new.export_prices_uc_per_kwh:
        return True
    return min(new.export_prices_uc_per_kwh) < max(old.export_prices_uc_per_kwh) and (
        _places(new) != _places(old)
        or any(
            price < was for price, was in zip(new.export_prices_uc_per_kwh, old.export_prices_uc_per_kwh, strict=True)
        )
    )


def _up(new: int, old: int) -> bool:
    return new > old


def _down(new: int, old: int) -> bool:
    return new < old


def _changed(new: object, old: object) -> bool:
    return new != old


def _down_from_off(new: int, old: int) -> bool:
    """Of an upper limit that 0 turns off."""
    return new != 0 and (old == 0 or new < old)


# Field of `Limits` -> when its change can open a relay sooner. The others delay, or only tell.
_TIGHTER: dict[str, Callable[[int, int], bool]] = {
    "trip_delay_s": _down,
    "max_current_ma": _down_from_off,
    "credit_limit_uc": _down,
    "typed_cap_uc": _down,
    "emergency_uc": _down,
    "emergency_from_uc": _down,
    "overdraft_uc": _down,
    "min_close_uc": _up,
    "settlement": _changed,
    "supply_mode": _changed,
    "friendly_from": _changed,
    "friendly_until": _changed,
    "friendly_days": _changed,
    "over_voltage_dv": _down_from_off,
    "under_voltage_dv": _up,
    "voltage_s": _down,
    "max_temperature_dc": _down_from_off,
    "overload": _changed,
    "overload_rest_s": _up,
    "overload_closes": _down,
}


def _limits(_selector: int, body: bytes, before: bytes | None) -> bool:
    if before is None:
        return True
    new, old = bodies.decode_limits(body), bodies.decode_limits(before)
    if new.rules & ~old.rules & bodies.RULE_REMINDER or (
        new.rules & bodies.RULE_REMINDER and new.alarm2_uc > old.alarm2_uc
    ):
        return True  # a reminder trips at the second alarm
    if old.rules & ~new.rules & bodies.RULE_SUSPEND:
        return True
    return any(tighter(getattr(new, field), getattr(old, field)) for field, tighter in _TIGHTER.items())


def fields_of_limits() -> tuple[str, ...]:
    """The fields whose change is looked at one by one."""
    return tuple(_TIGHTER)


def _mode(_selector: int, body: bytes, before: bytes | None) -> bool:
    mode, adjusted_uc, until_wh, _, grace_wh, grace_s = bodies.decode_mode(body)
    if mode == states.MODE_POSTPAID:
        return False
    if before is None:
        return True
    was = bodies.decode_mode(before)
    if mode != was[0]:
        return True
    if mode == states.MODE_LOCAL:
        return adjusted_uc > was[1]
    return until_wh < was[2] or grace_wh < was[4] or grace_s < was[5]


def _load(_selector: int, body: bytes, before: bytes | None) -> bool:
    steps = bodies.decode_load(body)
    return any(power_w for _, power_w in steps) and body != before


def _debt(_selector: int, body: bytes, before: bytes | None) -> bool:
    new = bodies.decode_debt(body)
    owed_uc = new.placed_uc - new.withdrawn_uc
    if not owed_uc:
        return False
    if before is None:
        return True
    old = bodies.decode_debt(before)
    same = (new.kind, new.period) == (old.kind, old.period) and not _down_from_off(old.cap_uc, new.cap_uc)
    return (
        owed_uc > old.placed_uc - old.withdrawn_uc or not same or new.amount_uc > old.amount_uc or new.share > old.share
    )


def _always(_selector: int, _body: bytes, _before: bytes | None) -> bool:
    return True


OPENING: dict[int, Test] = {
    ASPECT_CREDIT: _credit,
    ASPECT_SUPPLY: _supply,
    ASPECT_TARIFF: _tariff,
    ASPECT_LIMITS: _limits,
    ASPECT_MODE: _mode,
    ASPECT_DEBT: _debt,
    ASPECT_LOAD: _load,
    ASPECT_RETIRE: _always,
}
_COMPARING = frozenset(OPENING) - {ASPECT_SUPPLY, ASPECT_RETIRE}

__all__ = ["OPENING", "Limits", "compares", "fields_of_limits", "opens"]
