"""What a channel may take: in a day, for one meter in a day, and out of the float that it has paid in.

One row a channel is counted up in the payment's own transaction, after the meter's row was locked: where payments run
in parallel, those of one channel with such a row wait for each other from there to the COMMIT. A channel without a row
has the limit of a single payment alone, and its payments wait for nobody.

The float of an agent is the balance of its account: what it paid in less what it has taken. It never falls below minus
the overdraft; null keeps no float.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from headend import audit
from headend.ledger import accounts, balances, entries, zone
from headend.ledger.words import CHANNEL_KINDS
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import channel, entry, payment
from headend.store.schema_money import channel_limit
from meterlink.bodies import MAX_UC

CASHIER = "cashier"
AGENT = "agent"
BANK = "bank"
SUBSIDY = "subsidy"  # a programme: it brings no money, its grants stand on an account of its own

_CHANNEL = prepared(select(channel.c.channel).where(channel.c.channel == bindparam("of")))
_LIMIT = prepared(select(channel_limit).where(channel_limit.c.channel == bindparam("of")))
_SPEND = prepared(
    update(channel_limit)
    .where(channel_limit.c.channel == bindparam("of"))
    .values(held_uc=channel_limit.c.held_uc - bindparam("amount"), day_uc=bindparam("taken"), day=bindparam("today"))
)
_LOCK = prepared(
    update(channel_limit)
    .where(channel_limit.c.channel == bindparam("of"))
    .values(low_uc=channel_limit.c.low_uc)
    .returning(*channel_limit.c)
)
_LOW = prepared(update(channel_limit).where(channel_limit.c.channel == bindparam("of")))
_OF_METER = prepared(
    select(func.coalesce(func.sum(payment.c.amount_uc), 0)).where(
        payment.c.meter == bindparam("of_meter"),
        payment.c.channel == bindparam("of"),
        payment.c.taken_s >= bindparam("since"),
    )
)
_POSTED = prepared(select(entry.c.amount_uc).where(entry.c.kind == entries.FLOAT, entry.c.cause == bindparam("named")))


class OverLimit(Refused):
    """The channel may not take this payment now."""


class FloatConflict(Refused):
    """The id was used for another amount."""


def limit_of(conn: Connection, name: str) -> Row[Any] | None:
    """The `channel_limit` row of a channel, if it has one."""
    row: Row[Any] | None = _LIMIT(conn, {"of": name}).one_or_none()
    return row


def spend(conn: Connection, now_s: int, name: str, meter: int, amount_uc: int) -> None:
    """Count a payment, whose row stands, against the limits of a channel that has some. The meter is locked.

    Raises OverLimit.
    """
    row = _LOCK(conn, {"of": name}).one()
    local = zone.of(conn)
    today = max(row.day, zone.day_of(local, now_s))  # a clock that goes back gives no second day
    taken_uc = amount_uc + (row.day_uc if row.day == today else 0)
    if row.max_day_uc is not None and taken_uc > row.max_day_uc:
        raise _over("amount_uc", amount_uc, row.max_day_uc - taken_uc + amount_uc, "the channel's limit for a day")
    if row.max_meter_day_uc is not None:
        asked = {"of": name, "of_meter": meter, "since": zone.start_s(local, today)}
        for_meter_uc = int(_OF_METER(conn, asked).scalar_one())
        if for_meter_uc > row.max_meter_day_uc:
            left_uc = row.max_meter_day_uc - for_meter_uc + amount_uc
            raise _over("amount_uc", amount_uc, left_uc, "its limit for a meter and day")
    if row.overdraft_uc is not None and row.held_uc - amount_uc < -row.overdraft_uc:
        raise _over("amount_uc", amount_uc, row.held_uc + row.overdraft_uc, "what is left of the channel's float")
    _SPEND(conn, {"of": name, "amount": amount_uc, "taken": taken_uc, "today": today})
    _mark(conn, now_s, row, row.held_uc - amount_uc)


def _over(field: str, amount_uc: int, left_uc: int, why: str) -> OverLimit:
    return OverLimit(field, amount_uc, f"at most {max(0, left_uc)}, {why}")


def _mark(conn: Connection, now_s: int, row: Row[Any], held_uc: int) -> None:
    """Note since when a float is low."""
    low = row.overdraft_uc is not None and held_uc + row.overdraft_uc < row.low_uc
    if low != (row.low_since_s is not None):
        _LOW(conn, {"of": row.channel, "low_since_s": now_s if low else None})


def set_limits(
    conn: Connection,
    now_s: int,
    name: str,
    kind: str,
    actor: str,
    *,
    max_day_uc: int | None = None,
    max_meter_day_uc: int | None = None,
    overdraft_uc: int | None = None,
    low_uc: int = 0,
) -> None:
    """Say what a channel is and what it may take; None: no limit, and for `overdraft_uc` no float. Raises Refused.

    What it holds is counted anew from its entries.
    """
    if kind not in CHANNEL_KINDS:
        raise Refused("kind", kind, f"one of {', '.join(CHANNEL_KINDS)}")
    values: dict[str, int | str | None] = {"max_day_uc": max_day_uc, "max_meter_day_uc": max_meter_day_uc}
    values |= {"overdraft_uc": overdraft_uc, "low_uc": low_uc}
    for field, value in values.items():
        if value is not None and not 0 <= int(value) <= MAX_UC:
            raise Refused(field, value, f"0..{MAX_UC}, or none")
    _check_channel(conn, name)
    known = _LOCK(conn, {"of": name}).one_or_none()
    if known is None:
        conn.execute(insert(channel_limit).values(channel=name, kind=kind))
    elif (known.kind == SUBSIDY) != (kind == SUBSIDY):
        raise Refused("kind", kind, f"{known.kind}: a programme is one from its beginning, and stays one")
    if kind == SUBSIDY:
        accounts.open_account(conn, accounts.of_subsidy(name))
    held_uc = balances.balance_uc(conn, account_of(name, kind))
    _LOW(conn, {"of": name, "kind": kind, "held_uc": held_uc, **values})
    _mark(conn, now_s, _LOCK(conn, {"of": name}).one(), held_uc)
    audit.record(conn, now_s, actor, "channel.limits", f"channel:{name}", {"kind": kind, **values})


def _check_channel(conn: Connection, name: str) -> None:
    if _CHANNEL(conn, {"of": name}).one_or_none() is None:
        raise Refused("channel", name, "a channel of this head end")


def account_of(name: str, kind: str | None) -> str:
    """The account that a channel's payments are taken from."""
    return accounts.of_subsidy(name) if kind == SUBSIDY else accounts.of_channel(name)


