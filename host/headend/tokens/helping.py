"""Typed tokens that carry no credit: help for a paid customer whose link is dead, and what a technician types.

Both are made as credit tokens are: a row with its TID first (`reserved`), then the digits by `making`. They are
idempotent by (channel, request id), and who asked, and why, stands in the token's history.
"""

from typing import Any

from sqlalchemy import Connection, Row

from headend.ledger import accounts, balances
from headend.orders import statements
from headend.refusals import Refused
from headend.store import identity, lock_meter
from headend.tokens import book
from headend.tokens.amounts import UNIT_UC, kwh
from meterlink import bodies
from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts.amount import HELP_ALLOWANCE, HELP_RELEASE, MAX_UNITS, units_of
from meterlink.sts.issue import help_register, register_of
from meterlink.sts.token import CLEAR_CREDIT, CLEAR_TAMPER, MANAGE, SET_POWER, SUPPLY_HELP

RELEASE = "release"  # the hold for arrears goes
ALLOWANCE = "allowance"  # some energy, whatever the balance
HELP = (RELEASE, ALLOWANCE)
MAX_ALLOWANCE = 0xFFF  # units of 0.1 kWh

CLEAR_ALL_CREDIT = "clear_credit"
CLEAR_TAMPER_LATCH = "clear_tamper"
MAXIMUM_POWER = "max_power"
ENGINEERING = (CLEAR_ALL_CREDIT, CLEAR_TAMPER_LATCH, MAXIMUM_POWER)
MAX_POWER_W = MAX_UNITS

_ALL_REGISTERS = 0xFFFF


class RequestConflict(Refused):
    """The id was used for another request."""


def help_token(
    conn: Connection, now_s: int, channel: str, request_id: str, meter_id: int, kind: str, units: int, reason: str
) -> tuple[Row[Any], bool]:
    """Reserve a token that helps where no order arrives; returns its row, and whether the request had come before.

    kind: `RELEASE` (units 0) or `ALLOWANCE` (units 1..4095 of 0.1 kWh) · reason: why, in words. A release follows what
    we want: our newest order on arrears releases them, or there is none and the customer's account is positive. An
    allowance takes a positive account, of at least as much where the books are in kWh. Raises Refused.
    """
    if kind not in HELP:
        raise Refused("kind", kind, f"one of {', '.join(HELP)}")
    least, most = (1, MAX_ALLOWANCE) if kind == ALLOWANCE else (0, 0)
    if not least <= units <= most:
        raise Refused("energy", kwh(units * UNIT_UC), f"{kwh(least * UNIT_UC)} to {kwh(most * UNIT_UC)}")
    register = help_register(HELP_ALLOWANCE if kind == ALLOWANCE else HELP_RELEASE, units)
    known = _known(conn, channel, request_id, meter_id, SUPPLY_HELP, register)
    if known is not None:
        return known, True
    lock_meter(conn, meter_id)
    _may_help(conn, meter_id, kind, units)
    note = f"{kind}{f' of {kwh(units * UNIT_UC)}' if units else ''}: {reason}"
    return _reserve(conn, now_s, channel, request_id, meter_id, SUPPLY_HELP, register, note), False


def engineering_token(
    conn: Connection, now_s: int, channel: str, request_id: str, meter_id: int, kind: str, power_w: int, reason: str
) -> tuple[Row[Any], bool]:
    """Reserve a token for a technician: one of `ENGINEERING`; returns its row, and whether the request had come before.

    power_w: of `MAXIMUM_POWER`, 1..18 201 624, 0 takes the limit away; a power between two steps of the register is
    refused. Else 0. Raises Refused.
    """
    if kind not in ENGINEERING:
        raise Refused("kind", kind, f"one of {', '.join(ENGINEERING)}")
    subclass, register = _SUBCLASS[kind], 0
    if kind == CLEAR_ALL_CREDIT:
        register = _ALL_REGISTERS
    elif kind == MAXIMUM_POWER:
        register = _register_of_power(power_w)
    elif power_w:
        raise Refused("power_w", power_w, f"nothing, or {MAXIMUM_POWER} as the kind")
    known = _known(conn, channel, request_id, meter_id, subclass, register)
    if known is not None:
        return known, True
    lock_meter(conn, meter_id)
    return _reserve(conn, now_s, channel, request_id, meter_id, subclass, register, f"{kind}: {reason}"), False


_SUBCLASS = {CLEAR_ALL_CREDIT: CLEAR_CREDIT, CLEAR_TAMPER_LATCH: CLEAR_TAMPER, MAXIMUM_POWER: SET_POWER}


def _register_of_power(power_w: int) -> int:
    if not 0 <= power_w <= MAX_POWER_W:
        raise Refused("power_w", power_w, f"0..{MAX_POWER_W}")
    register = register_of(power_w)
    if units_of(register) != power_w:
        raise Refused("power_w", power_w, f"{units_of(register - 1)} or {units_of(register)}, steps of the token")
    return register


def _known(
    conn: Connection, channel: str, request_id: str, meter_id: int, subclass: int, register: int
) -> Row[Any] | None:
    """The token that this very request led to before; raises RequestConflict for another request of this id."""
    for row in book.of_request(conn, channel, request_id):
        if row._mapping["class"] != MANAGE:
            continue
        if (row.meter, row.subclass, row.register) != (meter_id, subclass, register):
            raise RequestConflict("request_id", request_id, "a new id: it was used for another request")
        return row
    return None


def _may_help(conn: Connection, meter_id: int, kind: str, units: int) -> None:
    ruling = statements.arrears(conn, meter_id)
    stops = ruling == bodies.HOLD
    if kind == RELEASE and stops:
        raise Refused("kind", kind, "a meter that we do not want to be off for arrears")
    if kind == RELEASE and ruling is not None:
        return
    balance_uc = balances.balance_uc(conn, accounts.of_meter(meter_id, book.epoch_of(conn, meter_id)))
    least_uc = units * UNIT_UC if identity.get(conn).currency == CURRENCY_ENERGY else 0
    if balance_uc <= 0 or balance_uc < least_uc:
        raise Refused("kind", kind, "a customer whose account covers it")


def _reserve(
    conn: Connection,
    now_s: int,
    channel: str,
    request_id: str,
    meter_id: int,
    subclass: int,
    register: int,
    note: str,
) -> Row[Any]:
    token_id = book.reserve(
        conn,
        now_s,
        meter_id,
        token_class=MANAGE,
        subclass=subclass,
        register=register,
        channel=channel,
        payment_id=request_id,
        actor=accounts.of_channel(channel),
        note=note,
    )
    return book.get(conn, token_id)
