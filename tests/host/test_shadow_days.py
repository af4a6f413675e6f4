"""Shadow bills day by day, with the firmware itself: the meter's charge to the unit where its intervals are whole and
sure, a listed difference elsewhere."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, update

from headend.epochs import findings
from headend.keys.keystore import KeyStore
from headend.ledger import payments
from headend.orders import statements, terms
from headend.orders.stored import stored_report
from headend.reads import series, shadow_days
from headend.store import Store
from headend.store.schema import closing, meter, meter_event, meter_state
from headend.store.schema_books import shadow_anchor, shadow_day
from headend.store.schema_readings import meter_reads
from meterlink import bodies, calendar, events, states, topics
from meterlink.reports import FIELDS
from meterlink.tariff import PER_DAY, PER_MONTH, Tariff
from tests.host import readings
from tests.host.books import CHANNEL, METER, NOW_S, report
from tests.host.books_rig import establish
from tests.host.core_rig import Pair
from tests.host.peer import Noise

DAY_S = 86_400
STRIDE_S = 1800
OFFSET_MINUTES = 480
FEBRUARY_S = calendar.day_of(2027, 2, 1) * DAY_S - OFFSET_MINUTES * 60
DAY_UC, MONTH_UC = 123_457, 2_000_001
STEP_WH = 30_000
PRICES = (400_001, 700_003, 900_007, 1_100_009)  # two rates, then as many above the step
LATER_PRICES = (410_003, 710_011, 910_019, 1_110_021)
SLOTS = ((0, 0), (28, 1), (88, 0))
CHARGES = ((PER_DAY, DAY_UC), (PER_MONTH, MONTH_UC))


def plan(prices: tuple[int, ...] = PRICES, activate_s: int = 0) -> Tariff:
    return Tariff(prices, SLOTS, OFFSET_MINUTES // 15, activate_s=activate_s, steps_wh=(STEP_WH,), charges=CHARGES)


class Days(Pair):
    """A pair with that tariff, credit to live on, and the chore that prices its days."""

    def __init__(self) -> None:
        super().__init__()
        self.store.write(lambda conn: conn.execute(update(meter).values(tariff=plan().encode()))).result()
        self.looked_s = 0
        self.write(payments.take, CHANNEL, "p", METER, 900_000_000)
        self.go(900)

    def record(self, **others: Any) -> bytes:
        return super().record(tariff=plan().encode(), **others)

    def go(self, seconds: int) -> None:
        """Let time pass, and the chore look once an hour."""
        ends_s = self.clock.now_s() + seconds
        while (left_s := ends_s - self.clock.now_s()) > 0:
            stride_s = min(STRIDE_S, left_s)
            self.clock.advance(stride_s)
            self.unit.run(stride_s, 300)
            self._listen()
            for action in self.engine.due(self.clock.now_s()):
                self._carry(action)
            if self.clock.now_s() - self.looked_s >= 3600:
                self.looked_s = self.clock.now_s()
                shadow_days.follow(self.store, self.looked_s)

    def go_to(self, at_s: int) -> None:
        self.go(at_s - self.clock.now_s())

    def sleep_to(self, at_s: int) -> None:
        """Let days pass of which nothing is asked."""
        seconds = at_s - self.clock.now_s()
        self.clock.advance(seconds)
        self.unit.run(seconds, 900)

    def priced(self) -> list[Any]:
        query = select(shadow_day).order_by(shadow_day.c.from_s)
        return self.store.read(lambda conn: list(conn.execute(query)))

    def found(self) -> list[Any]:
        return self.store.read(lambda conn: findings.standing(conn, METER))


@pytest.fixture
def days() -> Iterator[Days]:
    with Days() as pair:
        yield pair


def agrees(row: Any) -> bool:
    return (row.difference_uc, row.whole, row.sure, row.missing_wh) == (0, 1, 1, 0)


# --- whole and sure ---------------------------------------------------------------------------------------------------


def bill(rows: list[Any], from_s: int, to_s: int, switch_s: int, used_wh: int) -> Fraction:
    """What those intervals cost and the charges for time, by fractions and dates alone."""
    total = Fraction(0)
    month = None
    for row in rows:
        local_s = row.start_s + OFFSET_MINUTES * 60
        date = calendar.date_of(local_s // DAY_S)
        month, used_wh = date[1], 0 if date[1] != month and month is not None else used_wh
        rate = 1 if 28 <= local_s % DAY_S // 900 < 88 else 0
        prices = LATER_PRICES if row.start_s >= switch_s else PRICES
        for _ in range(row.import_wh):
            total += Fraction(prices[rate + (2 if used_wh >= STEP_WH else 0)], 1000)
            used_wh += 1
    first, last = ((at_s + OFFSET_MINUTES * 60) // DAY_S for at_s in (from_s, to_s))
    for day in range(first + 1, last + 1):
        total += DAY_UC + (MONTH_UC if calendar.date_of(day)[2] == 1 else 0)
    return total


def test_days_with_steps_a_month_end_a_tariff_and_an_outage_agree_to_the_unit(days: Days) -> None:
    days.sleep_to(FEBRUARY_S - 2 * DAY_S + 3600)
    days.go(3600)
    switch_s = FEBRUARY_S + DAY_S + 11 * 3600
    days.write(statements.set_tariff, METER, plan(LATER_PRICES, switch_s), "test")
    days.go_to(FEBRUARY_S - 7200)
    days.outage()
    days.go_to(FEBRUARY_S + DAY_S - 3600)
    days.unit.power_cycle(7200)  # over a midnight
    days.clock.advance(7200)
    days.exchange = type(days.exchange)(days.unit.meter, 90_000)
    days.up(topics.UP_STATE, days.exchange.birth())
    days.go_to(FEBRUARY_S + 3 * DAY_S + 7200)
    rows = days.priced()
    assert [row.day for row in rows] == [
        "2027-01-15",
        *(f"2027-01-{n}" for n in (30, 31)),
        *(f"2027-02-0{n}" for n in (1, 2, 3)),
    ]
    for row in rows:  # the first lasted until somebody asked again, two weeks later
        assert agrees(row), row
    assert not days.found()
    within = [row for row in rows if row.day >= "2027-01-31"]
    assert [row.standing_uc for row in within] == [DAY_UC + MONTH_UC, DAY_UC, DAY_UC, DAY_UC]
    first, last = rows[0], rows[-1]
    counted = days.store.read(series.between, METER, 0, last.to_s)
    whole = bill(counted, first.from_s, last.to_s, switch_s, 0)
    # Apart from what was used in the intervals in which the first report and the last one came.
    edges = Fraction(2 * 200 * max(LATER_PRICES), 1000)
    assert abs(sum(row.shadow_uc for row in rows) - whole) < edges
    assert days.store.read(shadow_days.total_difference) == (0, 0)


def test_debts_that_the_meter_collects_are_told_apart(days: Days) -> None:
    stated = bodies.DebtTerms(5_000_000, 0, bodies.DEBT_TIMED, 0, 250_000, bodies.PERIOD_DAY, 0, 0)
    days.write(terms.set_debt, METER, 1, stated, "test")
    days.go(2 * DAY_S)
    rows = days.priced()
    assert [row.collected_uc for row in rows] == [250_000] * len(rows) and rows
    assert all(agrees(row) for row in rows)
    assert rows[-1].meter_uc == rows[-1].shadow_uc + 250_000


# --- elsewhere --------------------------------------------------------------------------------------------------------


def test_a_gap_is_listed_and_nobody_is_called(days: Days) -> None:
    days.go(DAY_S)
    seq = max(one.seq for one in days.store.read(series.every, METER) if one.import_wh)
    days.store.write(readings.forget, METER, (seq, seq - 1)).result()
    days.go(DAY_S)
    assert len(days.priced()) == 2
    row = next(row for row in days.priced() if row.missing_wh)
    assert (row.whole, row.sure) == (0, 1)
    assert row.difference_uc >= row.missing_wh * 400 > 0
    assert not days.found()
    total = days.store.read(shadow_days.total_difference)
    assert total == (1, row.difference_uc)
    assert [row.day for row in days.store.read(shadow_days.listed)] == [row.day]


def test_a_clock_in_doubt_is_listed_as_unsure(days: Days) -> None:
    days.go(4 * 3600)
    days.unit.board.stop_clock()
    days.outage()
    days.go(2 * 3600)
    told = days.store.read(lambda conn: stored_report(conn.execute(select(meter_state.c.report)).scalar_one()))
    assert told is not None and told.clock == states.CLOCK_UNKNOWN
    days.write(statements.set_clock, METER, "test", nonce=told.fresh)
    days.run(30)
    days.go(DAY_S)
    assert [(row.whole, row.sure) for row in days.priced()] == [(1, 0)]
    assert not days.found()


def test_a_charge_that_whole_and_sure_intervals_do_not_tell_is_a_finding(days: Days) -> None:
    days.go(DAY_S)
    days.unit.meter.account.charge_uc(1)  # a meter that charges one unit too much
    days.go(DAY_S)
    row = next(row for row in days.priced() if row.difference_uc)
    assert (row.difference_uc, row.whole, row.sure) == (1, 1, 1)
    assert [(one.kind, one.amount_uc) for one in days.found()] == [(findings.SHADOW_DIFFERENCE, 1)]


def test_records_that_do_not_come_hold_a_day_up_for_two_days(days: Days) -> None:
    days.heard = lambda what: what != topics.UP_INTERVALS
    days.go(DAY_S)
    assert not days.priced()
    shadow_days.follow(days.store, days.clock.now_s() + shadow_days.WAIT_S)
    (row,) = days.priced()
    assert (row.whole, row.missing_wh > row.used_wh - 200) == (0, True)
    assert not days.found()


def test_a_day_begins_only_where_the_tariff_is_known(days: Days) -> None:
    days.store.write(lambda conn: conn.execute(delete(shadow_anchor))).result()
    switch_s = NOW_S + 3 * 3600
    days.write(statements.set_tariff, METER, plan(LATER_PRICES, switch_s), "test")
    shadow_days.follow(days.store, days.clock.now_s())
    assert days.store.read(lambda conn: conn.execute(select(shadow_anchor)).all()) == []
    days.go_to(switch_s + 2 * 3600)  # until the chore has looked behind a report that tells of it
    told = select(meter_event.c.argument).where(meter_event.c.code == events.TARIFF_SWITCHED)
    assert days.store.read(lambda conn: len(conn.execute(told).all())) == 1
    (anchor,) = days.store.read(lambda conn: conn.execute(select(shadow_anchor)).all())
    assert anchor.tariff == plan(LATER_PRICES, switch_s).encode()


# --- on each kind of database -----------------------------------------------------------------------------------------

KEYS = KeyStore.generate(Noise())
FLAT_UC = 530_000  # the tariff of `books.record`, for a kilowatt-hour


def told(store: Store, day: int, **fields: Any) -> None:
    """A report at noon of a day, with the records that it speaks of."""
    values = {"time_s": NOW_S - NOW_S % DAY_S + day * DAY_S + DAY_S // 2, "clock": states.CLOCK_SET, "log_id": 3}
    made = report(KEYS, **{**values, "counter": day + 1, "interval_newest": day, **fields})
    facts = {"report": made.raw, "report_time_s": made.time_s}
    row = {"seq": day, "start_s": made.time_s - DAY_S, "import_wh": 1000}
    row |= {"import_reg_wh": made.import_wh, "export_reg_wh": 0, "export_wh": 0, "minutes": 60, "flags": 0}

    def write(conn: Connection) -> None:
        conn.execute(update(meter_state).values(**facts))
        conn.execute(update(meter_reads).values(interval_whole_to=day + 1, log_id=3))
        if day:
            readings.put(conn, made.time_s, METER, 3, [row])

    store.write(write).result()
    for _ in range(2):  # once it ends a day, and then that is priced
        shadow_days.follow(store, made.time_s)


def test_days_are_priced_on_each_kind_of_database(any_store: Store) -> None:
    establish(any_store)
    for day in range(4):
        told(any_store, day, import_wh=day * 1000, charged_uc=day * FLAT_UC + (5 if day > 2 else 0))
    rows = any_store.read(lambda conn: shadow_days.listed(conn, differing=False))
    assert [(row.shadow_uc, row.meter_uc, row.difference_uc, row.whole) for row in rows] == [
        (FLAT_UC, FLAT_UC, 0, 1),
        (FLAT_UC, FLAT_UC, 0, 1),
        (FLAT_UC, FLAT_UC + 5, 5, 1),
    ]
    assert any_store.read(shadow_days.total_difference) == (1, 5)
    (found,) = any_store.read(findings.standing)
    assert (found.kind, found.amount_uc) == (findings.SHADOW_DIFFERENCE, 5)


def test_an_account_ends_with_its_closing_statement(any_store: Store) -> None:
    establish(any_store)
    told(any_store, 0)
    told(any_store, 1, import_wh=1000, charged_uc=FLAT_UC)
    last = report(KEYS, kind=5, time_s=NOW_S + 2 * DAY_S, import_wh=1700, charged_uc=FLAT_UC + 371_000, log_id=3)
    last = report(KEYS, **{name: getattr(last, name) for name, _ in FIELDS} | {"interval_newest": 2})
    row = {"meter": METER, "account_epoch": 1, "statement": last.raw, "provisional": 0, "closed_s": last.time_s}
    row |= {"import_wh": 1700, "export_wh": 0, "balance_uc": 0, "credited_uc": 0, "charged_uc": last.charged_uc}
    row |= {"cause": "tenant", "moved_to": "former:x", "taken_s": NOW_S}
    any_store.write(lambda conn: conn.execute(insert(closing).values(row))).result()
    told(any_store, 2, account_epoch=2, import_wh=2000, charged_uc=159_000)
    told(any_store, 3, account_epoch=2, import_wh=3000, charged_uc=159_000 + FLAT_UC)
    rows = any_store.read(lambda conn: shadow_days.listed(conn, differing=False))
    assert [(row.account_epoch, row.used_wh, row.difference_uc, row.whole) for row in rows] == [
        (1, 1000, 0, 1),
        (1, 700, 0, 1),
        (2, 1000, 0, 1),
    ]
