"""Imports of openings, and bills that a meter collects."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import BOOKS, READ
from headend.fleet.meters import get_meter
from headend.ledger import debts_on_meter
from headend.ledger.openings import checking, files, running, words
from headend.refusals import Refused
from headend.web import wire
from headend.web.operations import MAX_BODY, Answer, Call, Nothing, Operation
from headend.web.orders import Note, OrderState, state_order
from headend.web.wire import Amount, Moment, PositiveAmount
from meterlink import bodies

MAX_TEXT = 4_000_000
MAX_SHOWN = 500
_PERIODS = {"day": bodies.PERIOD_DAY, "week": bodies.PERIOD_WEEK, "month": bodies.PERIOD_MONTH}

Digest = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the dry run's report, hexadecimal.")]


class ImportRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A file of openings: its dry run, or, with the digest of that, the proposal to import it."""

    import_id: Annotated[str, Meta(pattern="^[A-Za-z0-9._-]{1,64}$", description="Its author's own, used once.")]
    text: Annotated[str, Meta(max_length=MAX_TEXT, description="The whole file, with its own sums at the end.")]
    format: Literal["csv", "jsonl"] = "csv"
    digest: Annotated[Digest | None, Meta(description="Null: a dry run, which writes nothing.")] = None


class SumsState(msgspec.Struct):
    """One side: accounts, what customers are owed, what they owe."""

    lines: int
    credit: Amount
    debt: Amount


class LineProblem(msgspec.Struct):
    """What is wrong with a line."""

    line: int
    problem: str


class ImportReport(msgspec.Struct):
    """What a dry run found."""

    import_id: str
    clean: Annotated[bool, Meta(description="No line has a problem, and both sides agree.")]
    digest: Digest
    file: Annotated[SumsState, Meta(description="As the file's author knows them.")]
    found: Annotated[SumsState, Meta(description="As its lines add up.")]
    problems: Annotated[list[LineProblem], Meta(description=f"The first {MAX_SHOWN}.")]
    problem_count: int
    books_before: Annotated[Amount, Meta(description="What all customers have by the books, less what they owe,")]
    books_after: Annotated[Amount, Meta(description="… and with the import.")]


class ImportState(msgspec.Struct):
    """An import, and how far it has come."""

    import_id: str
    state: Literal["proposed", "running", "done", "withdrawn"]
    meaning: str
    digest: Digest
    sums: SumsState
    booked: Annotated[int, Meta(description="Lines that are booked.")]
    author: str
    approver: str | None
    proposal: int | None
    proposed: Moment
    changed: Moment


class PlaceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Bills that the meter is to collect: by time where `amount` is given, as a share of top-ups where `share` is."""

    bills: Annotated[list[Annotated[int, Meta(ge=1)]], Meta(min_length=1, max_length=100)]
    amount: Annotated[PositiveAmount, Meta(description="Collected when a `period` begins.")] = "0.00"
    share: Annotated[int, Meta(ge=0, le=10_000, description="Of each top-up, in 1/10 000.")] = 0
    cap: Annotated[PositiveAmount, Meta(description="The most of top-ups in a `period`; 0: no cap.")] = "0.00"
    period: Literal["day", "week", "month"] = "day"
    priority: Annotated[int, Meta(ge=0, le=255, description="The debt with the lowest is collected first.")] = 0


class DebtWithdrawRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why."""

    note: Note = ""


class DebtState(msgspec.Struct):
    """A debt that the meter collects, as far as its events have told."""

    debt: int
    placed: Amount
    withdrawn: Amount
    collected: Amount
    order: int


class DebtsState(msgspec.Struct):
    """What the meter collects of the account in force."""

    owed: Annotated[Amount, Meta(description="What it has still to collect.")]
    debts: list[DebtState]


async def post_import(call: Call[ImportRequest, Nothing]) -> Answer:
    """Try an import of opening balances, or propose it.

    Without `digest` nothing is written: the answer (200) tells what is wrong with each line, and both sides' sums. With
    the digest of a clean dry run it is proposed (202); a second person approves that very report. Then credit goes to
    the meters, debts become bills, and nobody is stopped before notice and before the credit is on the meter.
    """
    body = call.body
    read = files.read(body.text, body.format)
    if body.digest is None:
        return Answer(200, _report(await call.desk.read(checking.check, body.import_id, read)))
    now_s, digest = call.desk.clock.now_s(), bytes.fromhex(body.digest)
    arguments = (now_s, body.import_id, read, digest, call.caller.actor)
    return await call.desk.act(_propose, *arguments, answer=lambda state: Answer(202, state))


