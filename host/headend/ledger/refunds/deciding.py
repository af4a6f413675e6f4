"""What people decide about refunds: each is a proposal of the gate, which a second person approves or refuses.

What nobody has approved is withdrawn with its proposal; what was approved and waits for its turn can be withdrawn too.
What was stated ends by what the meter proves, or is written off: a proposal of its own, with what a person has seen.
"""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from headend import audit
from headend.access.permissions import APPROVE
from headend.gate import proposals
from headend.gate.proposals import KINDS, Kind, Payload
from headend.ledger.refunds import following, life, spent, stating, words
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import meter
from headend.store.schema_refunds import refund

_AREA = select(meter.c.area).where(meter.c.meter == bindparam("of"))
_PROPOSED = update(refund).where(refund.c.id == bindparam("which")).values(proposal=bindparam("made"))


def propose(conn: Connection, now_s: int, row: Row[Any]) -> None:
    """Ask for a second person."""
    made = proposals.propose(conn, now_s, row.kind, _payload(row), row.asked_by, row.why)
    conn.execute(_PROPOSED, {"which": row.id, "made": made})


def withdraw(conn: Connection, now_s: int, refund_id: int, actor: str, note: str) -> Row[Any]:
    """Let be what was approved and not stated. Raises Refused; what waits for approval is withdrawn as a proposal."""
    row = _locked(conn, refund_id)
    if row.state != life.APPROVED:
        raise Refused("refund", refund_id, f"one that is approved and not stated yet; this one is {row.state}")
    life.move(conn, now_s, row, "withdraw", actor, note)
    audit.record(conn, now_s, actor, words.WITHDRAWN, f"refund:{row.id}", {"note": note[:100]})
    following.go_on(conn, now_s, row.meter)
    return life.get(conn, refund_id)


def write_off(conn: Connection, now_s: int, refund_id: int, actor: str, evidence: str) -> int:
    """Propose to give up what was stated, as its meter will never answer; the proposal's id.

    The money is the customer's again, by the books, and nothing is paid out. `evidence`: what a person has seen of the
    meter, 1..200 characters. Raises Refused.
    """
    row = life.get(conn, refund_id)
    _check_stated(row)
    if not 1 <= len(evidence.strip()) <= life.MAX_NOTE:
        raise Refused("evidence", evidence, f"1..{life.MAX_NOTE} characters")
    return proposals.propose(conn, now_s, words.WRITE_OFF, {**_payload(row), "evidence": evidence}, actor, evidence)


def _payload(row: Row[Any]) -> dict[str, int | str | None]:
    names = ("meter", "account_epoch", "amount_uc", "whole_uc", "channel", "payment_id", "to_meter")
    return {"refund": row.id, **{name: row._mapping[name] for name in names}}


def _approved(conn: Connection, now_s: int, payload: Payload, author: str, approver: str) -> int:
    row = _locked(conn, payload["refund"])
    life.move(conn, now_s, row, "approve", approver, approver=approver)
    following.go_on(conn, now_s, row.meter)
    return int(row.id)


def _given_up(conn: Connection, now_s: int, proposal: Row[Any], event: str, note: str) -> None:
    """Refused, withdrawn or too late."""
    row = _of_proposal(conn, proposal)
    if row.state == life.PROPOSED:
        life.move(conn, now_s, row, "withdraw", proposal.approver or proposal.author, note)


def _of_proposal(conn: Connection, proposal: Row[Any]) -> Row[Any]:
    found = conn.execute(select(refund).where(refund.c.proposal == proposal.id)).one()
    lock_meter(conn, found.meter)
    return life.get(conn, found.id)


def _written_off(conn: Connection, now_s: int, payload: Payload, author: str, approver: str) -> int:
    """Its statement is made harmless all the same: a meter that speaks after all shows what the books say."""
    row = _locked(conn, payload["refund"])
    _check_stated(row)
    row = life.move(conn, now_s, row, "write_off", author, payload["evidence"], approver=approver)
    reads_back = stating.standing_of(conn, row.meter).readback_source is not None
    stating.give_back(conn, now_s, row, restate=not reads_back)
    spent.bear(conn, now_s, row, author)
    audit.record(conn, now_s, author, words.WRITTEN_OFF, f"refund:{row.id}", {"approver": approver})
    following.go_on(conn, now_s, row.meter)
    return int(row.id)


def _check_stated(row: Row[Any]) -> None:
    if row.state != life.STATED or row.token_id is not None:
        expected = f"one that was stated to its meter; this one is {row.state}"
        raise Refused("refund", row.id, expected if row.token_id is None else "no typed token: its events settle it")


def _locked(conn: Connection, refund_id: int) -> Row[Any]:
    lock_meter(conn, life.get(conn, refund_id).meter)
    return life.get(conn, refund_id)


def _area(conn: Connection, payload: Payload) -> str:
    return str(conn.execute(_AREA, {"of": payload["meter"]}).scalar_one())


KINDS.update(
    {
        name: Kind(APPROVE, _approved, words.PROPOSED[name], words.fields_of, give_up=_given_up, area=_area)
        for name in (words.REFUND, words.REVERSAL, words.TRANSFER)
    }
)
KINDS[words.WRITE_OFF] = Kind(APPROVE, _written_off, words.PROPOSED[words.WRITE_OFF], words.fields_of, area=_area)
