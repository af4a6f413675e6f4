"""Accounts on meters: another tenant, another meter, the end, a lost history; who prices; what a person has to see."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Row

from headend.access.permissions import ADMIN, ORDERS, READ
from headend.epochs import findings, life, recover
from headend.ledger import charges
from headend.orders import trust
from headend.web import wire
from headend.web.fleet_life import RegistersRead
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import MAX_ID, Note, OrderState, Reason, state_order, text_of
from headend.web.wire import Amount, MeterNumber, Moment, PositiveAmount
from meterlink import names

Cause = Literal["tenant", "repaired", "imported", "commissioned"]
Latch = Literal["flash_damaged", "unclean_starts", "wrong_tokens", "bypassed"]
WattHours = Annotated[int, Meta(ge=0, le=2**53)]


class AccountRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Open the next account on the meter and close the one in force."""

    cause: Annotated[
        Cause,
        Meta(
            description="`tenant` and `commissioned`: what is left goes to the former customer's account in the books; "
            "`repaired` and `imported`: to the new account."
        ),
    ]
    kept_holds: Annotated[
        list[Reason], Meta(max_length=8, description="Holds that stay; `safety` stays in any case.")
    ] = []
    note: Note = ""


class ExchangeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Another meter takes the place of this one."""

    new_meter: Annotated[MeterNumber, Meta(description="A meter of the fleet on whose account nothing was booked.")]
    end: Annotated[RegistersRead, Meta(description="Of this meter.")] = msgspec.field(default_factory=RegistersRead)
    start: Annotated[RegistersRead, Meta(description="Of the new one.")] = msgspec.field(default_factory=RegistersRead)
    note: Note = ""


class AccountNoteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Why, for the order's record."""

    note: Note = ""


class ModeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Who prices, what the head end charges besides, and in remote mode how far supply is covered."""

    mode: Literal["local", "remote", "postpaid"]
    charge: Annotated[
        PositiveAmount, Meta(description="Charged with this order, on top of all that was charged before.")
    ] = "0.00"
    until_wh: Annotated[WattHours, Meta(description="`remote`: import register up to which supply is covered.")] = 0
    balance: Annotated[Amount, Meta(description="`remote`: what the customer has by the books.")] = "0.00"
    grace_wh: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    grace_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] = 0
    note: Note = ""


class ClearRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Clear latches that were looked after."""

    latches: Annotated[list[Latch], Meta(min_length=1, max_length=4)]
    up_to_event: Annotated[
        Annotated[int, Meta(ge=0, le=0xFFFFFFFF)] | None,
        Meta(description="What happens after this event stays latched; null: the newest reported."),
    ] = None
    note: Note = ""


class FindingsQuery(msgspec.Struct, forbid_unknown_fields=True):
    """Which findings."""

    after: Annotated[int, Meta(ge=0, le=MAX_ID, description="Only findings with a higher id.")] = 0
    limit: Annotated[int, Meta(ge=1, le=500)] = 100


class Finding(msgspec.Struct):
    """What a person has to look at."""

    finding: int
    meter: MeterNumber
    kind: str
    meaning: str
    amount: Amount
    note: str
    found: Moment


class Findings(msgspec.Struct):
    """The findings that stand, oldest first."""

    findings: list[Finding]
    next_after: Annotated[int | None, Meta(description="`after` of the next page; null on the last one.")]


async def open_account(call: Call[AccountRequest, Nothing]) -> Answer:
    """Open the next account: change of tenant, repair, import.

    The old account is closed in the books at once, by the newest report, and to the unit when the meter's own closing
    statement has come. Orders for the old account can do nothing any more. Confirmed when a report shows the meter
    under the new account; money that is paid meanwhile waits for that.
    """
    body = call.body
    kept = sum(1 << names.code(names.HOLD, reason) for reason in set(body.kept_holds))
    return await state_order(call, life.open_epoch, body.cause, kept_holds=kept, reason_text=text_of(body.note))


async def exchange(call: Call[ExchangeRequest, Nothing]) -> Answer:
    """Put another meter in the place of this one.

    Account and supply point go on there: its credit is stated to the new meter, and corrected when the old one's
    closing statement comes. The answer is the order that retires the old meter.
    """
    new_meter = wire.read_meter(call.body.new_meter, "new_meter")
    read = {"old_read": call.body.end.readings(), "new_read": call.body.start.readings()}
    return await state_order(call, life.exchange, new_meter, reason_text=text_of(call.body.note), **read)


async def retire(call: Call[AccountNoteRequest, Nothing]) -> Answer:
    """Close the meter's account for good: supply goes off and stays off, and the meter charges nothing more."""
    return await state_order(call, life.retire, reason_text=text_of(call.body.note))


async def recover_meter(call: Call[AccountNoteRequest, Nothing]) -> Answer:
    """Give a meter that has lost its history the state that it goes on from, as the books prove it.

    Refused unless its newest report says that its history is lost.
    """
    return await state_order(call, recover.recover, reason_text=text_of(call.body.note))


async def set_mode(call: Call[ModeRequest, Nothing]) -> Answer:
    """Say who prices, and charge. What is charged is booked with the order."""
    body = call.body
    sign = -1 if body.balance.startswith("-") else 1
    balance_uc = sign * wire.read_amount("balance", body.balance.removeprefix("-"))
    return await state_order(
        call,
        charges.set_mode,
        names.code(names.MODE, body.mode),
        charge_uc=wire.read_amount("charge", body.charge),
        until_wh=body.until_wh,
        balance_uc=balance_uc,
        grace_wh=body.grace_wh,
        grace_s=body.grace_s,
        reason_text=text_of(body.note),
    )


async def clear(call: Call[ClearRequest, Nothing]) -> Answer:
    """Clear latches of the meter, so that its tamper alarm goes out. What happens later stays latched."""
    body = call.body
    latches = sum(1 << names.code(names.LATCH, latch) for latch in set(body.latches))
    options: dict[str, Any] = {"up_to_event": body.up_to_event, "reason_text": text_of(body.note)}
    return await state_order(call, trust.clear_latches, latches, **options)


async def list_findings(call: Call[Nothing, FindingsQuery]) -> Answer:
    """What a person has to look at, oldest first. `openprepay admin findings --settle` puts one away."""
    query = call.query
    rows = await call.desk.read(findings.page, query.after, query.limit, call.caller.areas)
    return Answer(200, Findings([_finding(row) for row in rows], rows[-1].id if len(rows) == query.limit else None))


def _finding(row: Row[Any]) -> Finding:
    return Finding(
        finding=row.id,
        meter=wire.meter_name(row.meter),
        kind=row.kind,
        meaning=findings.KINDS[row.kind],
        amount=wire.amount(row.amount_uc),
        note=row.note,
        found=wire.moment(row.found_s),
    )


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/meters/{meter}/account",
        open_account,
        scope=ADMIN,
        answers={202: OrderState},
        body=AccountRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/exchange",
        exchange,
        scope=ADMIN,
        answers={202: OrderState},
        body=ExchangeRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/retire",
        retire,
        scope=ADMIN,
        answers={202: OrderState},
        body=AccountNoteRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/recover",
        recover_meter,
        scope=ADMIN,
        answers={202: OrderState},
        body=AccountNoteRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/mode",
        set_mode,
        scope=ORDERS,
        answers={202: OrderState},
        body=ModeRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/clear",
        clear,
        scope=ORDERS,
        answers={202: OrderState},
        body=ClearRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "GET",
        "/findings",
        list_findings,
        scope=READ,
        answers={200: Findings},
        body=Nothing,
        query=FindingsQuery,
        by_area=True,
    ),
)
