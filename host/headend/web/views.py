"""A meter as the API shows it, made from its facts."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from headend.orders.facts import Facts
from headend.orders.why import sentence
from headend.web import bodies_json, orders, tariff_json, wire
from headend.web.bodies_json import LimitsBody
from headend.web.orders import OrderBrief
from headend.web.tariff_json import TariffBody
from headend.web.wire import Amount, MeterNumber, Moment
from meterlink import names, reasons, states
from meterlink.reports import Report


class WantedHold(msgspec.Struct):
    """A hold that we want on the meter."""

    reason: str
    order: int
    state: Annotated[str, Meta(description="Of that order; only `confirmed` was read back.")]
    actor: str
    note: str
    issued: Moment


class Wanted(msgspec.Struct):
    """What was ordered. `on`: no hold of ours keeps supply off; the meter's own credit still decides."""

    supply: Literal["on", "off"]
    holds: list[WantedHold]
    protected: bool


class Pending(msgspec.Struct):
    """An operation of the relay that the meter has armed."""

    operation: Literal["trip", "close"]
    due: Moment


class Intended(msgspec.Struct):
    """What the meter means its relay to be, and why."""

    control: Annotated[
        Literal["disconnected", "connected", "ready"], Meta(description="`ready`: waits for the customer.")
    ]
    holds: list[str]
    causes: Annotated[list[str], Meta(description="Causes of the meter's own that keep supply off.")]
    protected: bool
    pending: Pending | None


class Physical(msgspec.Struct):
    """What the relay is."""

    contact: Literal["open", "closed", "unknown"]
    load_ma: Annotated[int, Meta(description="Current behind the contact.")]
    no_load_s: Annotated[int, Meta(description="Seconds without such current.")]
    diagnosis: Annotated[str, Meta(examples=["ok", "welded", "failed_to_close", "bypassed"])]


class ReportSource(msgspec.Struct):
    """Which report the facts are from: the newest that the meter authenticated."""

    time: Annotated[Moment, Meta(description="The meter's own time.")]
    clock: Annotated[str, Meta(description="Whether the meter knows the time: `set` or `unknown`.")]
    taken: Annotated[Moment, Meta(description="When it arrived here.")]
    boot: int
    counter: int


class Supply(msgspec.Struct):
    """The three facts, never mixed: ordered, intended, physical. The last two are null while no report has come."""

    wanted: Wanted
    intended: Intended | None
    physical: Physical | None
    why_off: Annotated[str | None, Meta(description="Why the customer has no supply, as a sentence; null when on.")]


class Credit(msgspec.Struct):
    """Money, as the meter reported it and as sold here."""

    balance: Annotated[Amount | None, Meta(description="On the meter.")]
    waiting: Annotated[Amount | None, Meta(description="Credited, and held back by the meter's limit.")]
    sold: Annotated[Amount, Meta(description="All that this head end has sold for the meter.")]
    on_meter: Annotated[Amount, Meta(description="Of that, what reports have shown.")]
    in_flight: Annotated[Amount, Meta(description="The difference of the two: paid, and not shown yet.")]


class Reads(msgspec.Struct):
    """How far the interval reads are whole."""

    expected: Annotated[int, Meta(description="Records that the meter said it made.")]
    whole_to: Annotated[int, Meta(description="Up to this one every record is stored, or declared lost by the meter.")]


class Meter(msgspec.Struct):
    """A meter as it stands."""

    meter: MeterNumber
    label: str
    carrier: Literal["mqtt", "modbus"]
    online: Annotated[bool | None, Meta(description="Whether its broker session stands; null on Modbus.")]
    report: ReportSource | None
    supply: Supply
    credit: Credit
    alarms: list[str]
    reads: Reads
    orders_under_way: Annotated[list[OrderBrief], Meta(description="That have not ended, unknown ones first.")]


class MeterDetail(Meter):
    """A meter with what it was set to."""

    address: str
    account_epoch: int
    interval_minutes: int
    added: Moment
    tariff: Annotated[TariffBody, Meta(description="As last ordered.")]
    limits: Annotated[LimitsBody, Meta(description="As last ordered.")]


def meter(one: Facts) -> Meter:
    return Meter(**_fields(one))


def detail(one: Facts) -> MeterDetail:
    return MeterDetail(
        **_fields(one),
        address=one.meter.address,
        account_epoch=one.meter.account_epoch,
        interval_minutes=one.meter.interval_minutes,
        added=wire.moment(one.meter.added_s),
        tariff=tariff_json.write_tariff(one.meter.tariff),
        limits=bodies_json.write_limits(one.meter.limits),
    )


def _fields(one: Facts) -> dict[str, Any]:
    report, state = one.report, one.state
    return {
        "meter": wire.meter_name(one.number),
        "label": one.meter.label,
        "carrier": one.meter.carrier,
        "online": bool(state.online) if one.meter.carrier == "mqtt" else None,
        "report": _source(one, report) if report else None,
        "supply": Supply(
            wanted=_wanted(one),
            intended=_intended(report) if report else None,
            physical=_physical(report) if report else None,
            why_off=sentence(one),
        ),
        "credit": Credit(
            balance=wire.amount(report.balance_uc) if report else None,
            waiting=wire.amount(report.waiting_uc) if report else None,
            sold=wire.amount(state.sold_uc),
            on_meter=wire.amount(state.on_meter_uc),
            in_flight=wire.amount(one.in_flight_uc),
        ),
        "alarms": names.of_bits(names.ALARM, report.alarms) if report else [],
        "reads": Reads(one.reads.interval_newest, one.reads.interval_whole_to),
        "orders_under_way": [orders.brief(row) for row in one.under_way],
    }


def _source(one: Facts, report: Report) -> ReportSource:
    return ReportSource(
        time=wire.moment(report.time_s),
        clock=names.of(names.CLOCK, report.clock),
        taken=wire.moment(one.state.report_taken_s),
        boot=report.boot,
        counter=report.counter,
    )


def _wanted(one: Facts) -> Wanted:
    holds = [
        WantedHold(
            reason=names.of(names.HOLD, row.selector),
            order=row.id,
            state=row.state,
            actor=row.actor,
            note=row.reason_text,
            issued=wire.moment(row.issued_s),
        )
        for row in one.wanted_holds
    ]
    return Wanted("off" if one.wanted_off else "on", holds, one.wanted_protection)


def _intended(report: Report) -> Intended:
    protection = 1 << reasons.HOLD_PROTECTION
    pending: Any = {states.PENDING_TRIP: "trip", states.PENDING_CLOSE: "close"}.get(report.pending)
    control: Any = names.of(names.CONTROL, report.control)
    return Intended(
        control=control,
        holds=names.of_bits(names.HOLD, report.holds & ~protection),
        causes=names.of_bits(names.CAUSE, report.causes),
        protected=bool(report.holds & protection),
        pending=Pending(pending, wire.moment(report.due_s)) if pending else None,
    )


def _physical(report: Report) -> Physical:
    contact: Any = names.of(names.CONTACT, report.contact)
    return Physical(
        contact=contact,
        load_ma=report.load_ma,
        no_load_s=report.no_load_s,
        diagnosis=names.of(names.DIAGNOSIS, report.diagnosis),
    )
