"""Taxes on what is sold: rates with their history, by area and class of customer.

A tax that is `included` is part of the price of energy: a receipt tells how much of the credit it is. One that is
`added` is taken from the payment beside what is credit, and stands on `tax:<name>`. Either way the lines add up to what
was paid, to the unit: the net amount is rounded down, each tax too, and what is left over goes to the highest one.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, func, insert, or_, select

from headend import audit
from headend.access import areas
from headend.ledger import accounts, entries, terms
from headend.refusals import Refused
from headend.store.schema import meter as meter_table
from headend.store.schema_money import payment_tax, tax_rate

INCLUDED = "included"
ADDED = "added"
MODES = (INCLUDED, ADDED)
PPM = 1_000_000

_NAME = re.compile(r"[a-z][a-z0-9-]{0,9}")
_AT = (
    select(tax_rate.c.name, tax_rate.c.ppm, tax_rate.c.mode)
    .join(meter_table, meter_table.c.meter == bindparam("of"))
    .where(
        or_(
            tax_rate.c.area == "",
            tax_rate.c.area == meter_table.c.area,
            func.substr(meter_table.c.area, 1, func.length(tax_rate.c.area) + 1) == tax_rate.c.area + "/",
        ),
        tax_rate.c["class"].in_(("", bindparam("of_class"))),
        tax_rate.c.from_s <= bindparam("now"),
    )
    .order_by(func.length(tax_rate.c.area), func.length(tax_rate.c["class"]), tax_rate.c.from_s, tax_rate.c.id)
)
_TAKEN = insert(payment_tax)
_OF_PAYMENT = (
    select(payment_tax.c.name, payment_tax.c.ppm, payment_tax.c.tax_uc)
    .where(payment_tax.c.channel == bindparam("of_channel"), payment_tax.c.payment_id == bindparam("named"))
    .order_by(payment_tax.c.name)
)


class Rate(NamedTuple):
    """A tax in force: millionths of the net amount, 1..1 000 000."""

    name: str
    ppm: int
    mode: str


class Taxed(NamedTuple):
    """A tax with its amount."""

    name: str
    ppm: int
    tax_uc: int


def rates(conn: Connection, at_s: int, meter: int, customer_class: str) -> list[Rate]:
    """The taxes in force for a meter's customer, by name: of each, the row of the longest area, then of the class, then
    the newest one.
    """
    found = {row.name: Rate(*row) for row in conn.execute(_AT, {"of": meter, "of_class": customer_class, "now": at_s})}
    return [found[name] for name in sorted(found) if found[name].ppm]


def split(amount_uc: int, taxes: Sequence[Rate]) -> tuple[int, tuple[Taxed, ...]]:
    """(net, taxes) that make up `amount_uc` (0..) to the unit."""
    if not taxes:
        return amount_uc, ()
    net_uc = amount_uc * PPM // (PPM + sum(rate.ppm for rate in taxes))
    parts = [Taxed(rate.name, rate.ppm, net_uc * rate.ppm // PPM) for rate in taxes]
    highest = max(range(len(parts)), key=lambda place: parts[place].ppm)
    over_uc = amount_uc - net_uc - sum(part.tax_uc for part in parts)
    parts[highest] = parts[highest]._replace(tax_uc=parts[highest].tax_uc + over_uc)
    return net_uc, tuple(parts)


def gross_uc(net_uc: int, taxes: Sequence[Rate]) -> int:
    """The least amount of which `split` leaves `net_uc`."""
    return -(-net_uc * (PPM + sum(rate.ppm for rate in taxes)) // PPM)


def set_rate(
    conn: Connection,
    now_s: int,
    name: str,
    ppm: int,
    mode: str,
    actor: str,
    *,
    area: str = "",
    customer_class: str = "",
    from_s: int | None = None,
) -> None:
    """A tax of `ppm` millionths (0: none any more) from `from_s` on, now at the earliest. Raises Refused.

    name: 1..10 of a-z 0-9 -, a letter first · area, customer_class: "" is everywhere, and all.
    """
    if not _NAME.fullmatch(name):
        raise Refused("name", name, "1..10 characters of a-z, 0-9, '-', a letter first")
    if not 0 <= ppm <= PPM:
        raise Refused("ppm", ppm, f"0..{PPM}")
    if mode not in MODES:
        raise Refused("mode", mode, f"one of {', '.join(MODES)}")
    areas.check(area)
    if customer_class:
        terms.check_class(customer_class)
    start_s = now_s if from_s is None else from_s
    if start_s < now_s:
        raise Refused("from_s", start_s, f"{now_s} or later")
    accounts.open_account(conn, accounts.of_tax(name))
    values: dict[str, int | str | None] = {"ppm": ppm, "mode": mode, "from_s": start_s}
    values |= {"area": area, "class": customer_class}
    conn.execute(insert(tax_rate), {"name": name, **values, "set_s": now_s, "actor": actor})
    audit.record(conn, now_s, actor, "tax.set", f"tax:{name}", values)


def take(
    conn: Connection, now_s: int, taxes: Sequence[Taxed], payer: str, channel: str, payment_id: str, meter: int
) -> None:
    """Write what a payment paid as taxes, from `payer`; the payment stands by now."""
    for one in taxes:
        if one.tax_uc:
            conn.execute(_TAKEN, {"channel": channel, "payment_id": payment_id, **one._asdict()})
            to = accounts.of_tax(one.name)
            entries.post(conn, now_s, entries.TAX, payer, to, one.tax_uc, meter, _cause(channel, payment_id, one.name))


def of_payment(conn: Connection, channel: str, payment_id: str) -> list[Taxed]:
    """What a payment paid as taxes beside its credit, by name."""
    return [Taxed(*row) for row in conn.execute(_OF_PAYMENT, {"of_channel": channel, "named": payment_id})]


def undo(conn: Connection, now_s: int, payee: str, channel: str, payment_id: str, meter: int) -> int:
    """Give a payment's taxes back to the account `payee`; returns how much. IntegrityError for a second time."""
    taken = of_payment(conn, channel, payment_id)
    for one in taken:
        cause = _cause(channel, payment_id, one.name)
        entries.post(conn, now_s, entries.UNTAXED, accounts.of_tax(one.name), payee, one.tax_uc, meter, cause)
    return sum(one.tax_uc for one in taken)


def _cause(channel: str, payment_id: str, name: str) -> str:
    return f"tax:{channel}:{payment_id}:{name}"
