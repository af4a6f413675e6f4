"""Kinds of customers, and which share of their purchases pays what they owe."""

from sqlalchemy import Connection, bindparam, func, insert, literal, or_, select, update

from headend import audit
from headend.access import areas
from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema import meter as meter_table
from headend.store.schema_money import account_class, allocation_policy

RESIDENT = "resident"
OTHER = "other"

# Class of customer -> its word, in English and Chinese.
CLASSES = {RESIDENT: ("resident", "居民"), OTHER: ("other than a resident", "非居民")}

WHOLE = 1_000_000  # ppm

_CLASS = prepared(
    select(account_class.c["class"]).where(
        account_class.c.meter == bindparam("of"), account_class.c.account_epoch == bindparam("epoch")
    )
)
# An area is a path: a policy for "north" is one for "north/feeder-3" too.
_WITHIN = or_(
    allocation_policy.c.area == "",
    allocation_policy.c.area == meter_table.c.area,
    func.substr(meter_table.c.area, 1, func.length(allocation_policy.c.area) + 1)
    == allocation_policy.c.area + literal("/"),
)
_SHARE = prepared(
    select(allocation_policy.c.share_ppm)
    .join(meter_table, meter_table.c.meter == bindparam("of"))
    .where(_WITHIN, allocation_policy.c["class"].in_(("", bindparam("of_class"))))
    .where(allocation_policy.c.from_s <= bindparam("now"))
    .order_by(
        func.length(allocation_policy.c.area).desc(),
        func.length(allocation_policy.c["class"]).desc(),
        allocation_policy.c.from_s.desc(),
        allocation_policy.c.id.desc(),
    )
    .limit(1)
)


def check_class(customer_class: str) -> None:
    """Refuse what is no class of customers."""
    if customer_class not in CLASSES:
        raise Refused("class", customer_class, f"one of {', '.join(CLASSES)}")


def class_of(conn: Connection, meter: int, epoch: int) -> str:
    """What kind of customer an account belongs to."""
    return _CLASS(conn, {"of": meter, "epoch": epoch}).scalar_one_or_none() or RESIDENT


def set_class(conn: Connection, now_s: int, meter: int, epoch: int, customer_class: str, actor: str) -> None:
    """Say what kind of customer an account belongs to, for what is billed and sold from now on."""
    check_class(customer_class)
    key = {"meter": meter, "account_epoch": epoch}
    mine = account_class.c.meter == meter, account_class.c.account_epoch == epoch
    if not conn.execute(update(account_class).where(*mine), {"class": customer_class}).rowcount:
        conn.execute(insert(account_class), {**key, "class": customer_class})
    audit.record(conn, now_s, actor, "class.set", f"meter:{meter}", {"account_epoch": epoch, "class": customer_class})


def share_ppm(conn: Connection, now_s: int, meter: int, customer_class: str) -> int:
    """How much of a purchase pays debts, in millionths; all of it where no policy says otherwise."""
    chosen = {"of": meter, "of_class": customer_class, "now": now_s}
    found = _SHARE(conn, chosen).scalar_one_or_none()
    return WHOLE if found is None else int(found)


def set_share(
    conn: Connection, now_s: int, area: str, customer_class: str, ppm: int, actor: str, *, from_s: int | None = None
) -> None:
    """Let `ppm` millionths of purchases in an area ("": everywhere), of a class ("": all), pay debts first.

    From `from_s` on, now at the earliest. Raises Refused.
    """
    areas.check(area)
    if customer_class:
        check_class(customer_class)
    if not 0 <= ppm <= WHOLE:
        raise Refused("share", ppm, f"0..{WHOLE} millionths")
    start_s = now_s if from_s is None else from_s
    if start_s < now_s:
        raise Refused("from_s", start_s, f"{now_s} or later")
    values: dict[str, int | str | None] = {"area": area, "class": customer_class, "share_ppm": ppm, "from_s": start_s}
    conn.execute(insert(allocation_policy), {**values, "set_s": now_s, "actor": actor})
    audit.record(conn, now_s, actor, "share.set", f"area:{area}", values)