def _propose(conn: Connection, now_s: int, import_id: str, *arguments: Any) -> ImportState:
    running.propose(conn, now_s, import_id, *arguments)
    return _import(conn, import_id)


async def get_import(call: Call[Nothing, Nothing]) -> Answer:
    """An import, and how many of its lines are booked."""
    return Answer(200, await call.desk.read(_import, call.path["import_id"]))


async def list_debts(call: Call[Nothing, Nothing]) -> Answer:
    """What the meter collects of bills, and what it has still to collect."""
    return Answer(200, await call.desk.read(_debts, call.meter))


async def place_bills(call: Call[PlaceRequest, Nothing]) -> Answer:
    """Move open bills to the meter, which collects them from then on; the head end does not.

    What is due of their late fees goes with them, and nothing is added while the meter collects.
    """
    body = call.body
    how = debts_on_meter.Terms(
        bodies.DEBT_SHARED if body.share else bodies.DEBT_TIMED,
        body.share,
        wire.read_amount("amount", body.amount),
        _PERIODS[body.period],
        body.priority,
        wire.read_amount("cap", body.cap),
    )

    return await state_order(call, debts_on_meter.place, _debt(call), body.bills, how)


async def withdraw_bills(call: Call[DebtWithdrawRequest, Nothing]) -> Answer:
    """Take back what the meter has not collected; the bills are the head end's when the meter has proved it."""

    return await state_order(call, debts_on_meter.withdraw, _debt(call))


def _debt(call: Call[Any, Any]) -> int:
    text = call.path["debt"]
    if text not in ("1", "2", "3"):
        raise Refused("debt", text, "1..3")
    return int(text)


def _debts(conn: Connection, number: int) -> DebtsState:
    epoch = get_meter(conn, number).account_epoch
    rows = debts_on_meter.of_account(conn, number, epoch)
    return DebtsState(
        wire.amount(debts_on_meter.owed_uc(conn, number, epoch)),
        [
            DebtState(
                row.number,
                wire.amount(row.placed_uc),
                wire.amount(row.withdrawn_uc),
                wire.amount(row.collected_uc),
                row.order_id,
            )
            for row in rows
        ],
    )


def _report(report: checking.Report) -> ImportReport:
    first = sorted(report.problems.items())[:MAX_SHOWN]
    return ImportReport(
        import_id=report.import_id,
        clean=report.clean,
        digest=report.digest().hex(),
        file=_sums(report.control),
        found=_sums(report.found),
        problems=[LineProblem(line, sentence) for line, sentence in first],
        problem_count=len(report.problems),
        books_before=wire.amount(report.before_uc),
        books_after=wire.amount(report.after_uc),
    )


def _import(conn: Connection, import_id: str) -> ImportState:
    row = running.get(conn, import_id)
    return ImportState(
        import_id=row.import_id,
        state=row.state,
        meaning=words.STATES[row.state][0],
        digest=row.digest.hex(),
        sums=_sums(files.Sums(row.lines, row.credit_uc, row.debt_uc)),
        booked=running.progress(conn, import_id)[1],
        author=row.author,
        approver=row.approver,
        proposal=row.proposal,
        proposed=wire.moment(row.made_s),
        changed=wire.moment(row.changed_s),
    )


def _sums(sums: files.Sums) -> SumsState:
    return SumsState(sums.lines, wire.amount(sums.credit_uc), wire.amount(sums.debt_uc))


_DEBT: dict[str, Any] = {"answers": {202: OrderState}, "query": Nothing, "problems": ("unknown_meter", "unknown_bill")}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/imports",
        post_import,
        scope=BOOKS,
        answers={200: ImportReport, 202: ImportState},
        body=ImportRequest,
        query=Nothing,
        most_bytes=2 * MAX_TEXT + MAX_BODY,
    ),
    Operation(
        "GET",
        "/imports/{import_id}",
        get_import,
        scope=BOOKS,
        answers={200: ImportState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_import",),
    ),
    Operation(
        "GET",
        "/meters/{meter}/debts",
        list_debts,
        scope=READ,
        answers={200: DebtsState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation("POST", "/meters/{meter}/debts/{debt}/place", place_bills, scope=BOOKS, body=PlaceRequest, **_DEBT),
    Operation(
        "POST", "/meters/{meter}/debts/{debt}/withdraw", withdraw_bills, scope=BOOKS, body=DebtWithdrawRequest, **_DEBT
    ),
)
