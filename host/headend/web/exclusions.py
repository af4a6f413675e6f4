"""Exclusions: who is not stopped, on what evidence, and since when. (The calendar and holds: `registry.py`.)"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row

from headend.access.permissions import READ, REGISTRY
from headend.fleet.meters import get_meter
from headend.gate import proposals
from headend.registry import ending, exclusions, kinds, listing, words
from headend.registry.evidence import Evidence
from headend.registry.kinds import KINDS
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import MeterNumber, Moment
from meterlink import names

MAX_ID = 2**53
MAX_PAGE = 200

KindName = Literal["protection", "life_support", "many_households", "vip", "direct_debit", "deferral", "dispute"]
EvidenceName = Literal["basis", "authority", "site_notice"]
Time = Annotated[int, Meta(ge=0, le=2**40, description="Seconds since 1970 UTC.")]
Reference = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=200,
        description="File number and title of the evidence. It stays for good: no personal data.",
        examples=["file 7/2026"],
    ),
]
Document = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the document, hexadecimal.")]
Note = Annotated[str, Meta(max_length=200, description="For the record; no personal data.")]


class ExclusionRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An exclusion to be set, from now on."""

    kind: KindName
    reference: Reference
    document: Document | None = None
    until_s: Annotated[
        Time | None, Meta(description="When it ends by itself; null: somebody ends it. Kinds may want one, or none.")
    ] = None
    note: Note = ""


class ExtendRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A later end."""

    until_s: Time
    note: Note = ""


class ExclusionEvidenceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Evidence to be added."""

    evidence: EvidenceName
    reference: Reference
    dated_s: Annotated[Time, Meta(description="When what it proves took place, such as the posting of a notice.")]
    document: Document | None = None
    note: Note = ""


class ExclusionEndRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why it ends."""

    note: Note = ""


class ExclusionEvent(msgspec.Struct):
    """One step of an exclusion's history."""

    at: Moment
    actor: str
    event: Annotated[str, Meta(examples=list(words.EVENTS))]
    until: Moment | None
    evidence: Annotated[str | None, Meta(description="What was proved; null where nothing was.")]
    reference: str | None
    document: str | None
    dated: Moment | None
    note: str


class Exclusion(msgspec.Struct):
    """Why a customer is not stopped."""

    exclusion: int
    meter: MeterNumber
    account_epoch: Annotated[int | None, Meta(description="Of that account alone; null: of the supply point.")]
    kind: str
    title: Annotated[dict[str, str], Meta(description="The kind's name, by language (`en`, `zh`).")]
    bars: Annotated[list[str], Meta(description="Reasons of holds that it forbids.")]
    four_eyes: Annotated[bool, Meta(description="Whether a second person approves its end.")]
    since: Moment
    until: Moment | None
    ended: Moment | None
    standing: bool
    reference: str
    document: str | None
    actor: str


class ExclusionDetail(Exclusion):
    """An exclusion with its history, oldest first."""

    history: list[ExclusionEvent]


class ExclusionPage(msgspec.Struct):
    """Exclusions by rising id."""

    exclusions: list[Exclusion]
    next_after: Annotated[int | None, Meta(description="`after` of the next page; null on the last one.")]


class ExclusionsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which exclusions, in the areas of whoever asks."""

    kind: KindName | None = None
    meter: MeterNumber | None = None
    standing: Annotated[bool, Meta(description="Only those that stand now.")] = True
    after: Annotated[int, Meta(ge=0, le=MAX_ID)] = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class EndProposed(msgspec.Struct):
    """The end is proposed: it waits for a second person."""

    proposal: int
    digest: Annotated[str, Meta(description="What the approval names.")]


async def list_exclusions(call: Call[Nothing, ExclusionsQuery]) -> Answer:
    """Exclusions by rising id."""
    query, now_s = call.query, call.desk.clock.now_s()
    rows = await call.desk.read(_listed, now_s, call.caller.areas, query)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, ExclusionPage([Exclusion(**_fields(row, now_s)) for row in rows], more))


async def get_exclusion(call: Call[Nothing, Nothing]) -> Answer:
    """One exclusion with its history. The answer's ETag is what a change names in If-Match."""
    return _answer(200, await call.desk.read(_whole, _id(call)), call.desk.clock.now_s())


