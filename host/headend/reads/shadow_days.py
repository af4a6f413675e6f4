"""Shadow bills day by day: what a meter charged between two of its reports, and what its intervals say that it must
have charged.

A day begins with the first report of a local day of the meter, and ends with the first of a later one: there registers
and charges are known together, to the unit, while at midnight itself nobody asked. The report in which it ends is kept
until the intervals and events before it are there (or `WAIT_S` have passed), then the day is priced. Where intervals
are whole and sure, a difference is a finding; elsewhere it is listed: the books follow the meter in either case.

Days in which the head end priced (remote and postpaid mode) are left out.
"""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import BigInteger, Connection, Integer, Row, and_, bindparam, delete, func, insert, or_, select, update

from headend.access import areas
from headend.epochs import findings
from headend.orders.stored import stored_report
from headend.reads import shadow, shadow_facts
from headend.store import READS, Store
from headend.store.prepared import prepared
from headend.store.schema import meter, meter_state
from headend.store.schema_books import shadow_anchor, shadow_day
from headend.store.schema_readings import meter_reads
from meterlink import calendar, states
from meterlink.billing import Running
from meterlink.reports import Report
from meterlink.shadow import Bill
from meterlink.tariff import decode

WAIT_S = 2 * 86_400  # for records that are missing, before the day is priced without them
BATCH = 50

_anchor, _state, _reads = shadow_anchor.c, meter_state.c, meter_reads.c
_READY = or_(
    _anchor.coming_s <= bindparam("patience", type_=BigInteger),
    and_(_reads.interval_whole_to >= _anchor.need_interval, _reads.event_whole_to >= _anchor.need_event),
)
_DUE = prepared(
    select(
        _state.meter,
        _state.report,
        *[_anchor[name].label(f"anchor_{name}") for name in ("report", "tariff", "step_wh", "coming")],
    )
    .join(meter_reads, _reads.meter == _state.meter)
    .outerjoin(shadow_anchor, _anchor.meter == _state.meter)
    .where(_state.meter > bindparam("behind", type_=BigInteger), _state.report.is_not(None))
    .where(
        or_(
            _anchor.meter.is_(None),
            and_(_anchor.coming.is_(None), _state.report_time_s >= _anchor.next_s),
            and_(_anchor.coming.is_(None), _state.report_time_s < _anchor.from_s),
            and_(_anchor.coming.is_not(None), _READY),
        )
    )
    .order_by(_state.meter)
    .limit(bindparam("most", type_=Integer))
)
_BEGIN = prepared(insert(shadow_anchor))
_END = prepared(delete(shadow_anchor).where(_anchor.meter == bindparam("of")))
_COME = prepared(
    update(shadow_anchor)
    .where(_anchor.meter == bindparam("of"), _anchor.coming.is_(None))
    .values({name: bindparam(f"new_{name}") for name in ("coming", "coming_s", "need_interval", "need_event")})
)
_ROW = prepared(insert(shadow_day))
_THERE = prepared(
    select(shadow_day.c.day).where(
        shadow_day.c.meter == bindparam("of"),
        shadow_day.c.account_epoch == bindparam("epoch"),
        shadow_day.c.day == bindparam("on"),
    )
)
_TOTAL = select(func.count(), func.coalesce(func.sum(func.abs(shadow_day.c.difference_uc)), 0)).select_from(shadow_day)
_TOTAL = _TOTAL.where(shadow_day.c.difference_uc != 0)
_LISTED = (
    select(shadow_day, meter.c.area)
    .join(meter, meter.c.meter == shadow_day.c.meter)
    .where(
        or_(
            shadow_day.c.day > bindparam("after_day"),
            and_(shadow_day.c.day == bindparam("after_day"), shadow_day.c.meter > bindparam("after_meter")),
        )
    )
    .order_by(shadow_day.c.day, shadow_day.c.meter, shadow_day.c.account_epoch)
    .limit(bindparam("most"))
)


class Total(NamedTuple):
    """How many days differ, and by how much in all, each difference counted as positive."""

    days: int
    amount_uc: int


class _Step(NamedTuple):
    """What is to be written of a meter: the day that was priced, the next anchor, or the report that ends a day."""

    meter: int
    day: dict[str, Any] | None = None
    anchor: dict[str, Any] | None = None
    coming: dict[str, Any] | None = None


