"""Sales found on a meter, under our own signature, that the books had lost with the database that made them.

Such a sale is booked against `clearing:recovered`: whoever took the money still owes it. When the channel posts the
payment again, it is taken for that sale: the meter has it already, so it gets nothing new. A sale that the order lists
is known by its amount. Sales that it no longer lists are one sum; a payment is held against that only where the channel
says that it may have posted it before, and in part where less is left of it.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update

from headend.ledger import accounts, entries
from headend.store.schema import recovered
from meterlink import topics

_NEXT = (
    select(recovered)
    .where(
        recovered.c.meter == bindparam("of"),
        recovered.c.account_epoch == bindparam("epoch"),
        recovered.c.amount_uc == bindparam("amount"),
        recovered.c.channel.is_(None),
    )
    .order_by(recovered.c.source, recovered.c.total_uc)
    .limit(1)
)
_CLAIMED = select(func.coalesce(func.sum(recovered.c.amount_uc), 0)).where(
    recovered.c.channel == bindparam("from_channel"), recovered.c.payment_id == bindparam("named")
)
_UNLISTED = (
    select(recovered)
    .where(
        recovered.c.meter == bindparam("of"),
        recovered.c.account_epoch == bindparam("epoch"),
        recovered.c.listed == 0,
        recovered.c.channel.is_(None),
    )
    .order_by(recovered.c.source, recovered.c.total_uc)
)


def book(
    conn: Connection,
    now_s: int,
    meter: int,
    account_epoch: int,
    source: int,
    known_uc: int,
    credited_uc: int,
    sales: list[tuple[int, int]],
    evidence: bytes,
    found_s: int,
) -> int:
    """Book what `source` has credited beyond `known_uc`, sale by sale as far as `sales` (as in a credit order) lists
    them, the rest as one; returns how much that was.

    `evidence`: the signed order that states it · `found_s`: meter time of the report that proves it.
    """
    accounts.open_account(conn, accounts.RECOVERED)
    for total_uc, amount_uc, listed in split(known_uc, credited_uc, sales):
        key = {"meter": meter, "account_epoch": account_epoch, "source": source, "total_uc": total_uc}
        row = {**key, "amount_uc": amount_uc, "listed": listed, "evidence": evidence, "found_s": found_s}
        conn.execute(insert(recovered).values(row))
        entries.post(
            conn,
            now_s,
            entries.RECOVERED,
            debit=accounts.RECOVERED,
            credit=accounts.of_meter(meter, account_epoch),
            amount_uc=amount_uc,
            meter=meter,
            cause=f"recovered:{topics.meter_name(meter)}:{account_epoch}:{source}:{total_uc}",
        )
    return max(0, credited_uc - known_uc)


def split(known_uc: int, credited_uc: int, sales: list[tuple[int, int]]) -> list[tuple[int, int, bool]]:
    """(total after it, amount, whether it is one listed sale) of all beyond `known_uc`, oldest first."""
    found: list[tuple[int, int, bool]] = []
    at_uc = known_uc
    for total_uc, amount_uc in [*sales, (credited_uc, 0)]:
        start_uc = total_uc - amount_uc
        if start_uc > at_uc:
            found.append((start_uc, start_uc - at_uc, False))
            at_uc = start_uc
        if total_uc > at_uc:
            found.append((total_uc, total_uc - at_uc, at_uc == start_uc))
            at_uc = total_uc
    return found


def consume(
    conn: Connection,
    now_s: int,
    meter: int,
    account_epoch: int,
    amount_uc: int,
    channel: str,
    payment_id: str,
    *,
    again: bool,
) -> tuple[int, Row[Any] | None]:
    """Hold a payment, which is booked already, against the recovered sales that no payment was found to be.

    `again`: as the table `payment` has it. Returns how much more of it than was known the meter has already, and, where
    that is all of it, the sale that its last part was.
    """
    account = {"of": meter, "epoch": account_epoch}
    before_uc = claimed_uc(conn, channel, payment_id)
    left_uc = amount_uc - before_uc
    sale = conn.execute(_NEXT, {**account, "amount": left_uc}).one_or_none()
    sales = [sale] if sale is not None else conn.execute(_UNLISTED, account).all() if again else []
    last = None
    for row in sales:
        if not left_uc:
            break
        last = _claim(conn, row, min(left_uc, row.amount_uc), channel, payment_id)
        left_uc -= last.amount_uc
        entries.post(
            conn,
            now_s,
            entries.REPOSTED,
            debit=accounts.of_meter(meter, account_epoch),
            credit=accounts.RECOVERED,
            amount_uc=last.amount_uc,
            meter=meter,
            cause=f"recovered:{topics.meter_name(meter)}:{account_epoch}:{last.source}:{last.total_uc}",
        )
    return amount_uc - before_uc - left_uc, last if not left_uc else None


def claimed_uc(conn: Connection, channel: str, payment_id: str) -> int:
    """How much of a payment the meter was found to have already."""
    return int(conn.execute(_CLAIMED, {"from_channel": channel, "named": payment_id}).scalar_one())


def _claim(conn: Connection, row: Row[Any], part_uc: int, channel: str, payment_id: str) -> Row[Any]:
    """Take the oldest `part_uc` of a recovered sum for a payment; returns the row that holds it."""
    one = [recovered.c[name] == row._mapping[name] for name in _KEY]
    found_to_be = {"channel": channel, "payment_id": payment_id}
    if part_uc == row.amount_uc:
        return conn.execute(update(recovered).where(*one).values(found_to_be).returning(*recovered.c)).one()
    conn.execute(update(recovered).where(*one).values(amount_uc=row.amount_uc - part_uc))
    at_uc = row.total_uc - row.amount_uc + part_uc
    part = {**row._mapping, **found_to_be, "total_uc": at_uc, "amount_uc": part_uc}
    return conn.execute(insert(recovered).values(part).returning(*recovered.c)).one()


def of_meter(conn: Connection, meter: int, account_epoch: int) -> list[Row[Any]]:
    """The recovered sales of an account, oldest first."""
    mine = recovered.c.meter == meter, recovered.c.account_epoch == account_epoch
    return list(conn.execute(select(recovered).where(*mine).order_by(recovered.c.source, recovered.c.total_uc)))


_KEY = ("meter", "account_epoch", "source", "total_uc")
