"""Exclusions when accounts and meters change: what is of the supply point stays with it, whatever meter is there;
what is of an account goes with its customer.
"""

from typing import Any

from sqlalchemy import Connection, Row, select

from headend import audit
from headend.orders import statements
from headend.registry import exclusions, kinds, words
from headend.registry.evidence import Evidence
from headend.registry.exclusions import NEW, OPEN
from headend.registry.kinds import KINDS
from headend.store.schema_registry import exclusion_event

Account = tuple[int, int]
"""(meter, account epoch)"""


def another_account(
    conn: Connection, now_s: int, meter_id: int, old: int, new: int, actor: str, *, same_customer: bool
) -> None:
    """Account `new` takes the place of `old` on the locked meter, which ends the meter's holds: the protection of the
    supply point is stated again, to follow the order that opens the account.
    """
    for row in conn.execute(OPEN, {"of": meter_id}).all():
        if row.account_epoch == old:
            _end(conn, now_s, row, actor, "its account ended")
            if same_customer and _counts(now_s, row):
                _go_on(conn, now_s, row, (meter_id, new), actor)
    if exclusions.on_meter_too(conn, meter_id):
        statements.protect(conn, now_s, meter_id, actor, reason_text="the supply point is protected")


def another_meter(conn: Connection, now_s: int, old: Account, new: Account, actor: str) -> None:
    """The new meter takes the old one's place: what stands for supply point and account stands there too, and no more
    on the old one. Both are locked.
    """
    for row in conn.execute(OPEN, {"of": old[0]}).all():
        _end(conn, now_s, row, actor, "its meter was exchanged")
        if _counts(now_s, row) and row.account_epoch in (None, old[1]):
            exclusions.let_lapse(conn, now_s, new[0], row.kind, new[1], always=True)
            made = _go_on(conn, now_s, row, new, actor)
            exclusions.give_supply(conn, now_s, new[0], KINDS[row.kind], actor, made)


def _counts(now_s: int, row: Row[Any]) -> bool:
    return row.until_s is None or row.until_s > now_s


def _end(conn: Connection, now_s: int, row: Row[Any], actor: str, note: str) -> None:
    exclusions.change(conn, row, ended_s=now_s)
    exclusions.record(conn, now_s, row.id, actor, words.LAPSED, now_s, note=note)


def _go_on(conn: Connection, now_s: int, row: Row[Any], account: Account, actor: str) -> int:
    """An exclusion as this one was, with its evidence, for another account; returns its id."""
    kept = {name: getattr(row, name) for name in ("kind", "until_s", "reference", "document", "actor")}
    bound = None if row.account_epoch is None else account[1]
    values = {**kept, "meter": account[0], "account_epoch": bound, "since_s": now_s}
    made = int(conn.execute(NEW, values).scalar_one())
    proofs = select(exclusion_event).where(exclusion_event.c.exclusion == row.id, exclusion_event.c.evidence != "")
    for one in conn.execute(proofs.order_by(exclusion_event.c.id)).all():
        what = words.MOVED if one.evidence == kinds.BASIS else words.PROVED
        evidence, note = Evidence(one.reference, one.document), f"from exclusion {row.id} of meter {row.meter}"
        exclusions.record(conn, now_s, made, actor, what, row.until_s, one.evidence, evidence, one.dated_s, note)
    told = {"exclusion": made, "kind": row.kind, "from": row.id}
    audit.record(conn, now_s, actor, "exclusion.set", f"meter:{account[0]}", told)
    return made