def follow(store: Store, now_s: int) -> int:
    """Price the days that are ready, begin those that can begin; returns how many meters took a step."""
    steps, behind = follow_some(store, now_s, 0)
    while behind:
        some, behind = follow_some(store, now_s, behind)
        steps += some
    return steps


def follow_some(store: Store, now_s: int, behind: int) -> tuple[int, int]:
    """The same with the next meters above `behind`; (how many took a step, where to go on: 0 at the end)."""
    found, behind = store.read(_steps, now_s, behind)
    made = [step for step in found if step is not None]
    if made:
        store.write(_write, now_s, made, lane=READS).result()
    return len(made), behind


def total_difference(conn: Connection, within: Sequence[str] = (areas.EVERYWHERE,)) -> Total:
    """Over all days that differ, of meters of these areas."""
    query = _TOTAL
    if areas.EVERYWHERE not in within:
        query = query.join(meter, meter.c.meter == shadow_day.c.meter).where(areas.within(meter.c.area, within))
    days, amount_uc = conn.execute(query).one()
    return Total(int(days), int(amount_uc))


def listed(
    conn: Connection,
    after: tuple[str, int] = ("", 0),
    *,
    differing: bool = True,
    within: Sequence[str] = (areas.EVERYWHERE,),
    limit: int = 100,
) -> list[Row[Any]]:
    """Days behind (day, meter), by date and meter, with the meter's `area`; `differing`: those that differ · `within`:
    of meters of these areas.
    """
    query = _LISTED.where(areas.within(meter.c.area, within))
    if differing:
        query = query.where(shadow_day.c.difference_uc != 0)
    day, number = after
    return list(conn.execute(query, {"after_day": day, "after_meter": number, "most": limit}))


def verdict(day: Any) -> Literal["agrees", "not_whole", "not_sure", "differs"]:
    """What a row of `shadow_day` says, a key of `books.words.SHADOW`."""
    if not day.difference_uc:
        return "agrees"
    if not day.whole:
        return "not_whole"
    return "differs" if day.sure else "not_sure"


# --- one meter --------------------------------------------------------------------------------------------------------


def _steps(conn: Connection, now_s: int, behind: int) -> tuple[list[_Step | None], int]:
    due: list[Any] = _DUE(conn, {"behind": behind, "patience": now_s - WAIT_S, "most": BATCH}).all()
    return [_step_of(conn, now_s, row) for row in due], due[-1].meter if len(due) == BATCH else 0


def _step_of(conn: Connection, now_s: int, row: Any) -> _Step | None:
    """The next step of a meter, if there is one."""
    newest, start = stored_report(row.report), stored_report(row.anchor_report)
    assert newest is not None, "only meters that reported are asked for"
    if start is None:
        anchor = _anchor_at(conn, newest, None)
        return None if anchor is None else _Step(row.meter, anchor=anchor)
    coming = stored_report(row.anchor_coming)
    if coming is not None:
        day, known, step_wh = _priced(conn, now_s, start, row.anchor_tariff, row.anchor_step_wh, coming)
        return _Step(row.meter, day=day, anchor=_anchor_at(conn, coming, known, step_wh))
    if not _usable(newest):
        return None
    if newest.time_s < start.time_s:  # the clock went back: what lies between is no day
        return _Step(row.meter, anchor=_anchor_at(conn, newest, None))
    need = {"new_need_interval": newest.interval_newest + 1, "new_need_event": newest.event_newest}
    return _Step(row.meter, coming={"new_coming": newest.raw, "new_coming_s": now_s, **need})


def _usable(report: Report) -> bool:
    """Whether days can begin and end with a report."""
    return report.clock != states.CLOCK_UNKNOWN and not report.alarms >> states.ALARM_HISTORY_LOST & 1


def _anchor_at(conn: Connection, report: Report, body: bytes | None, step_wh: int | None = None) -> Any:
    """The row of `shadow_anchor` for a report; None where a day cannot begin with it, or its tariff is not known."""
    tariff = body or shadow_facts.tariff_at(conn, report)
    if not _usable(report) or tariff is None:
        return None
    plan = decode(tariff)
    if step_wh is None:
        step_wh = shadow.running(conn, report.meter, plan, report).step_wh
    return {
        "meter": report.meter,
        "report": report.raw,
        "tariff": tariff,
        "step_wh": step_wh,
        "from_s": report.time_s,
        "next_s": plan.next_day_s(report.time_s),
    }


