"""The policies of money: late fees, shares, taxes, the time zone."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import ADMIN
from headend.ledger import late_fee, tax, terms, zone
from headend.web.operations import Answer, Call, Nothing, Operation

CustomerClass = Literal["resident", "other"]
Seconds = Annotated[int, Meta(ge=0, le=2**40, description="Seconds since 1970 UTC.")]
Area = Annotated[str, Meta(max_length=120, description='Such as "north/feeder-3"; "": everywhere.')]
Day = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2026-01-31"])]
Ppm = Annotated[int, Meta(ge=0, le=1_000_000, description="Millionths.")]


class LateFeeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Late fee a day, from a local day on; tomorrow at the earliest."""

    customer_class: CustomerClass
    from_day: Day
    year_ppm: Annotated[Ppm, Meta(description="Millionths a day in the year in which the bill fell due.")]
    later_ppm: Annotated[Ppm, Meta(description="Millionths a day beyond that year's end.")]


class ShareRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Which share of purchases pays bills before it is credit."""

    share_ppm: Ppm
    area: Area = ""
    customer_class: Literal["", "resident", "other"] = ""
    from_s: Annotated[Seconds | None, Meta(description="Null: from now on.")] = None


class TaxRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A tax. `included`: part of the price of energy; `added`: taken from payments beside what is credit."""

    name: Annotated[str, Meta(pattern=r"^[a-z][a-z0-9-]{0,9}$", examples=["vat"])]
    ppm: Annotated[Ppm, Meta(description="Millionths of the net amount; 0 ends the tax.")]
    mode: Literal["included", "added"]
    area: Area = ""
    customer_class: Literal["", "resident", "other"] = ""
    from_s: Annotated[Seconds | None, Meta(description="Null: from now on.")] = None


class ZoneRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The utility's time zone, by which days and years are counted."""

    name: Annotated[str, Meta(min_length=1, max_length=60, examples=["Asia/Shanghai"])]


class Noted(msgspec.Struct):
    """It is set, and in the audit."""

    noted: Literal[True] = True


async def post_late_fee(call: Call[LateFeeRequest, Nothing]) -> Answer:
    """Set the late fee of a class of customers from a day on."""
    body = call.body
    day = zone.read_day("from_day", body.from_day)
    arguments = (body.customer_class, day, body.year_ppm, body.later_ppm, call.caller.actor)
    return await call.desk.act(late_fee.set_rate, call.desk.clock.now_s(), *arguments, answer=_made)


async def post_share(call: Call[ShareRequest, Nothing]) -> Answer:
    """Set which share of purchases pays bills first. All of it, where nothing is set."""
    body = call.body
    arguments = (
        call.desk.clock.now_s(),
        body.area,
        body.customer_class,
        body.share_ppm,
        call.caller.actor,
        body.from_s,
    )
    return await call.desk.act(_set_share, *arguments, answer=_made)


def _set_share(
    conn: Connection, now_s: int, area: str, customer_class: str, ppm: int, actor: str, from_s: int | None
) -> None:
    terms.set_share(conn, now_s, area, customer_class, ppm, actor, from_s=from_s)


async def post_tax(call: Call[TaxRequest, Nothing]) -> Answer:
    """Set a tax on what is sold."""
    return await call.desk.act(_set_tax, call.desk.clock.now_s(), call.body, call.caller.actor, answer=_made)


def _set_tax(conn: Connection, now_s: int, body: TaxRequest, actor: str) -> None:
    place = {"area": body.area, "customer_class": body.customer_class}
    tax.set_rate(conn, now_s, body.name, body.ppm, body.mode, actor, from_s=body.from_s, **place)


async def put_zone(call: Call[ZoneRequest, Nothing]) -> Answer:
    """Set the utility's time zone."""
    return await call.desk.act(zone.put, call.desk.clock.now_s(), call.body.name, call.caller.actor, answer=noted)


def noted(_: Any) -> Answer:
    """What setting is answered with."""
    return Answer(200, Noted())


def _made(_: Any) -> Answer:
    return Answer(201, Noted())


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "POST", "/policies/late-fees", post_late_fee, ADMIN, answers={201: Noted}, body=LateFeeRequest, query=Nothing
    ),
    Operation("POST", "/policies/shares", post_share, ADMIN, answers={201: Noted}, body=ShareRequest, query=Nothing),
    Operation("POST", "/policies/taxes", post_tax, ADMIN, answers={201: Noted}, body=TaxRequest, query=Nothing),
    Operation("PUT", "/policies/zone", put_zone, ADMIN, answers={200: Noted}, body=ZoneRequest, query=Nothing),
)
