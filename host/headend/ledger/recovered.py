"""Sales found on a meter, under our own signature, that the books had lost with the database that made them.

Such a sale is booked against `clearing:recovered`: whoever took the money still owes it. When the channel posts the
payment again, it is taken for that sale: the meter has it already, so it gets nothing new.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

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
    for total_uc, amount_uc in split(known_uc, credited_uc, sales):
        key = {"meter": meter, "account_epoch": account_epoch, "source": source, "total_uc": total_uc}
        row = {**key, "amount_uc": amount_uc, "evidence": evidence, "found_s": found_s}
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


def split(known_uc: int, credited_uc: int, sales: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(total after it, amount) of each sale beyond `known_uc`, oldest first; sales that are not listed are one."""
    found: list[tuple[int, int]] = []
    at_uc = known_uc
    for total_uc, amount_uc in [*sales, (credited_uc, 0)]:
        start_uc = total_uc - amount_uc
        if start_uc > at_uc:
            found.append((start_uc, start_uc - at_uc))
            at_uc = start_uc
        if total_uc > at_uc:
            found.append((total_uc, total_uc - at_uc))
            at_uc = total_uc
    return found


def consume(
    conn: Connection, now_s: int, meter: int, account_epoch: int, amount_uc: int, channel: str, payment_id: str
) -> Row[Any] | None:
    """Take a payment, which is booked already, for the oldest recovered sale of its amount that none was taken for.

    Returns the `recovered` row, or None where there is no such sale.
    """
    sale = conn.execute(_NEXT, {"of": meter, "epoch": account_epoch, "amount": amount_uc}).one_or_none()
    if sale is None:
        return None
    found_to_be = {"channel": channel, "payment_id": payment_id}
    conn.execute(
        update(recovered).where(*[recovered.c[name] == sale._mapping[name] for name in _KEY]).values(found_to_be)
    )
    entries.post(
        conn,
        now_s,
        entries.REPOSTED,
        debit=accounts.of_meter(meter, account_epoch),
        credit=accounts.RECOVERED,
        amount_uc=amount_uc,
        meter=meter,
        cause=f"payment:{channel}:{payment_id}",
    )
    return sale


def of_meter(conn: Connection, meter: int, account_epoch: int) -> list[Row[Any]]:
    """The recovered sales of an account, oldest first."""
    mine = recovered.c.meter == meter, recovered.c.account_epoch == account_epoch
    return list(conn.execute(select(recovered).where(*mine).order_by(recovered.c.source, recovered.c.total_uc)))


_KEY = ("meter", "account_epoch", "source", "total_uc")
