"""What may go back without a second person, and who bears what is spent: values with their history."""

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select

from headend import audit
from headend.ledger.openings.notice import NOTICE_S
from headend.ledger.refunds import words
from headend.refusals import Refused
from headend.store.schema_refunds import refund_policy
from meterlink.bodies import MAX_UC

DEBT = "debt"  # the customer owes what the meter no longer holds: a bill
CHANNEL = "channel"  # the reversal ends refused, and the channel has to settle it with its customer
SPENT = (DEBT, CHANNEL)
MAX_S = 10 * 366 * 86_400

_NEWEST = select(refund_policy).order_by(refund_policy.c.id.desc()).limit(1)
_ALL = select(refund_policy).order_by(refund_policy.c.id.desc())


class Policy(NamedTuple):
    """window_s: how long after a payment its channel may reverse it by itself · alone_uc: up to which amount · spent:
    one of `SPENT` · notice_s: after an import of openings, how long nobody is stopped for arrears."""

    window_s: int = 86_400
    alone_uc: int = 100_000_000
    spent: str = DEBT
    notice_s: int = NOTICE_S


def standing(conn: Connection) -> Policy:
    """The policy that rules now."""
    row = conn.execute(_NEWEST).one_or_none()
    return Policy() if row is None else Policy(row.window_s, row.alone_uc, row.spent, row.notice_s)


def history(conn: Connection) -> list[Row[Any]]:
    """What has ruled, newest first."""
    return list(conn.execute(_ALL))


def put(conn: Connection, now_s: int, actor: str, new: Policy) -> None:
    """From now on this rules. Raises Refused."""
    for field, value, most in (
        ("window_s", new.window_s, MAX_S),
        ("alone_uc", new.alone_uc, MAX_UC),
        ("notice_s", new.notice_s, MAX_S),
    ):
        if not 0 <= value <= most:
            raise Refused(field, value, f"0..{most}")
    if new.spent not in SPENT:
        raise Refused("spent", new.spent, f"one of {', '.join(SPENT)}")
    conn.execute(insert(refund_policy).values(since_s=now_s, set_by=actor, **new._asdict()))
    audit.record(conn, now_s, actor, words.SET_POLICY, "policy:refunds", new._asdict())