async def post_exclusion(call: Call[ExclusionRequest, Nothing]) -> Answer:
    """Set an exclusion on a meter.

    A stop that it forbids and that was not sent ends; one that was sent or is in force is released. `protection` and
    `life_support` are stated to the meter too, so that its own causes do not stop the customer.
    """
    body, now_s = call.body, call.desk.clock.now_s()
    evidence = read_evidence(body.reference, body.document)

    def answer(whole: Whole) -> Answer:
        made = _answer(201, whole, now_s)
        return Answer(201, made.body, {**made.headers, "Location": f"/api/v1/exclusions/{whole[0].id}"})

    made = await call.desk.act(_put, now_s, call.meter, body, evidence, call.caller.actor, answer=answer)
    call.desk.wake()
    return made


async def extend_exclusion(call: Call[ExtendRequest, Nothing]) -> Answer:
    """Give an exclusion a later end. Wants If-Match."""
    return await _changed(call, exclusions.extend, call.body.until_s)


async def prove_exclusion(call: Call[ExclusionEvidenceRequest, Nothing]) -> Answer:
    """Add evidence to an exclusion. Wants If-Match.

    A stop passes `many_households` while the authority was consulted within 30 days, and a notice has stood on site
    for two.
    """
    body = call.body
    evidence = read_evidence(body.reference, body.document)
    return await _changed(call, exclusions.prove, body.evidence, evidence, body.dated_s)


async def end_exclusion(call: Call[ExclusionEndRequest, Nothing]) -> Answer:
    """End an exclusion. Wants If-Match.

    Of a kind that protects life this proposes the end (202): a second person approves it.
    """
    now_s = call.desk.clock.now_s()

    def answer(found: Whole | EndProposed) -> Answer:
        if isinstance(found, EndProposed):
            return Answer(202, found, {"Location": f"/api/v1/proposals/{found.proposal}"})
        return _answer(200, found, now_s)

    made = await call.desk.act(_end, now_s, call, answer=answer)
    call.desk.wake()
    return made


def read_evidence(reference: str, document: str | None) -> Evidence:
    """Evidence as a request names it."""
    return Evidence(reference, bytes.fromhex(document) if document else None)


Whole = tuple[Row[Any], list[Row[Any]]]


def _id(call: Call[Any, Nothing]) -> int:
    return call.number("exclusion", exclusions.UnknownExclusion)


def _listed(conn: Connection, now_s: int, prefixes: tuple[str, ...], query: ExclusionsQuery) -> list[Row[Any]]:
    number = None if query.meter is None else wire.read_meter(query.meter)
    chosen: dict[str, Any] = {"kind": query.kind, "meter_id": number, "standing": query.standing}
    return listing.listed(conn, now_s, prefixes, **chosen, after=query.after, limit=query.limit)


def _whole(conn: Connection, exclusion_id: int) -> Whole:
    return exclusions.get(conn, exclusion_id), exclusions.history(conn, exclusion_id)


def _put(conn: Connection, now_s: int, meter: int, body: ExclusionRequest, evidence: Evidence, actor: str) -> Whole:
    get_meter(conn, meter)
    options: dict[str, Any] = {"until_s": body.until_s, "note": body.note}
    return _whole(conn, exclusions.put(conn, now_s, meter, body.kind, actor, evidence, **options))


async def _changed(call: Call[Any, Nothing], change: Any, *what: Any) -> Answer:
    """Carry out a change and answer with what it led to."""
    now_s = call.desk.clock.now_s()
    return await call.desk.act(_change, now_s, call, change, what, answer=lambda whole: _answer(200, whole, now_s))


def _change(conn: Connection, now_s: int, call: Call[Any, Nothing], change: Any, what: tuple[Any, ...]) -> Whole:
    row = _expected(conn, call)
    change(conn, now_s, row.id, row.version, *what, call.caller.actor, note=call.body.note)
    return _whole(conn, row.id)


