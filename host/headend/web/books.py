"""The books against the meter."""

from typing import Annotated

import msgspec
from msgspec import Meta

from headend.ledger import reconcile
from headend.web import wire
from headend.web.operations import Answer, Call, Nothing
from headend.web.wire import Amount, MeterNumber, Moment


class Line(msgspec.Struct):
    """One part of the explanation."""

    what: str
    amount: Amount


class Reconciliation(msgspec.Struct):
    """ledger - meter = sum of the lines + difference. A difference of 0.00 means that all is explained, to the unit."""

    meter: MeterNumber
    ledger: Annotated[Amount, Meta(description="The customer's account in the books.")]
    on_meter: Annotated[Amount, Meta(description="The balance that the meter reported; 0.00 before the first report.")]
    lines: list[Line]
    difference: Amount
    explained: bool
    report_time: Annotated[Moment | None, Meta(description="The meter's own time of the report used.")]
    source_shown: Annotated[
        bool,
        Meta(
            description="Whether that report was asked about our credit source. If not, credit that has just arrived "
            "may show as a difference until the next report that is."
        ),
    ]


async def get_reconciliation(call: Call[Nothing, Nothing]) -> Answer:
    """The books against the meter, explained line by line."""
    found = await call.desk.read(reconcile.explain, call.meter)
    answer = Reconciliation(
        meter=wire.meter_name(found.meter),
        ledger=wire.amount(found.ledger_uc),
        on_meter=wire.amount(found.meter_uc),
        lines=[Line(what, wire.amount(amount_uc)) for what, amount_uc in found.lines],
        difference=wire.amount(found.difference_uc),
        explained=found.difference_uc == 0,
        report_time=wire.moment_or_none(found.report_time_s),
        source_shown=found.source_shown,
    )
    return Answer(200, answer)
