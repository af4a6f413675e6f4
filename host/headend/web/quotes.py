"""Quotes: what a payment would do, before it is made."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import PAYMENTS
from headend.language import say
from headend.ledger import quote, words
from headend.ledger.split import Split
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.wire import Amount, MeterNumber, Moment, PositiveAmount

Purpose = Annotated[
    Literal["", "advance", "deposit"],
    Meta(
        description='"": for bills, the rest is credit on the meter. `advance`: for bills, the rest waits for bills to '
        "come. `deposit`: a guarantee, held apart."
    ),
]


class BillPart(msgspec.Struct):
    """What one bill gets."""

    bill: int
    reference: str
    period: str
    late_fee: Amount
    principal: Amount
    settled: Annotated[bool, Meta(description="Whether it is paid by that.")]


class TaxPart(msgspec.Struct):
    """A tax."""

    name: str
    ppm: int
    amount: Amount


class Quote(msgspec.Struct):
    """`amount` = late fees + principals + `taxes` + `credit` + `kept`, to the unit."""

    meter: MeterNumber
    account_epoch: int
    amount: Amount
    bills: Annotated[list[BillPart], Meta(description="Oldest first.")]
    taxes: Annotated[list[TaxPart], Meta(description="Taken beside the credit.")]
    credit: Annotated[Amount, Meta(description="For the meter.")]
    kept: Annotated[Amount, Meta(description="For bills to come, or as a guarantee.")]
    included: Annotated[list[TaxPart], Meta(description="Taxes that are part of the credit.")]
    standing: Annotated[Amount, Meta(description="Standing charges that have begun since the meter's report.")]
    balance: Annotated[Amount | None, Meta(description="On the meter, by its newest report.")]
    energy_wh: Annotated[int, Meta(description="About what the credit buys, after what is below zero.")]
    reconnect: Annotated[
        Amount, Meta(description="What has to be paid for supply to come back; 0.00: it is not off for want of money.")
    ]
    assumed: Annotated[list[str], Meta(description="What the estimates stand on.")]
    made: Moment
    valid_until: Moment
    quote: Annotated[
        str, Meta(description="Name this in the payment: it is refused (`quote_changed`) if other amounts would move.")
    ]


class QuoteQuery(msgspec.Struct, forbid_unknown_fields=True):
    """What would be paid."""

    amount: PositiveAmount
    account_epoch: Annotated[int, Meta(ge=0, le=0xFFFF, description="0: the account in force.")] = 0
    purpose: Purpose = ""
    language: Literal["en", "zh"] = "en"


async def get_quote(call: Call[Nothing, QuoteQuery]) -> Answer:
    """What a payment would do now: bills with late fees, taxes, credit, energy at today's tariff.

    Nothing is reserved. A payment that names the quote moves these very amounts or is refused.
    """
    query = call.query
    amount_uc = wire.read_amount("amount", query.amount)
    arguments = (call.desk.clock.now_s(), call.meter, amount_uc, query.account_epoch or None, query.purpose)
    return Answer(200, _shown(await call.desk.read(_quote, *arguments), query.language))


def _quote(
    conn: Connection, now_s: int, meter: int, amount_uc: int, account_epoch: int | None, purpose: str
) -> quote.Quote:
    return quote.quote(conn, now_s, meter, amount_uc, account_epoch=account_epoch, purpose=purpose)


def _shown(found: quote.Quote, language: str) -> Quote:
    parts = found.parts
    return Quote(
        meter=wire.meter_name(parts.meter),
        account_epoch=parts.account_epoch,
        amount=wire.amount(parts.amount_uc),
        bills=bill_parts(parts),
        taxes=[TaxPart(one.name, one.ppm, wire.amount(one.tax_uc)) for one in parts.taxes],
        credit=wire.amount(parts.credit_uc),
        kept=wire.amount(parts.kept_uc),
        included=[TaxPart(one.name, one.ppm, wire.amount(one.tax_uc)) for one in found.included],
        standing=wire.amount(found.standing_uc),
        balance=None if found.balance_uc is None else wire.amount(found.balance_uc),
        energy_wh=found.energy_wh,
        reconnect=wire.amount(found.reconnect_uc),
        assumed=[say(words.ASSUMED[code], language) for code in found.assumed],
        made=wire.moment(found.made_s),
        valid_until=wire.moment(found.valid_until_s),
        quote=parts.digest().hex(),
    )


def bill_parts(parts: Split) -> list[BillPart]:
    """What bills get, those alone that get something."""
    return [
        BillPart(
            line.bill.id,
            line.bill.reference,
            line.bill.period,
            wire.amount(line.late_fee_uc),
            wire.amount(line.principal_uc),
            line.settles,
        )
        for line in parts.found.lines
        if line.late_fee_uc or line.principal_uc
    ]


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/meters/{meter}/quote",
        get_quote,
        scope=PAYMENTS,
        answers={200: Quote},
        body=Nothing,
        query=QuoteQuery,
        problems=("unknown_meter",),
    ),
)
