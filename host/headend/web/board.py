"""The board of meters: what stands out first, then every meter, then the orders that are under way.

A concern is a state that wants a person; each has a code, a sentence and a place in the order of `words.CONCERNS`, the
worst first.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, func, select

from headend.access import areas
from headend.access.areas import EVERYWHERE
from headend.epochs import findings
from headend.language import LANGUAGES, name, say
from headend.ledger import reconcile
from headend.orders import facts, lifecycle, writing
from headend.orders.facts import UNDER_WAY, Facts
from headend.orders.why import sentence
from headend.store.schema import meter, order
from headend.tokens import book
from headend.web import wire
from headend.web.words import ASPECTS, CONCERNS, FINDINGS, HOLDS
from meterlink import names, states
from meterlink.orders import ASPECT_ROLE, ROLE_ROOT

METERS = 200  # on one page
ORDERS = 50
SHOWN = 5  # concerns of one kind in full
LATE_CREDIT_S = 900  # a payment that no report has shown by then wants a look
LATE_TOKEN_S = 120  # a token that was sold and is not made by then wants a look
SETTLING_S = 300  # how long a payment or a release may take to bring supply back before it wants a look
LATE_SIGNATURE_S = 120  # an order that nobody has signed by then wants a look
STUCK_S = 1800  # an order that is held and whose wanted state is not proved by then
GAP_RECORDS = 8  # fewer than these are being fetched
FRESH_ROUNDS = 2  # a meter that missed this many reports in a row is silent

_GIVING = (writing.WANTS_ON, writing.WANTS_PERMIT, writing.WANTS_CREDIT)

_KEYS = {True: ("the root key", "根密钥"), False: ("the signer", "签名服务")}  # by whether only root may state it

# Concerns that mean that something is wrong now; the others want a look.
_WORST = ("drawing", "not_open", "paid_off", "unknown", "conflict", "difference", "finding")

CONCERN_RANK = {code: rank for rank, code in enumerate(CONCERNS)}


@dataclass(frozen=True)
class Concern:
    """Something about a meter that wants a person; `fields` fill its sentence, a text in both languages among them."""

    code: str
    number: int
    fields: dict[str, Any]

    def sentence(self, language: str) -> str:
        place = LANGUAGES.index(language)
        fields = {key: value[place] if isinstance(value, tuple) else value for key, value in self.fields.items()}
        return say(CONCERNS[self.code][1], language, **fields)

    def title(self, language: str) -> str:
        return say(CONCERNS[self.code][0], language)


@dataclass(frozen=True)
class Group:
    """All concerns of one code: `shown` in full, of the `others` the meters alone."""

    code: str
    shown: tuple[Concern, ...]
    others: tuple[Concern, ...]


@dataclass(frozen=True)
class Line:
    """One meter on the board."""

    facts: Facts
    concerns: tuple[Concern, ...]

    @property
    def rank(self) -> tuple[int, int]:
        worst = min((CONCERN_RANK[concern.code] for concern in self.concerns), default=len(CONCERN_RANK))
        return worst, self.facts.number

    @property
    def number(self) -> str:
        return wire.meter_name(self.facts.number)

    @property
    def alarms(self) -> list[str]:
        found = names.of_bits(names.ALARM, self.facts.report.alarms) if self.facts.report else []
        return [alarm for alarm in found if alarm != "low_credit" or "low_credit_2" not in found]

    def why(self, language: str) -> str | None:
        return sentence(self.facts, language)


@dataclass(frozen=True)
class Board:
    """One page of it, at one moment of the database."""

    now_s: int
    lines: tuple[Line, ...]  # the worst first
    concerns: tuple[Concern, ...]
    under_way: tuple[Row[Any], ...]  # of the whole fleet, unknown ones first
    meters: int  # in the fleet
    unknown: int  # orders in the fleet
    orders: int  # under way in the fleet
    next_after: int | None

    @property
    def groups(self) -> list[Group]:
        """The concerns by code, the worst first; a code that many meters share does not hide the others."""
        found = []
        for code in CONCERNS:
            mine = tuple(concern for concern in self.concerns if concern.code == code)
            if mine:
                found.append(Group(code, mine[:SHOWN], mine[SHOWN:]))
        return found

    @property
    def closed(self) -> int:
        """Meters of this page whose contact was closed at their last report."""
        return sum(line.facts.open is False for line in self.lines)

    @property
    def open(self) -> int:
        return sum(line.facts.open is True for line in self.lines)


def read(conn: Connection, now_s: int, report_every_s: int, after: int, within: Sequence[str] = (EVERYWHERE,)) -> Board:
    """The page of meters with numbers above `after`, of the fleet as far as it lies in the areas `within`."""
    found = facts.of_fleet(conn, after, METERS, within)
    here = areas.within(meter.c.area, within)
    of_meters = order.join(meter, meter.c.meter == order.c.meter)
    lines = sorted((_line(conn, now_s, report_every_s, one) for one in found), key=lambda line: line.rank)
    concerns = sorted(
        (concern for line in lines for concern in line.concerns),
        key=lambda concern: (CONCERN_RANK[concern.code], concern.number),
    )
    by_state: dict[str, int] = dict(
        conn.execute(
            select(order.c.state, func.count())
            .select_from(of_meters)
            .where(order.c.state.in_(UNDER_WAY), here)
            .group_by(order.c.state)
        ).all()
    )
    under_way = select(order).select_from(of_meters).where(order.c.state.in_(UNDER_WAY), here)
    first = under_way.order_by(order.c.state != lifecycle.UNKNOWN, order.c.issued_s, order.c.id).limit(ORDERS)
    return Board(
        now_s=now_s,
        lines=tuple(lines),
        concerns=tuple(concerns),
        under_way=tuple(conn.execute(first).all()),
        meters=conn.execute(select(func.count()).select_from(meter).where(here)).scalar_one(),
        unknown=by_state.get(lifecycle.UNKNOWN, 0),
        orders=sum(by_state.values()),
        next_after=found[-1].number if len(found) == METERS else None,
    )


def tone(code: str) -> str:
    """How loud a concern is shown."""
    return "bad" if code in _WORST else "warn"


def subject(row: Row[Any], language: str) -> str:
    """What an order is about, in words."""
    aspect = names.of(names.ASPECT, row.aspect)
    text = name(ASPECTS, aspect, language)
    if aspect == "supply":
        hold = name(HOLDS, names.of(names.HOLD, row.selector), language)
        return f"{text} · {hold}"
    return f"{text} · {money(row.total_uc)}" if aspect == "credit" else text


def money(amount_uc: int) -> str:
    """Two decimals for a screen, never more than there is; groups of three, and a real minus."""
    cents = amount_uc // (wire.UC // 100)
    whole, rest = divmod(abs(cents), 100)
    return f"{'−' if cents < 0 else ''}{whole:,}.{rest:02d}".replace(",", "\u202f")


def concerns_of(conn: Connection, now_s: int, report_every_s: int, one: Facts) -> tuple[Concern, ...]:
    """What of one meter wants a person, the worst first."""
    found = [Concern(code, one.number, fields) for code, fields in _concerns(conn, now_s, report_every_s, one)]
    return tuple(sorted(found, key=lambda concern: CONCERN_RANK[concern.code]))


def _line(conn: Connection, now_s: int, report_every_s: int, one: Facts) -> Line:
    return Line(one, concerns_of(conn, now_s, report_every_s, one))


def _concerns(conn: Connection, now_s: int, report_every_s: int, one: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from _of_orders(now_s, one)
    yield from _of_supply(now_s, one)
    yield from _of_money(conn, now_s, one)
    heard_s = one.state.report_taken_s or one.meter.added_s
    if now_s - heard_s > FRESH_ROUNDS * report_every_s:
        yield "silent" if one.report else "never", {"time": _time(heard_s)}
    behind = one.reads.interval_newest - one.reads.interval_whole_to
    if behind > GAP_RECORDS:
        yield "reads_behind", {"behind": behind}
    if one.report and one.report.alarms & (1 << states.ALARM_STORAGE | 1 << states.ALARM_HISTORY_LOST):
        yield "storage", {}
    for row in findings.standing(conn, one.number):
        if row.kind != findings.LEDGER_DIFFERENCE:  # that is `difference`, with what it is now
            yield "finding", {"kind": FINDINGS[row.kind], "note": row.note}


def _of_orders(now_s: int, one: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    for row in one.under_way:
        if row.state == lifecycle.UNKNOWN:
            yield "unknown", {"order": row.id, "time": _time(row.issued_s)}
        elif row.state == lifecycle.QUEUED and row.signed is None and now_s - row.issued_s > LATE_SIGNATURE_S:
            key = _KEYS[ASPECT_ROLE[row.aspect] == ROLE_ROOT]
            yield "unsigned", {"order": row.id, "time": _time(row.issued_s), "key": key}
        elif row.state == lifecycle.ACCEPTED and now_s - row.changed_s > STUCK_S:
            yield "not_done", {"order": row.id, "time": _time(row.issued_s)}
    for row in one.failed:
        yield "conflict", {"order": row.id, "time": _time(row.issued_s)}


def _of_supply(now_s: int, one: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    report = one.report
    if report is None:
        return
    if one.open and (report.load_ma or report.diagnosis == states.DIAGNOSIS_BYPASSED):
        yield "drawing", {"load_ma": report.load_ma}
    elif one.open is False and report.control != states.CONTROL_CONNECTED:
        yield "not_open", {"load_ma": report.load_ma}
    if report.diagnosis == states.DIAGNOSIS_FAILED_TO_CLOSE:
        yield "not_closed", {}
    if one.open and not one.wanted_off and _paid(one):
        waits = report.control == states.CONTROL_READY or report.pending == states.PENDING_CLOSE
        if (not waits or one.in_flight_uc > 0) and not _settling(now_s, one):
            amount_uc = one.in_flight_uc if one.in_flight_uc > 0 else report.balance_uc
            yield "paid_off", {"amount": money(amount_uc)}


def _paid(one: Facts) -> bool:
    return one.in_flight_uc > 0 or (one.report is not None and one.report.balance_uc > 0)


def _settling(now_s: int, one: Facts) -> bool:
    """Whether what should bring supply back was stated only a moment ago."""
    since = [row.issued_s for row in one.under_way if row.wants in _GIVING]
    return any(now_s - issued_s <= SETTLING_S for issued_s in since)


def _of_money(conn: Connection, now_s: int, one: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    if one.unpaid_since_s is not None and now_s - one.unpaid_since_s > LATE_CREDIT_S:
        yield "late_credit", {"amount": money(one.in_flight_uc), "time": _time(one.unpaid_since_s)}
    yield from _of_tokens(conn, now_s, one)
    if one.report is None:
        return
    explained = reconcile.explain(conn, one.number)
    if explained.difference_uc and explained.source_shown:
        yield "difference", {"amount": wire.amount(explained.difference_uc)}


def _of_tokens(conn: Connection, now_s: int, one: Facts) -> Iterator[tuple[str, dict[str, Any]]]:
    waiting = book.of_meter(conn, one.number, states=(book.RESERVED,))
    if waiting and now_s - waiting[-1].issued_s > LATE_TOKEN_S:
        amount_uc = sum(row.amount_uc for row in waiting)
        yield "token_waits", {"amount": money(amount_uc), "time": _time(waiting[-1].issued_s)}


def _time(at_s: int) -> str:
    return wire.utc(at_s)[:16].replace("T", " ") + " UTC"
