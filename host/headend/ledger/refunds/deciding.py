"""What a person decides about a refund: that it may go, that it may not, that a meter will never answer."""

from typing import Any

from sqlalchemy import Connection, Row

from headend import audit
from headend.access import four_eyes
from headend.ledger.refunds import following, life, spent, stating, words
from headend.refusals import Refused
from headend.store import lock_meter


def approve(conn: Connection, now_s: int, refund_id: int, approver: str) -> Row[Any]:
    """Let it go: stated to the meter when its turn comes. Raises Refused for who may not approve it."""
    row = _locked(conn, refund_id)
    four_eyes.refuse_same(conn, row.asked_by, approver, waited_s=now_s - row.asked_s)
    life.move(conn, now_s, row, "approve", approver, approver=approver)
    audit.record(conn, now_s, approver, words.APPROVED, f"refund:{row.id}", {"author": row.asked_by})
    following.go_on(conn, now_s, row.meter)
    return life.get(conn, refund_id)


def withdraw(conn: Connection, now_s: int, refund_id: int, actor: str, note: str) -> Row[Any]:
    """Let it be, as long as nothing was stated. Raises Refused."""
    row = _locked(conn, refund_id)
    life.move(conn, now_s, row, "withdraw", actor, note)
    audit.record(conn, now_s, actor, words.WITHDRAWN, f"refund:{row.id}", {"note": note[:100]})
    following.go_on(conn, now_s, row.meter)
    return life.get(conn, refund_id)


def write_off(conn: Connection, now_s: int, refund_id: int, actor: str, approver: str, evidence: str) -> Row[Any]:
    """The meter will never answer: the money is the customer's again, by the books, and nothing is paid out.

    `evidence`: what a person has seen of the meter, 1..200 characters. Its statement is made harmless all the same, so
    that a meter which speaks after all shows what the books say. Raises Refused.
    """
    row = _locked(conn, refund_id)
    four_eyes.refuse_same(conn, actor, approver)
    if not 1 <= len(evidence.strip()) <= life.MAX_NOTE:
        raise Refused("evidence", evidence, f"1..{life.MAX_NOTE} characters")
    if row.token_id is not None:
        raise Refused("refund", refund_id, "one that was stated: a typed token is settled by its meter's events")
    row = life.move(conn, now_s, row, "write_off", actor, evidence, approver=approver)
    reads_back = stating.standing_of(conn, row.meter).readback_source is not None
    stating.give_back(conn, now_s, row, restate=not reads_back)
    spent.bear(conn, now_s, row, actor)
    audit.record(conn, now_s, actor, words.WRITTEN_OFF, f"refund:{row.id}", {"approver": approver})
    following.go_on(conn, now_s, row.meter)
    return row


def _locked(conn: Connection, refund_id: int) -> Row[Any]:
    lock_meter(conn, life.get(conn, refund_id).meter)
    return life.get(conn, refund_id)
