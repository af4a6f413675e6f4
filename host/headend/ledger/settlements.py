"""Daily settlement (日对账): a channel's own list of a local day, held against ours, both ways.

Every difference is one of three kinds, each with what is to be done (`words.DIFFERENCES`), and stands until a person
says what was done. Idempotent by channel and day: the same list again gives the same answer, another one is refused.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.ledger import payments, zone
from headend.refusals import Refused
from headend.store.schema import channel, payment
from headend.store.schema_money import settlement, settlement_difference
from meterlink.bodies import MAX_UC

LONG = "long"  # theirs, not ours
SHORT = "short"  # ours, not theirs
AMOUNT = "amount"

MAX_ITEMS = 100_000

_OURS = select(payment.c.payment_id, payment.c.amount_uc).where(
    payment.c.channel == bindparam("of"),
    payment.c.taken_s >= bindparam("since"),
    payment.c.taken_s < bindparam("until"),
)
_KNOWN = select(settlement).where(settlement.c.channel == bindparam("of"), settlement.c.day == bindparam("on_day"))
_LOCK = select(channel.c.channel).where(channel.c.channel == bindparam("of")).with_for_update(key_share=True)
_DIFFERENCES = (
    select(settlement_difference)
    .where(settlement_difference.c.settlement_id == bindparam("of"))
    .order_by(settlement_difference.c.payment_id)
)


class SettlementConflict(Refused):
    """Another list was given for that day."""


def settle(
    conn: Connection,
    now_s: int,
    channel_name: str,
    day: int,
    items: Sequence[tuple[str, int]],
    count: int,
    sum_uc: int,
    actor: str,
) -> Row[Any]:
    """Hold a channel's payments (id, amount) of a local day that is over against ours; returns the `settlement` row.

    `count`, `sum_uc`: what the channel says that the list comes to. Raises Refused, SettlementConflict.
    """
    _check(items, count, sum_uc)
    local = zone.of(conn)
    if day >= zone.day_of(local, now_s):
        raise Refused("day", zone.date_of(day).isoformat(), "a day that is over")
    if conn.execute(_LOCK, {"of": channel_name}).one_or_none() is None:
        raise Refused("channel", channel_name, "a channel of this head end")
    theirs = dict(items)
    digest = hashlib.sha256(repr(sorted(items)).encode()).digest()
    known = get(conn, channel_name, day)
    if known is not None:
        if known.digest != digest:
            raise SettlementConflict("day", zone.date_of(day).isoformat(), "a day that is not settled by another list")
        return known
    asked = {"of": channel_name, "since": zone.start_s(local, day), "until": zone.start_s(local, day + 1)}
    ours = {row.payment_id: row.amount_uc for row in conn.execute(_OURS, asked)}
    totals = {"theirs": count, "theirs_uc": sum_uc, "ours": len(ours), "ours_uc": sum(ours.values())}
    row = {"channel": channel_name, "day": day, "digest": digest, **totals, "taken_s": now_s, "actor": actor}
    made = conn.execute(insert(settlement).returning(*settlement.c), row).one()
    found = [
        {"settlement_id": made.id, "payment_id": name, "kind": kind, "theirs_uc": theirs_uc, "ours_uc": ours_uc}
        for name, kind, theirs_uc, ours_uc in differences(theirs, ours)
    ]
    if found:
        conn.execute(insert(settlement_difference), found)
    return made


def differences(theirs: dict[str, int], ours: dict[str, int]) -> list[tuple[str, str, int, int]]:
    """(payment id, kind, theirs, ours) of all that differs, by payment id."""
    found = []
    for name in sorted(theirs.keys() | ours.keys()):
        theirs_uc, ours_uc = theirs.get(name, 0), ours.get(name, 0)
        if theirs_uc != ours_uc:
            kind = AMOUNT if theirs_uc and ours_uc else LONG if theirs_uc else SHORT
            found.append((name, kind, theirs_uc, ours_uc))
    return found


def get(conn: Connection, channel_name: str, day: int) -> Row[Any] | None:
    """The settlement of a channel's day."""
    return conn.execute(_KNOWN, {"of": channel_name, "on_day": day}).one_or_none()


def differences_of(conn: Connection, settlement_id: int) -> list[Row[Any]]:
    """The differences of a settlement, those that were dealt with too."""
    return list(conn.execute(_DIFFERENCES, {"of": settlement_id}))


def standing(conn: Connection, limit: int) -> list[Row[Any]]:
    """Differences that nobody has dealt with, oldest first, with channel and day."""
    its = settlement.c.id == settlement_difference.c.settlement_id
    found = select(settlement_difference, settlement.c.channel, settlement.c.day).join(settlement, its)
    found = found.where(settlement_difference.c.settled_s.is_(None))
    return list(conn.execute(found.order_by(settlement.c.id, settlement_difference.c.payment_id).limit(limit)))


def deal_with(
    conn: Connection, now_s: int, channel_name: str, day: int, payment_id: str, note: str, actor: str
) -> None:
    """Note what was done about a difference; once. Raises Refused."""
    known = get(conn, channel_name, day)
    if not 1 <= len(note) <= 200:
        raise Refused("note", note, "1..200 characters")
    mine = settlement_difference.c.payment_id == payment_id, settlement_difference.c.settled_s.is_(None)
    its = settlement_difference.c.settlement_id == (known.id if known is not None else 0)
    done = update(settlement_difference).where(its, *mine).values(settled_s=now_s, actor=actor, note=note)
    if not conn.execute(done).rowcount:
        raise Refused("payment_id", payment_id, "a difference of that day that stands")
    detail: dict[str, int | str | None] = {"day": day, "payment_id": payment_id, "note": note}
    audit.record(conn, now_s, actor, "settlement.settled", f"channel:{channel_name}", detail)


def _check(items: Sequence[tuple[str, int]], count: int, sum_uc: int) -> None:
    if len(items) > MAX_ITEMS:
        raise Refused("payments", len(items), f"at most {MAX_ITEMS}")
    for name, amount_uc in items:
        if not (1 <= len(name) <= payments.MAX_ID and 1 <= amount_uc <= MAX_UC):
            raise Refused("payments", name, f"ids of 1..{payments.MAX_ID} characters, amounts of 1..{MAX_UC}")
    if len(dict(items)) != len(items):
        raise Refused("payments", "an id twice", "each id once")
    if count != len(items):
        raise Refused("count", count, f"{len(items)}, as the list has")
    found_uc = sum(amount_uc for _, amount_uc in items)
    if sum_uc != found_uc:
        raise Refused("sum_uc", sum_uc, f"{found_uc}, what the list comes to")
