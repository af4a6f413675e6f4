"""Orders: how one is stated over HTTP, how it is shown, and how it is ended by hand."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend.access import areas
from headend.access.permissions import APPROVE, ORDERS, READ
from headend.fleet.meters import get_meter
from headend.orders import ending, lifecycle, writing
from headend.orders.facts import UNDER_WAY
from headend.refusals import Refused
from headend.store.schema import order, order_history
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import Amount, MeterNumber, Moment
from meterlink import bodies, names

MAX_ID = 2**53
MAX_PAGE = 500

Reason = Literal["arrears", "customer_request", "move_out", "tamper", "load_control", "legal", "safety"]
Note = Annotated[str, Meta(max_length=200, description="For the order's record: why, in words.")]
Whole = tuple[Row[Any], list[Row[Any]]]  # an order with its history


class OrderBrief(msgspec.Struct):
    """An order in a list."""

    order: int
    meter: MeterNumber
    aspect: Annotated[str, Meta(description="What is stated: credit, supply, tariff, limits, clock …")]
    reason: Annotated[str | None, Meta(description="Of a supply order: the hold that it sets or releases.")]
    action: Annotated[Literal["hold", "release"] | None, Meta(description="Of a supply order.")]
    state: Annotated[str, Meta(description="Where it stands in its life cycle.", examples=list(lifecycle.STATES))]
    meaning: Annotated[str, Meta(description="That state in words.")]
    wants: Annotated[
        Literal[
            "off",
            "on",
            "permit",
            "credit",
            "version",
            "mode",
            "tag",
            "closed",
            "epoch",
            "retired",
            "recovered",
        ],
        Meta(description="What a report has to show to confirm it."),
    ]
    actor: str
    note: str
    issued: Moment
    changed: Moment
    confirmed_at: Annotated[Moment | None, Meta(description="The meter's own time of the report that confirmed it.")]


class HistoryEntry(msgspec.Struct):
    """One event in the life of an order."""

    at: Moment
    event: str
    state: Annotated[str, Meta(description="After the event.")]
    note: str


class OrderState(OrderBrief):
    """An order with its whole life."""

    version: Annotated[int, Meta(description="Within the signing epoch; 0 for credit, which has none.")]
    signing_epoch: int
    account_epoch: int
    total: Annotated[Amount | None, Meta(description="Of a credit order: the total of our source that it states.")]
    not_after: Annotated[Moment | None, Meta(description="The last second at which the meter applies it.")]
    first_sent: Moment | None
    result: Annotated[str, Meta(description="The meter's last answer to it; `none` while there is none.")]
    ended: bool
    digest: Annotated[str | None, Meta(description="First 8 bytes of the order's digest, hexadecimal, once signed.")]
    evidence: Annotated[str | None, Meta(description="The report that proves it, byte for byte, hexadecimal.")]
    history: list[HistoryEntry]
    proposal: Annotated[int | None, Meta(description="What a second person has to approve, or has approved.")] = None


class OrderPage(msgspec.Struct):
    """Orders, newest first."""

    orders: list[OrderBrief]
    next_before: Annotated[int | None, Meta(description="`before` of the next page; null on the last one.")]


class OrdersQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which orders."""

    before: Annotated[int, Meta(ge=1, le=MAX_ID, description="Only orders with a smaller id.")] = MAX_ID
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50
    under_way: Annotated[bool, Meta(description="Only orders that have not ended.")] = False


class OrderEndRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why an order is ended by hand."""

    note: Note = ""


async def list_orders(call: Call[Nothing, OrdersQuery]) -> Answer:
    """Orders to a meter, newest first."""
    query = call.query
    rows = await call.desk.read(_of_meter, call.meter, query)
    more = rows[-1].id if len(rows) == query.limit else None
    return Answer(200, OrderPage([brief(row) for row in rows], more))


async def get_order(call: Call[Nothing, Nothing]) -> Answer:
    """One order with its history, and the evidence that confirmed it."""
    row, history = await call.desk.read(_order, _id(call))
    return Answer(200, whole(row, history))


def _id(call: Call[Any, Any]) -> int:
    return call.number("order", lifecycle.UnknownOrder)


async def cancel_order(call: Call[OrderEndRequest, Nothing]) -> Answer:
    """Withdraw an order that was not sent.

    Its author may, and whoever may approve orders there. Not withdrawn is what gives supply back, a hold for safety,
    and what the books have moved with.
    """
    return await call.desk.act(_cancel, call.desk.clock.now_s(), call, _id(call), answer=_shown)


async def write_off_order(call: Call[OrderEndRequest, Nothing]) -> Answer:
    """Give up an order that its meter will never answer.

    For one that is `unknown` or `accepted`: nothing else ends it but a proof. `note` says why.
    """
    return await call.desk.act(_write_off, call.desk.clock.now_s(), call, _id(call), answer=_shown)


def _cancel(conn: Connection, now_s: int, call: Call[OrderEndRequest, Nothing], order_id: int) -> Whole:
    area = areas.area_of(conn, "order", order_id)
    approver = call.caller.may(APPROVE, area or "")
    ending.cancel(conn, now_s, order_id, call.caller.actor, text_of(call.body.note), as_approver=approver)
    return _order(conn, order_id)


def _write_off(conn: Connection, now_s: int, call: Call[OrderEndRequest, Nothing], order_id: int) -> Whole:
    ending.write_off(conn, now_s, order_id, call.caller.actor, text_of(call.body.note))
    return _order(conn, order_id)


def _shown(found: Whole) -> Answer:
    return Answer(200, whole(*found))


async def state_order(call: Call[Any, Nothing], statement: Any, *what: Any, **options: Any) -> Answer:
    """Have a statement made for the meter of the path, and answer with the order.

    `statement(conn, now_s, meter, *what, actor, **options)` returns its id.
    """
    desk, actor = call.desk, call.caller.actor
    arguments = (desk.clock.now_s(), call.meter, statement, what, actor, options)
    answer = await desk.act(_make, *arguments, answer=_accepted)
    desk.wake()
    return answer


def _accepted(made: Whole) -> Answer:
    row, history = made
    return Answer(202, whole(row, history), {"Location": f"/api/v1/orders/{row.id}"})


def _make(
    conn: Connection,
    now_s: int,
    meter: int,
    statement: Any,
    what: tuple[Any, ...],
    actor: str,
    options: dict[str, Any],
) -> Whole:
    return _order(conn, statement(conn, now_s, meter, *what, actor, **options))


def text_of(note: str) -> str:
    """A note for the record; raises Refused."""
    if not note.isprintable():
        raise Refused("note", note, "printable characters")
    return note


def _order(conn: Connection, order_id: int) -> Whole:
    row = conn.execute(select(order).where(order.c.id == order_id)).one_or_none()
    if row is None:
        raise lifecycle.UnknownOrder(order_id)
    mine = select(order_history).where(order_history.c.order_id == order_id).order_by(order_history.c.id)
    return row, list(conn.execute(mine).all())


def _of_meter(conn: Connection, meter: int, query: OrdersQuery) -> list[Row[Any]]:
    get_meter(conn, meter)
    mine = select(order).where(order.c.meter == meter, order.c.id < query.before)
    if query.under_way:
        mine = mine.where(order.c.state.in_(UNDER_WAY))
    return list(conn.execute(mine.order_by(order.c.id.desc()).limit(query.limit)).all())


def brief(row: Row[Any]) -> OrderBrief:
    """What a list shows of a row of `order`."""
    return OrderBrief(**_brief(row))


def whole(row: Row[Any], history: list[Row[Any]]) -> OrderState:
    return OrderState(
        **_brief(row),
        version=row.version,
        signing_epoch=row.signing_epoch,
        account_epoch=row.account_epoch,
        total=wire.amount(row.total_uc) if row.wants == writing.WANTS_CREDIT else None,
        not_after=wire.moment(row.not_after_s) if row.not_after_s else None,
        first_sent=wire.moment_or_none(row.sent_s),
        result=names.of(names.RESULT, row.result),
        ended=row.state in lifecycle.ENDS,
        digest=row.digest.hex() if row.digest else None,
        evidence=row.evidence.hex() if row.evidence else None,
        history=[HistoryEntry(wire.moment(one.at_s), one.event, one.state, one.note) for one in history],
        proposal=row.proposal,
    )


def _brief(row: Row[Any]) -> dict[str, Any]:
    aspect = names.of(names.ASPECT, row.aspect)
    supply = aspect == "supply"
    holding = supply and bodies.decode_supply(row.body)[0] == bodies.HOLD
    return {
        "order": row.id,
        "meter": wire.meter_name(row.meter),
        "aspect": aspect,
        "reason": names.of(names.HOLD, row.selector) if supply else None,
        "action": ("hold" if holding else "release") if supply else None,
        "state": row.state,
        "meaning": lifecycle.STATES[row.state],
        "wants": row.wants,
        "actor": row.actor,
        "note": row.reason_text,
        "issued": wire.moment(row.issued_s),
        "changed": wire.moment(row.changed_s),
        "confirmed_at": wire.moment_or_none(row.evidence_time_s if row.state == lifecycle.CONFIRMED else None),
    }


_ORDER = ("unknown_order",)

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/orders",
        list_orders,
        scope=READ,
        answers={200: OrderPage},
        body=Nothing,
        query=OrdersQuery,
        problems=("unknown_meter",),
    ),
    Operation(
        "GET",
        "/orders/{order}",
        get_order,
        scope=READ,
        answers={200: OrderState},
        body=Nothing,
        query=Nothing,
        problems=("unknown_order",),
    ),
    Operation(
        "POST",
        "/orders/{order}/cancel",
        cancel_order,
        scope=ORDERS,
        answers={200: OrderState},
        body=OrderEndRequest,
        query=Nothing,
        problems=_ORDER,
    ),
    Operation(
        "POST",
        "/orders/{order}/write-off",
        write_off_order,
        scope=APPROVE,
        answers={200: OrderState},
        body=OrderEndRequest,
        query=Nothing,
        problems=_ORDER,
    ),
)
