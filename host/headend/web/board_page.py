"""The board of meters: what wants attention, then every meter, then the orders that are under way."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated, Any

from msgspec import Meta
from sqlalchemy import Connection

from headend import language as texts
from headend.orders.facts import Facts
from headend.web import board, wire, words
from headend.web.board import Board
from headend.web.page import Page, PageQuery, View
from meterlink import names, states, tariff
from meterlink.reports import Report

_AGES = (("ago_d", 86_400), ("ago_h", 3600), ("ago_min", 60), ("ago_s", 1))


class BoardQuery(PageQuery):
    """Which meters."""

    after: Annotated[int, Meta(ge=0, le=10**15)] = 0


def _read(conn: Connection, view: View[BoardQuery]) -> dict[str, Any]:
    desk, after = view.desk, view.query.after
    shown = board.read(conn, view.now_s, desk.report_every_s, after, view.areas)
    return {
        "board": shown,
        "labels": {line.facts.number: line.facts.meter.label for line in shown.lines},
        "paged": bool(after or shown.next_after),
        "currency": words.currency(desk.currency),
        **_tools(shown, view.language),
    }


def _tools(shown: Board, language: str) -> dict[str, Any]:
    """What the template calls to put codes, times and amounts into words."""

    def named(table: Any, codes: Any) -> Callable[[int], str]:
        return lambda code: texts.name(table, names.of(codes, code), language)

    hold = named(words.HOLDS, names.HOLD)
    return {
        "money": board.money,
        "exact": wire.amount,
        "amperes": lambda load_ma: f"{load_ma / 1000:.2f}",
        "local": _local,
        "ago": lambda at_s: _ago(shown.now_s - at_s, language),
        "tone": board.tone,
        "subject": lambda row: board.subject(row, language),
        "state_name": lambda state: texts.name(words.STATES, state, language),
        "alarm_name": lambda alarm: texts.name(words.ALARMS, alarm, language),
        "control_name": named(words.CONTROLS, names.CONTROL),
        "contact_name": named(words.CONTACTS, names.CONTACT),
        "diagnosis_name": named(words.DIAGNOSES, names.DIAGNOSIS),
        "hold_name": lambda row: hold(row.selector),
        "meter_holds": lambda report: [hold(bit) for bit in range(32) if report.holds >> bit & 1],
        "causes": lambda report: [
            texts.name(words.CAUSES, cause, language) for cause in names.of_bits(names.CAUSE, report.causes)
        ],
        "pending": lambda report: _pending(report, language),
    }


def _local(one: Facts, at_s: int) -> str:
    """The meter's own wall clock, with its distance from UTC."""
    offset = timedelta(seconds=tariff.decode(one.meter.tariff).offset_s(at_s))
    shown = datetime.fromtimestamp(at_s, UTC).astimezone(timezone(offset))
    return shown.strftime("%Y-%m-%d %H:%M:%S ") + (shown.strftime("%z")[:3] + ":" + shown.strftime("%z")[3:])


def _ago(age_s: int, language: str) -> str:
    key, unit_s = next((age for age in _AGES if age_s >= 2 * age[1]), _AGES[-1])
    return texts.say(words.PAGE[key], language, n=max(0, math.floor(age_s / unit_s)))


def _pending(report: Report, language: str) -> str:
    key = {states.PENDING_TRIP: "trip_due", states.PENDING_CLOSE: "close_due"}.get(report.pending)
    return texts.say(words.PAGE[key], language, time=wire.utc(report.due_s)) if key else ""


PAGE = Page("/", ("Board of meters", "电表总览"), "board.html", BoardQuery, _read, words.PAGE, refresh_s=10)