def _priced(
    conn: Connection, now_s: int, start: Report, tariff: bytes, step_wh: int, end: Report
) -> tuple[dict[str, Any] | None, bytes | None, int | None]:
    """(row of `shadow_day`, the tariff then in force, what its steps have come to); None for what is not known."""
    if start.account_epoch != end.account_epoch:  # the account's last day ends with its closing statement
        closed = shadow_facts.closing_statement(conn, start)
        last = _priced(conn, now_s, start, tariff, step_wh, closed)[0] if closed is not None else None
        return last, None, None
    if states.MODE_LOCAL != start.mode or states.MODE_LOCAL != end.mode:
        return None, None, None
    facts = shadow_facts.between(conn, start, end)
    if facts.other_mode:
        return None, None, None
    plan = decode(tariff)
    counted = Running()
    counted.period, counted.day, counted.step_wh = plan.period(start.time_s), plan.day(start.time_s), step_wh
    bill = Bill(plan, start.remainder, running=counted)
    covered_wh = 0
    switches = list(facts.tariffs)
    for row in facts.intervals:
        while switches and switches[0].at_s <= row.start_s:
            tariff = _switch(bill, switches.pop(0))
        from_wh = max(start.import_wh, row.import_reg_wh - row.import_wh)
        used_wh = min(end.import_wh, row.import_reg_wh) - from_wh
        if used_wh > 0:
            bill.add(row.start_s, used_wh, clock_known=not shadow_facts.is_untimed(row))
            covered_wh += used_wh
    for switch in switches:
        tariff = _switch(bill, switch)
    bill.turn(end.time_s)
    used_wh = end.import_wh - start.import_wh
    whole = covered_wh == used_wh and not facts.unknown_tariff
    meter_uc = end.charged_uc - start.charged_uc
    collected_uc = facts.collected_uc(meter_uc - bill.charged_uc)
    day = {
        "meter": start.meter,
        "account_epoch": start.account_epoch,
        "day": _date(bill.plan.day(start.time_s)),
        "from_s": start.time_s,
        "to_s": end.time_s,
        "used_wh": used_wh,
        "missing_wh": used_wh - covered_wh,
        "shadow_uc": bill.charged_uc,
        "standing_uc": bill.standing_uc,
        "meter_uc": meter_uc,
        "collected_uc": collected_uc,
        "difference_uc": meter_uc - collected_uc - bill.charged_uc,
        "whole": int(whole),
        "sure": int(facts.sure),
        "made_s": now_s,
    }
    known = whole and facts.sure
    return day, None if facts.unknown_tariff else tariff, bill.running.step_wh if known else None


def _switch(bill: Bill, switch: shadow_facts.Switch) -> bytes:
    bill.switch(decode(switch.body), switch.at_s)
    return switch.body


def _date(day: int) -> str:
    return "{:04d}-{:02d}-{:02d}".format(*calendar.date_of(day))


def _write(conn: Connection, now_s: int, steps: list[_Step]) -> None:
    for step in steps:
        if step.coming is not None:
            _COME(conn, {"of": step.meter, **step.coming})
            continue
        _END(conn, {"of": step.meter})
        if step.anchor is not None:
            _BEGIN(conn, step.anchor)
        if step.day is not None:
            _keep(conn, now_s, step.day)


def _keep(conn: Connection, now_s: int, day: dict[str, Any]) -> None:
    """Keep a day, and have a person look where nothing excuses its difference. One that is there stays as it is."""
    key = {"of": day["meter"], "epoch": day["account_epoch"], "on": day["day"]}
    if _THERE(conn, key).all():
        return
    _ROW(conn, day)
    if day["difference_uc"] and day["whole"] and day["sure"]:
        text = f"{day['day']}: charged {day['meter_uc'] - day['collected_uc']}, by intervals {day['shadow_uc']}."
        findings.note_each(conn, now_s, day["meter"], findings.SHADOW_DIFFERENCE, text, day["difference_uc"])