def _end(conn: Connection, now_s: int, call: Call[ExclusionEndRequest, Nothing]) -> Whole | EndProposed:
    row, actor, note = _expected(conn, call), call.caller.actor, call.body.note
    if KINDS[row.kind].four_eyes:
        made = ending.propose(conn, now_s, row.id, row.version, actor, note)
        return EndProposed(made, proposals.get(conn, made).digest)
    exclusions.end(conn, now_s, row.id, row.version, actor, note=note)
    return _whole(conn, row.id)


def _expected(conn: Connection, call: Call[Any, Nothing]) -> Row[Any]:
    row = exclusions.get(conn, _id(call))
    call.expect(_etag(row))
    return row


def _etag(row: Row[Any]) -> str:
    return wire.etag("exclusion", row.id, row.version)


def _answer(status: int, whole: Whole, now_s: int) -> Answer:
    row, history = whole
    shown = ExclusionDetail(**_fields(row, now_s), history=[_event(one) for one in history])
    return Answer(status, shown, {"ETag": _etag(row)})


def _fields(row: Row[Any], now_s: int) -> dict[str, Any]:
    kind = KINDS[row.kind]
    return {
        "exclusion": row.id,
        "meter": wire.meter_name(row.meter),
        "account_epoch": row.account_epoch,
        "kind": row.kind,
        "title": dict(zip(("en", "zh"), kind.title, strict=True)),
        "bars": [names.of(names.HOLD, reason) for reason in sorted(kind.bars)],
        "four_eyes": kind.four_eyes,
        "since": wire.moment(row.since_s),
        "until": wire.moment_or_none(row.until_s),
        "ended": wire.moment_or_none(row.ended_s),
        "standing": row.ended_s is None and (row.until_s is None or row.until_s > now_s),
        "reference": row.reference,
        "document": row.document.hex() if row.document else None,
        "actor": row.actor,
    }


def _event(row: Row[Any]) -> ExclusionEvent:
    return ExclusionEvent(
        at=wire.moment(row.at_s),
        actor=row.actor,
        event=row.event,
        until=wire.moment_or_none(row.until_s),
        evidence=row.evidence or None,
        reference=row.reference or None,
        document=row.document.hex() if row.document else None,
        dated=wire.moment_or_none(row.dated_s),
        note=row.note,
    )


_ONE: dict[str, Any] = {"query": Nothing, "problems": ("unknown_exclusion",)}
_EDIT: dict[str, Any] = {**_ONE, "scope": REGISTRY, "edits": True}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/exclusions",
        list_exclusions,
        scope=READ,
        answers={200: ExclusionPage},
        body=Nothing,
        query=ExclusionsQuery,
        by_area=True,
    ),
    Operation(
        "POST",
        "/meters/{meter}/exclusions",
        post_exclusion,
        scope=REGISTRY,
        answers={201: ExclusionDetail},
        body=ExclusionRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "GET",
        "/exclusions/{exclusion}",
        get_exclusion,
        scope=READ,
        answers={200: ExclusionDetail},
        body=Nothing,
        **_ONE,
    ),
    Operation(
        "POST",
        "/exclusions/{exclusion}/extend",
        extend_exclusion,
        answers={200: ExclusionDetail},
        body=ExtendRequest,
        **_EDIT,
    ),
    Operation(
        "POST",
        "/exclusions/{exclusion}/evidence",
        prove_exclusion,
        answers={200: ExclusionDetail},
        body=ExclusionEvidenceRequest,
        **_EDIT,
    ),
    Operation(
        "POST",
        "/exclusions/{exclusion}/end",
        end_exclusion,
        answers={200: ExclusionDetail, 202: EndProposed},
        body=ExclusionEndRequest,
        **_EDIT,
    ),
)

assert set(KindName.__args__) == set(KINDS) and set(EvidenceName.__args__) == set(kinds.EVIDENCE)  # type: ignore[attr-defined]