def hand_over(conn: Connection, now_s: int, name: str, request_id: str, amount_uc: int, actor: str) -> int:
    """A channel has handed over money (1..2^63-1): an agent's float grows by it. Returns what its account holds now.

    Idempotent by channel and `request_id` (1..64 printable ASCII characters). Raises Refused, FloatConflict.
    """
    if not (request_id.isascii() and request_id.isprintable() and 1 <= len(request_id) <= 64):
        raise Refused("request_id", request_id, "1..64 printable ASCII characters")
    if isinstance(amount_uc, bool) or not 1 <= amount_uc <= MAX_UC:
        raise Refused("amount_uc", amount_uc, f"1..{MAX_UC}")
    account = accounts.of_channel(name)
    _check_channel(conn, name)
    cause = f"float:{name}:{request_id}"
    _LOCK(conn, {"of": name})  # one after the other, and as payments do it
    before_uc = _POSTED(conn, {"named": cause}).scalar_one_or_none()
    if before_uc is None:
        accounts.open_account(conn, accounts.SETTLED)
        entries.post(conn, now_s, entries.FLOAT, accounts.SETTLED, account, amount_uc, None, cause)
        detail: dict[str, int | str | None] = {"amount_uc": amount_uc, "request_id": request_id}
        audit.record(conn, now_s, actor, "channel.handed_over", f"channel:{name}", detail)
    elif before_uc != amount_uc:
        raise FloatConflict("request_id", request_id, "a new id: it was used for another amount")
    return balances.balance_uc(conn, account)


def low(conn: Connection) -> list[Row[Any]]:
    """The channels whose float is low, longest first."""
    left_uc = channel_limit.c.held_uc + channel_limit.c.overdraft_uc
    its = select(channel_limit).where(left_uc < channel_limit.c.low_uc).order_by(channel_limit.c.low_since_s)
    return list(conn.execute(its))


def drift_uc(conn: Connection, name: str) -> int:
    """How far the float that is kept of a channel stands from its entries: 0, or something is wrong."""
    row = _LIMIT(conn, {"of": name}).one()
    return int(row.held_uc) - balances.balance_uc(conn, account_of(name, row.kind))
