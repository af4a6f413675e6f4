"""Carrying out an import: proposed with the digest of its dry run, approved by a second person, booked line by line.

Approval writes all lines in one transaction, after the same checks; then each is booked once, some at a time, whatever
stops in between. Credit goes to the meter as any sale does; what is owed is a bill, due after the policy's notice.
Against both stands the account `opening:<import>`: at the end its balance is what the file's sums say.
"""

import re
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, func, insert, select, update

from headend import audit
from headend.access.permissions import APPROVE
from headend.epochs import findings
from headend.gate import proposals
from headend.gate.proposals import KINDS, Kind, Payload
from headend.ledger import accounts, bills, entries, terms
from headend.ledger.openings import checking, files, words
from headend.ledger.openings.files import File, Opening, Sums
from headend.ledger.refunds import policy
from headend.orders.credit import credit_statement
from headend.people import holdings
from headend.refusals import Refused
from headend.store import identity, lock_meter
from headend.store.schema import closing, meter, meter_state, meter_trust
from headend.store.schema_refunds import opening_import, opening_line

KIND = "import"
AT_A_TIME = 100
DECIDED_WITHIN_S = 30 * 86_400

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_IMPORT = select(opening_import).where(opening_import.c.import_id == bindparam("named"))
_NEW = insert(opening_import)
_LINE = insert(opening_line)
_STATE = update(opening_import).where(opening_import.c.import_id == bindparam("which"))
_WAITING = (
    select(opening_line)
    .where(opening_line.c.import_id == bindparam("named"), opening_line.c.done_s.is_(None))
    .order_by(opening_line.c.meter)
    .limit(AT_A_TIME)
)
_PROGRESS = select(func.count(opening_line.c.line), func.count(opening_line.c.done_s)).where(
    opening_line.c.import_id == bindparam("named")
)
_BOOKED = update(opening_line).where(
    opening_line.c.import_id == bindparam("which"), opening_line.c.line == bindparam("at_line")
)
_STANDING = (
    select(meter.c.account_epoch, meter_trust.c.readback_source, meter_trust.c.withheld_uc, closing.c.moved_to)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .outerjoin(closing, (closing.c.meter == meter.c.meter) & (closing.c.account_epoch == meter.c.account_epoch))
    .where(meter.c.meter == bindparam("of"))
)
_SOLD = (
    update(meter_state)
    .where(meter_state.c.meter == bindparam("of"))
    .values(sold_uc=meter_state.c.sold_uc + bindparam("brought", type_=BigInteger))
    .returning(*meter_state.c)
)
_WITHHELD = (
    update(meter_trust)
    .where(meter_trust.c.meter == bindparam("of"))
    .values(withheld_uc=meter_trust.c.withheld_uc + bindparam("brought", type_=BigInteger))
)


class UnknownImport(Refused):
    """No import has this id."""

    def __init__(self, import_id: object) -> None:
        super().__init__("import_id", import_id, "the id of an import")


def propose(conn: Connection, now_s: int, import_id: str, file: File, digest: bytes, actor: str) -> Row[Any]:
    """Propose an import whose dry run gave `digest`; its row. The same again is the same import.

    import_id: 1..64 of A-Z a-z 0-9 . _ -. Raises Refused where the dry run is not clean, or gives another digest now.
    """
    if not _ID.fullmatch(import_id):
        raise Refused("import_id", import_id, "1..64 of A-Z, a-z, 0-9, '.', '_', '-'")
    known = conn.execute(_IMPORT, {"named": import_id}).one_or_none()
    if known is not None:
        if known.digest != digest:
            raise Refused("import_id", import_id, "a new id: it was used for another import")
        return known
    report = checking.check(conn, import_id, file)
    if not report.clean:
        what = f"{len(report.problems)} lines with problems, sums {report.found} against {report.control}"
        raise Refused("lines", what, "a file whose dry run is clean")
    if report.digest() != digest:
        raise Refused("digest", digest.hex(), f"{report.digest().hex()}, the digest of its dry run")
    sums = report.found
    row = {"import_id": import_id, "digest": digest, "state": "proposed", "author": actor}
    conn.execute(_NEW, {**row, **sums._asdict(), "made_s": now_s, "changed_s": now_s})
    payload = {
        "import_id": import_id,
        "digest": digest.hex(),
        "openings": [list(one) for one in report.openings],
        "control": list(report.control),
    }
    ends_s = now_s + DECIDED_WITHIN_S
    made = proposals.propose(conn, now_s, KIND, payload, actor, f"import {import_id}", expires_s=ends_s)
    conn.execute(_STATE, {"which": import_id, "proposal": made})
    audit.record(conn, now_s, actor, words.IMPORTED, f"import:{import_id}", {"digest": digest.hex(), **sums._asdict()})
    return get(conn, import_id)


def get(conn: Connection, import_id: str) -> Row[Any]:
    """Its row; raises UnknownImport."""
    row = conn.execute(_IMPORT, {"named": import_id}).one_or_none()
    if row is None:
        raise UnknownImport(import_id)
    return row


