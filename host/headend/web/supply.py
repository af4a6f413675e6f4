"""Supply on and off, tariff and limits: orders to one meter."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.access import areas
from headend.access.permissions import ORDERS, SAFETY
from headend.orders import statements
from headend.web import bodies_json, tariff_json
from headend.web.bodies_json import LimitsBody, Seconds
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import Note, OrderState, Reason, state_order, text_of
from headend.web.tariff_json import TariffBody
from meterlink import bodies, names, reasons

_CLOSE = {"permit": bodies.CLOSE_PERMIT, "direct": bodies.CLOSE_DIRECT}


class DisconnectRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Set a hold: supply goes off and stays off while the hold stands."""

    reason: Reason
    note: Note = ""
    delay_s: Annotated[
        Seconds | None,
        Meta(description="From the meter taking the order to the contact opening; null: as its limits say."),
    ] = None
    valid_s: Annotated[
        int, Meta(ge=1, le=statements.MAX_STOP_S, description="The meter applies the order within this time or never.")
    ] = statements.MAX_STOP_S


class ConnectRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Release a hold. Other holds, and the meter's own causes, stay as they are."""

    reason: Reason
    close: Annotated[
        Literal["permit", "direct"],
        Meta(description="`permit`: the customer closes at the meter; `direct`: the meter closes by itself."),
    ]
    note: Note = ""
    spread_s: Annotated[
        Seconds | None,
        Meta(description="`direct`: the meter closes after a random part of this; null: as its limits say."),
    ] = None


async def disconnect(call: Call[DisconnectRequest, Nothing]) -> Answer:
    """Order supply off.

    Answered 202 when the order is on disk. It is `queued` where the caller may do it alone; beyond the budgets of one
    person it is `awaiting_approval`, and `proposal` names what a second person has to approve. It is *confirmed* when a
    report shows the contact open and no load current. Until then its state says how far it is: follow `Location`.
    """
    body = call.body
    reason = names.code(names.HOLD, body.reason)
    await _need_safety(call, reason)
    options: dict[str, Any] = {
        "reason_text": text_of(body.note),
        "valid_s": body.valid_s,
        "delay_s": _seconds(body.delay_s),
    }
    return await state_order(call, statements.stop, reason, **options)


async def connect(call: Call[ConnectRequest, Nothing]) -> Answer:
    """Release a hold on supply.

    Confirmed when a report shows the hold cleared and the contact closed (`direct`), or the meter ready for the
    customer's key (`permit`). While another hold or a cause of the meter's own stands, supply stays off, and
    `why_off` of the meter says so.
    """
    body = call.body
    reason = names.code(names.HOLD, body.reason)
    await _need_safety(call, reason)
    options: dict[str, Any] = {
        "close": _CLOSE[body.close],
        "spread_s": _seconds(body.spread_s),
        "reason_text": text_of(body.note),
    }
    return await state_order(call, statements.release, reason, **options)


async def put_tariff(call: Call[TariffBody, Nothing]) -> Answer:
    """Set the meter's tariff."""
    return await state_order(call, statements.set_tariff, tariff_json.read_tariff(call.body))


async def put_limits(call: Call[LimitsBody, Nothing]) -> Answer:
    """Set the meter's thresholds and delays."""
    return await state_order(call, statements.set_limits, bodies_json.read_limits(call.body))


async def _need_safety(call: Call[Any, Nothing], reason: int) -> None:
    """A hold for safety is set and released by those alone who may."""
    if reason == reasons.HOLD_SAFETY:
        area = await call.desk.read(areas.area_of, "meter", call.meter)
        call.caller.need(SAFETY, area or "")


def _seconds(given: int | None) -> int:
    return bodies.DEFAULT if given is None else given


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST",
        "/meters/{meter}/disconnect",
        disconnect,
        scope=ORDERS,
        answers={202: OrderState},
        body=DisconnectRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "POST",
        "/meters/{meter}/connect",
        connect,
        scope=ORDERS,
        answers={202: OrderState},
        body=ConnectRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "PUT",
        "/meters/{meter}/tariff",
        put_tariff,
        scope=ORDERS,
        answers={202: OrderState},
        body=TariffBody,
        query=Nothing,
        problems=("unknown_meter",),
    ),
    Operation(
        "PUT",
        "/meters/{meter}/limits",
        put_limits,
        scope=ORDERS,
        answers={202: OrderState},
        body=LimitsBody,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
