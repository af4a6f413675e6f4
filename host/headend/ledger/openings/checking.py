"""The dry run of an import: what is wrong with each line, and whether the sums agree on both sides.

Nothing is written. The report's digest covers every line as it was read, the sums and the verdict; a proposal carries
it, so what is approved is what was reported.
"""

import hashlib
import json
from typing import Any, NamedTuple

from sqlalchemy import Connection, bindparam, select

from headend.ledger import accounts, balances, terms
from headend.ledger.openings.files import File, Opening, Sums, sums_of
from headend.store.schema import closing, meter
from headend.store.schema_people import person
from headend.store.schema_refunds import opening_import, opening_line

PART = 500

_METERS = (
    select(meter.c.meter, meter.c.account_epoch, closing.c.moved_to, opening_line.c.import_id)
    .outerjoin(closing, (closing.c.meter == meter.c.meter) & (closing.c.account_epoch == meter.c.account_epoch))
    .outerjoin(
        opening_line,
        (opening_line.c.meter == meter.c.meter) & (opening_line.c.account_epoch == meter.c.account_epoch),
    )
    .where(meter.c.meter.in_(bindparam("some", expanding=True)))
)
_PERSONS = select(person.c.pseudonym).where(
    person.c.pseudonym.in_(bindparam("some", expanding=True)), person.c.erased_s.is_(None)
)
_USED = select(opening_import.c.import_id).where(opening_import.c.import_id == bindparam("named"))


class Report(NamedTuple):
    """What a dry run found. problems: line -> sentence · before_uc, after_uc: what the books say that all customers
    have, less what they owe, now and with the import."""

    import_id: str
    openings: tuple[Opening, ...]
    control: Sums
    found: Sums
    problems: dict[int, str]
    before_uc: int
    after_uc: int

    @property
    def clean(self) -> bool:
        """Whether it may be imported: no line has a problem, and both sides agree."""
        return not self.problems and self.found == self.control

    def digest(self) -> bytes:
        """SHA-256 over what was read and found, but not over what the books had before."""
        told = [self.import_id, self.openings, self.control, self.found, sorted(self.problems.items())]
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(b"openprepay openings 1\n" + text.encode()).digest()


def check(conn: Connection, import_id: str, file: File) -> Report:
    """Hold each line against the fleet and the books, and the sums against each other."""
    problems = dict(file.problems)
    seen: dict[int, int] = {}
    references: dict[str, int] = {}
    fleet = _fleet(conn, sorted({one.meter for one in file.openings}))
    people = _people(conn, sorted({one.person for one in file.openings if one.person}))
    for one in file.openings:
        found = fleet.get(one.meter)
        twice = seen.setdefault(one.meter, one.line)
        same = references.setdefault(one.reference, one.line)
        wrong = (
            (found is None, f"meter: {one.meter} is not in the fleet"),
            (twice != one.line, f"meter: {one.meter} stands in line {twice} already"),
            (same != one.line, f"reference: {one.reference!r} stands in line {same} already"),
            (one.customer_class not in terms.CLASSES, f"class: {one.customer_class!r} is none of {_CLASSES}"),
            (bool(one.person) and one.person not in people, f"person: {one.person!r} is nobody's pseudonym"),
        )
        sentences = [sentence for is_wrong, sentence in wrong if is_wrong]
        if found is not None:
            sentences += _of_meter(one, found, import_id)
        if sentences:
            problems[one.line] = "; ".join(sentences)
    sums = sums_of(file.openings)
    before_uc = _books_uc(conn)
    after_uc = before_uc + sums.credit_uc - sums.debt_uc
    return Report(import_id, file.openings, file.control, sums, problems, before_uc, after_uc)


def is_used(conn: Connection, import_id: str) -> bool:
    """Whether an import of this id was proposed ever."""
    return conn.execute(_USED, {"named": import_id}).first() is not None


_CLASSES = ", ".join(terms.CLASSES)


def _of_meter(one: Opening, found: Any, import_id: str) -> list[str]:
    if found.account_epoch != one.account_epoch:
        return [f"account_epoch: {one.account_epoch} given, {found.account_epoch} is in force"]
    if found.moved_to is not None:
        return [f"meter: the account was closed and went to {found.moved_to}"]
    if found.import_id is not None and found.import_id != import_id:
        return [f"meter: its account was opened by import {found.import_id}"]
    return []


def _fleet(conn: Connection, meters: list[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for at in range(0, len(meters), PART):
        found |= {row.meter: row for row in conn.execute(_METERS, {"some": meters[at : at + PART]})}
    return found


def _people(conn: Connection, names: list[str]) -> set[str]:
    found: set[str] = set()
    for at in range(0, len(names), PART):
        found |= set(conn.execute(_PERSONS, {"some": names[at : at + PART]}).scalars())
    return found


def _books_uc(conn: Connection) -> int:
    kinds = (accounts.CUSTOMER, accounts.DEBT)
    return sum(row.balance_uc for row in balances.trial_balance(conn) if row.kind in kinds)