def progress(conn: Connection, import_id: str) -> tuple[int, int]:
    """(lines that were approved, lines that are booked)."""
    lines, done = conn.execute(_PROGRESS, {"named": import_id}).one()
    return int(lines), int(done)


def _file_of(payload: Payload) -> File:
    openings = tuple(Opening(*line) for line in payload["openings"])
    return File(openings, Sums(*payload["control"]), {})


def _approved(conn: Connection, now_s: int, payload: Payload, author: str, approver: str) -> None:
    import_id = payload["import_id"]
    report = checking.check(conn, import_id, _file_of(payload))
    if not report.clean:
        line, sentence = min(report.problems.items(), default=(0, "its sums do not agree"))
        raise Refused("import_id", import_id, f"lines that still fit; line {line}: {sentence}")
    rows = [
        {"import_id": import_id, **one._asdict(), "person": one.person or None}
        for one in sorted(report.openings, key=lambda one: one.meter)
    ]
    conn.execute(_LINE, rows)
    accounts.open_account(conn, accounts.of_opening(import_id))
    conn.execute(_STATE, {"which": import_id, "state": "running", "approver": approver, "changed_s": now_s})


def _given_up(conn: Connection, now_s: int, proposal: Row[Any], event: str, note: str) -> None:
    mine = opening_import.c.proposal == proposal.id, opening_import.c.state == "proposed"
    conn.execute(update(opening_import).where(*mine).values(state="withdrawn", changed_s=now_s))


def _go_on(conn: Connection, now_s: int, proposal: Row[Any]) -> int | None:
    """Book the next lines, in the order of their meters."""
    row = conn.execute(select(opening_import).where(opening_import.c.proposal == proposal.id)).one()
    waiting = conn.execute(_WAITING, {"named": row.import_id}).all()
    for line in waiting:
        conn.execute(_BOOKED, {"which": row.import_id, "at_line": line.line, **_book(conn, now_s, line, row.author)})
    if len(waiting) == AT_A_TIME:
        return now_s
    conn.execute(_STATE, {"which": row.import_id, "state": "done", "changed_s": now_s})
    proposals.change(conn, proposal.id, state=proposals.DONE)
    return None


def _book(conn: Connection, now_s: int, line: Row[Any], author: str) -> dict[str, Any]:
    """Book one line; the columns that tell what became of it."""
    lock_meter(conn, line.meter)
    standing = conn.execute(_STANDING, {"of": line.meter}).one()
    if standing.account_epoch != line.account_epoch or standing.moved_to is not None:
        sentence = f"Import {line.import_id}, line {line.line}: account {line.account_epoch} was closed meanwhile."
        findings.note_each(conn, now_s, line.meter, findings.OPENING_STUCK, sentence, abs(line.balance_uc))
        return {"done_s": now_s}
    terms.set_class(conn, now_s, line.meter, line.account_epoch, line.customer_class, author)
    if line.person is not None:
        holdings.put(conn, now_s, line.meter, line.person, author)
    if line.balance_uc < 0:
        return {"done_s": now_s, "bill": _bill(conn, now_s, line, author)}
    if not line.balance_uc:
        return {"done_s": now_s}
    return {"done_s": now_s, **_credit(conn, now_s, line, standing)}


def _credit(conn: Connection, now_s: int, line: Row[Any], standing: Any) -> dict[str, Any]:
    opening, account = accounts.of_opening(line.import_id), accounts.of_meter(line.meter, line.account_epoch)
    cause = f"opening:{line.import_id}:{line.line}"
    entries.post(conn, now_s, entries.OPENING, opening, account, line.balance_uc, line.meter, cause)
    brought = {"of": line.meter, "brought": line.balance_uc}
    if standing.readback_source is not None:
        conn.execute(_WITHHELD, brought)
        return {}
    state = conn.execute(_SOLD, brought).one()
    credit_statement(conn, now_s, state, state.sold_uc, f"import:{line.import_id}"[:80])
    return {"total_uc": state.sold_uc, "source": identity.get(conn).source}


def _bill(conn: Connection, now_s: int, line: Row[Any], author: str) -> int:
    """What a customer owes: due after the notice, so that nobody is late, or stopped, before having heard of it."""
    return bills.issue(
        conn,
        now_s,
        line.meter,
        f"{line.import_id[:50]}:{line.line}",
        [bills.Line("opening", -line.balance_uc, line.reference)],
        notice_s=now_s,
        due_s=now_s + policy.standing(conn).notice_s,
        actor=author,
        kind="opening",
        account_epoch=line.account_epoch,
        against=accounts.of_opening(line.import_id),
        entry_kind=entries.OPENING,
    )


def _fields(payload: Payload) -> dict[str, object]:
    control = Sums(*payload["control"])
    sums = {"credit": files.amount(control.credit_uc), "debt": files.amount(control.debt_uc)}
    return {**sums, "import_id": payload["import_id"], "lines": control.lines, "digest": payload["digest"][:16]}


KINDS[KIND] = Kind(APPROVE, _approved, words.PROPOSED, _fields, give_up=_given_up, go_on=_go_on)
