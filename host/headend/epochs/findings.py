"""What a person has to look at: noted by the program, once while it stands, and settled by it or by a person."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend.access import areas
from headend.refusals import Refused
from headend.store.schema import finding, meter

MAX_NOTE = 200

# Kind -> what it means.
HISTORY_LOST = "history_lost"
ACCOUNT_AHEAD = "account_ahead"
UNLOGGED = "unlogged_credit"
FOREIGN = "foreign_credit"
UNLISTED = "unlisted_sales"
NOT_CLOSED = "source_not_closed"
UNSOLD = "unsold_credit"
RECOVERED_GAP = "recovered_gap"
TOKEN_UNVENDED = "unvended_token"
TOKEN_LOST = "lost_token"
TOKEN_TWICE = "token_twice"
TOKEN_OF_FORMER = "token_of_former"
REFUND_FOUND = "refund_found"
TRANSFER_STUCK = "transfer_stuck"
OPENING_STUCK = "opening_stuck"
DEBT_UNSURE = "debt_unsure"
DEBT_OVER = "debt_over"
LEDGER_DIFFERENCE = "ledger_difference"
SHADOW_DIFFERENCE = "shadow_difference"
SWAPPED = "swapped_meter"
KINDS = {
    LEDGER_DIFFERENCE: "books and meter differ by what nothing explains",
    SHADOW_DIFFERENCE: "the meter charged otherwise than its intervals tell, which are whole and sure",
    HISTORY_LOST: "the meter has lost its history and takes nothing but a recover order",
    ACCOUNT_AHEAD: "the meter serves a later account than the books: the database is older than its meters",
    UNLOGGED: "credit under our own signature that this signer's log does not know: the key, or the log, is not alone",
    FOREIGN: "credit under a signature that is not ours",
    UNLISTED: "recovered sales that the order lists no longer: payments posted again are to be matched by hand",
    NOT_CLOSED: "the meter refused to close a credit source of a former database",
    UNSOLD: "a closed account shows credit that the books never sold",
    TOKEN_UNVENDED: "a typed token that nobody sold: somebody else has the meter's key, or the signer's log is lost",
    TOKEN_LOST: "a token that a lost database made: still good, until the channel posts its payment again nobody's",
    TOKEN_TWICE: "a token that was void or replaced, and typed all the same",
    TOKEN_OF_FORMER: "a token that was sold to a former customer, and typed after that account was closed",
    REFUND_FOUND: "money that a lost database had taken off the meter: whom it was paid to, the channels know",
    DEBT_UNSURE: "what the meter collected of debts is not known to the unit: told together with others, or lost",
    DEBT_OVER: "the meter collected more of debts than was owed here: its customer has it to get back",
    OPENING_STUCK: "a line of an import whose account was closed before it was booked",
    TRANSFER_STUCK: "a transfer is off one meter, and the other one's account did not take it: its channel has it",
    SWAPPED: "two meters fit each other's place better than their own: a fitter looks which stands where",
    RECOVERED_GAP: "what a recovered meter was not charged for: energy between its last report and its loss",
}

_STANDING = select(finding.c.id).where(
    finding.c.meter == bindparam("of"), finding.c.kind == bindparam("what"), finding.c.settled_s.is_(None)
)


def note(conn: Connection, now_s: int, meter: int, kind: str, text: str, amount_uc: int = 0) -> None:
    """Note a finding (`KINDS`), unless one of its kind stands for the meter."""
    if kind not in KINDS:
        raise ValueError(f"kind: {kind!r} given, one of {', '.join(KINDS)} expected")
    if conn.execute(_STANDING, {"of": meter, "what": kind}).first() is None:
        row = {"meter": meter, "kind": kind, "amount_uc": amount_uc, "note": text[:MAX_NOTE], "found_s": now_s}
        conn.execute(insert(finding).values(row))


def note_each(conn: Connection, now_s: int, meter: int, kind: str, text: str, amount_uc: int = 0) -> None:
    """Note a finding of which a meter may have several: unless this very one, told by its text, was noted ever."""
    same = select(finding.c.id).where(finding.c.meter == meter, finding.c.kind == kind, finding.c.note == text)
    if conn.execute(same).first() is None:
        row = {"meter": meter, "kind": kind, "amount_uc": amount_uc, "note": text[:MAX_NOTE], "found_s": now_s}
        conn.execute(insert(finding).values(row))


def settle(conn: Connection, now_s: int, meter: int, kind: str) -> None:
    """What was found no longer stands."""
    standing = finding.c.meter == meter, finding.c.kind == kind, finding.c.settled_s.is_(None)
    conn.execute(update(finding).where(*standing).values(settled_s=now_s))


def settle_noted(conn: Connection, now_s: int, meter: int, kind: str, text: str) -> None:
    """The one that was noted in these words no longer stands."""
    same = finding.c.meter == meter, finding.c.kind == kind, finding.c.note == text[:MAX_NOTE]
    conn.execute(update(finding).where(*same, finding.c.settled_s.is_(None)).values(settled_s=now_s))


def settle_one(conn: Connection, now_s: int, finding_id: int) -> None:
    """A person has looked after it. Raises Refused."""
    one = update(finding).where(finding.c.id == finding_id, finding.c.settled_s.is_(None)).values(settled_s=now_s)
    if not conn.execute(one).rowcount:
        raise Refused("finding", finding_id, "the id of a finding that stands")


def standing(conn: Connection, meter: int | None = None, *, limit: int = 100) -> list[Row[Any]]:
    """The findings that stand, oldest first; of one meter where `meter` is given."""
    chosen = select(finding).where(finding.c.settled_s.is_(None)).order_by(finding.c.id).limit(limit)
    return list(conn.execute(chosen if meter is None else chosen.where(finding.c.meter == meter)))


def page(conn: Connection, after: int, limit: int, within: Sequence[str]) -> list[Row[Any]]:
    """Up to `limit` findings that stand, with ids above `after`, of meters in the areas `within`."""
    chosen = select(finding).join(meter, meter.c.meter == finding.c.meter)
    chosen = chosen.where(finding.c.settled_s.is_(None), finding.c.id > after, areas.within(meter.c.area, within))
    return list(conn.execute(chosen.order_by(finding.c.id).limit(limit)))
