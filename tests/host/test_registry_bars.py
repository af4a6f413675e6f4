"""What forbids a stop: exclusions with their evidence and end, and the calendar in the utility's own time."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import exc, select, update

from headend.language import CHINESE, ENGLISH, say
from headend.ledger import payments
from headend.orders import lifecycle, statements
from headend.refusals import Refused
from headend.registry import Bar, areas, bars, calendar, exclusions, kinds, rules, words
from headend.registry.evidence import Evidence
from headend.registry.rules import QUARTER_S, Rule
from headend.store import CommitFailed, Store
from headend.store.schema import meter, order
from headend.store.schema_audit import audit
from headend.store.schema_registry import exclusion, exclusion_event
from meterlink import bodies, reasons
from meterlink.orders import ASPECT_SUPPLY
from tests.host.books import CHANNEL, METER, NOW_S, open_books

CLERK = "user:clerk"
FILE = Evidence("file 7/2026", bytes(range(32)))
DAY_S = 86_400
SHANGHAI = "Asia/Shanghai"


@pytest.fixture
def store() -> Iterator[Store]:
    with open_books() as opened:
        yield opened


@pytest.fixture(scope="module")
def untouched() -> Iterator[Store]:
    """For what changes nothing."""
    with open_books() as opened:
        yield opened


def put(store: Store, kind: str, now_s: int = NOW_S, **options: Any) -> int:
    if kinds.KINDS[kind].end == kinds.MUST:
        options.setdefault("until_s", now_s + 30 * DAY_S)
    return store.write(lambda conn: exclusions.put(conn, now_s, METER, kind, CLERK, FILE, **options)).result()


def asked(store: Store, reason: int, now_s: int = NOW_S) -> list[Bar]:
    return store.read(bars, now_s, METER, reason)


def orders(store: Store) -> list[tuple[int, str, str]]:
    """(reason, hold or release, state) of supply orders, oldest first."""

    def read(conn: Any) -> list[tuple[int, str, str]]:
        rows = conn.execute(select(order).where(order.c.aspect == ASPECT_SUPPLY).order_by(order.c.id))
        told = {bodies.HOLD: "hold", bodies.RELEASE: "release"}
        return [(row.selector, told[bodies.decode_supply(row.body)[0]], row.state) for row in rows]

    return store.read(read)


def stand_at(store: Store, order_id: int, *events: str) -> None:
    for event in events:
        store.write(lifecycle.move, NOW_S, order_id, event).result()


# --- exclusions -------------------------------------------------------------------------------------------------------


def test_nothing_forbids_what_nobody_registered(store: Store) -> None:
    assert [asked(store, reason) for reason in range(1, 9)] == [[]] * 8


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_each_kind_forbids_its_reasons_and_no_other(store: Store, kind: str) -> None:
    made = put(store, kind)
    for reason in range(reasons.HOLD_ARREARS, reasons.HOLD_PROTECTION + 1):
        found = asked(store, reason)
        assert bool(found) == kinds.KINDS[kind].forbids(reason), reason
        assert all(bar.exclusion_id == made for bar in found)
        for bar in found:
            sentences = [say(bar.text, language, **bar.fields) for language in (ENGLISH, CHINESE)]
            assert all(str(made) in sentence and "{" not in sentence for sentence in sentences)


def test_nothing_forbids_a_hold_for_safety(store: Store) -> None:
    for kind in kinds.KINDS:
        put(store, kind)
    everywhere = (Rule("always", "永远", reasons=(1, 2, 3, 4, 5, 6)),)
    store.write(calendar.put, NOW_S, 0, SHANGHAI, everywhere, CLERK, "all").result()
    assert asked(store, reasons.HOLD_SAFETY) == []
    assert asked(store, reasons.HOLD_ARREARS) != []


def test_an_end_in_advance_ends_it(store: Store) -> None:
    put(store, "direct_debit", until_s=NOW_S + 10)
    assert asked(store, reasons.HOLD_ARREARS, NOW_S + 9)[0].until_s == NOW_S + 10
    assert asked(store, reasons.HOLD_ARREARS, NOW_S + 10) == []
    put(store, "direct_debit", now_s=NOW_S + 10)  # one that is over does not stand in the way
    assert asked(store, reasons.HOLD_ARREARS, NOW_S + DAY_S)


def test_what_is_of_an_account_ends_with_it(store: Store) -> None:
    put(store, "vip")
    put(store, "many_households")
    store.write(lambda conn: conn.execute(update(meter).values(account_epoch=2))).result()
    assert [bar.rule for bar in asked(store, reasons.HOLD_ARREARS)] == ["evidence.authority", "evidence.site_notice"]
    put(store, "vip")
    assert "exclusion.vip" in [bar.rule for bar in asked(store, reasons.HOLD_ARREARS)]


def test_many_households_pass_with_evidence_that_is_old_enough_and_not_too_old(store: Store) -> None:
    made = put(store, "many_households")
    posted_s = NOW_S - DAY_S
    for version, (what, dated_s) in enumerate((("authority", NOW_S - 5), ("site_notice", posted_s)), start=1):
        store.write(exclusions.prove, NOW_S, made, version, what, FILE, dated_s, CLERK).result()
    assert [bar.rule for bar in asked(store, reasons.HOLD_ARREARS)] == ["evidence.site_notice"]
    assert asked(store, reasons.HOLD_ARREARS, posted_s + 2 * DAY_S) == []
    late_s = posted_s + kinds.EVIDENCE_S
    assert [bar.rule for bar in asked(store, reasons.HOLD_ARREARS, late_s)] == ["evidence.site_notice"]


def test_a_stop_that_waits_ends(store: Store) -> None:
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, CLERK).result()
    store.write(statements.stop, NOW_S, METER, reasons.HOLD_SAFETY, CLERK).result()
    put(store, "vip")
    assert orders(store) == [(1, "hold", "cancelled"), (7, "hold", "queued")]


@pytest.mark.parametrize("events", [("send",), ("send", "lose"), ("send", "accept"), ("send", "confirm")])
def test_a_stop_that_may_be_on_the_meter_is_released(store: Store, events: tuple[str, ...]) -> None:
    stop = store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, CLERK).result()
    stand_at(store, stop, *events)
    waiting = store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, CLERK).result()
    assert waiting != stop
    put(store, "vip")
    assert [(what, state) for _, what, state in orders(store)][1:] == [("hold", "cancelled"), ("release", "queued")]


def test_a_hold_that_is_released_already_is_let_be(store: Store) -> None:
    stop = store.write(statements.stop, NOW_S, METER, reasons.HOLD_ARREARS, CLERK).result()
    stand_at(store, stop, "send", "confirm")
    store.write(statements.release, NOW_S, METER, reasons.HOLD_ARREARS, CLERK).result()
    put(store, "vip")
    assert [what for _, what, _ in orders(store)] == ["hold", "release"]


def test_the_meter_itself_is_told_of_protection(store: Store) -> None:
    stop = store.write(statements.stop, NOW_S, METER, reasons.HOLD_TAMPER, CLERK).result()
    stand_at(store, stop, "send", "confirm")
    put(store, "protection")
    assert [(reason, what) for reason, what, _ in orders(store)] == [(4, "hold"), (4, "release"), (8, "hold")]


def test_the_last_protection_that_ends_is_ended_on_the_meter(store: Store) -> None:
    first, second = put(store, "protection"), put(store, "life_support")

    def finish(conn: Any, exclusion_id: int) -> None:
        exclusions.finish(conn, NOW_S, exclusions.locked(conn, NOW_S, exclusion_id), CLERK, "over", "user:chief")

    store.write(finish, first).result()
    assert (8, "release") not in [(reason, what) for reason, what, _ in orders(store)]
    store.write(finish, second).result()
    assert orders(store)[-1][:2] == (8, "release")
    assert asked(store, reasons.HOLD_ARREARS) == []


def test_what_protects_life_takes_two_to_end(store: Store) -> None:
    for kind in ("protection", "life_support", "many_households"):
        made = put(store, kind)
        with pytest.raises(Refused, match="second"):
            store.write(exclusions.end, NOW_S, made, 1, CLERK).result()
    made = put(store, "vip")
    store.write(exclusions.end, NOW_S, made, 1, CLERK).result()
    with pytest.raises(Refused, match="not ended"):
        store.write(exclusions.end, NOW_S, made, 2, CLERK).result()


def test_two_who_change_the_same_do_not_overwrite_each_other(store: Store) -> None:
    made = put(store, "deferral", until_s=NOW_S + 10)
    store.write(exclusions.extend, NOW_S, made, 1, NOW_S + 20, CLERK).result()
    with pytest.raises(exclusions.Changed):
        store.write(exclusions.extend, NOW_S, made, 1, NOW_S + 30, CLERK).result()
    with pytest.raises(Refused, match="later end"):
        store.write(exclusions.extend, NOW_S, made, 2, NOW_S + 15, CLERK).result()
    assert asked(store, 1, NOW_S + 19) and not asked(store, 1, NOW_S + 20)


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("nonsense", {}, "kind"),
        ("deferral", {}, "until_s"),
        ("protection", {"until_s": NOW_S + 5}, "until_s"),
        ("vip", {"until_s": NOW_S}, "until_s"),
        ("vip", {"note": "a\nb"}, "note"),
    ],
)
def test_what_does_not_fit_is_refused(untouched: Store, kind: str, options: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as told:
        untouched.write(lambda conn: exclusions.put(conn, NOW_S, METER, kind, CLERK, FILE, **options)).result()
    assert told.value.field == field


@pytest.mark.parametrize("evidence", [Evidence(" "), Evidence("x" * 201), Evidence("a\n"), Evidence("a", b"short")])
def test_an_exclusion_needs_evidence(untouched: Store, evidence: Evidence) -> None:
    with pytest.raises(Refused):
        untouched.write(exclusions.put, NOW_S, METER, "vip", CLERK, evidence).result()


def test_one_of_a_kind_stands_at_a_time(store: Store) -> None:
    put(store, "vip")
    with pytest.raises(Refused, match="exclusion 1"):
        put(store, "vip")


def test_history_stays(store: Store) -> None:
    made = put(store, "deferral", until_s=NOW_S + 10)
    store.write(exclusions.extend, NOW_S + 1, made, 1, NOW_S + 20, CLERK).result()
    store.write(exclusions.end, NOW_S + 2, made, 2, CLERK).result()
    told = store.read(exclusions.history, made)
    assert [(row.event, row.until_s) for row in told] == [
        (words.SET, NOW_S + 10),
        (words.EXTENDED, NOW_S + 20),
        (words.ENDED, NOW_S + 2),
    ]
    assert (told[0].reference, told[0].document) == (FILE.reference, FILE.document)
    for forbidden in (
        exclusion_event.delete(),
        update(exclusion_event).values(note="forged"),
        exclusion.delete(),
        update(exclusion).values(kind="vip"),
    ):
        with pytest.raises((exc.IntegrityError, CommitFailed)):
            store.write(lambda conn, what=forbidden: conn.execute(what)).result()


def test_a_payment_takes_no_exclusion_away(store: Store) -> None:
    put(store, "vip")
    store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 1_000).result()
    assert asked(store, reasons.HOLD_ARREARS)


# --- calendar ---------------------------------------------------------------------------------------------------------


def local(*parts: int) -> int:
    """UTC seconds of a time in Shanghai."""
    return int(datetime(*parts, tzinfo=ZoneInfo(SHANGHAI)).timestamp())  # type: ignore[misc,arg-type]


NIGHT = Rule("night", "夜间", from_quarter=68)  # from 17:00
MORNING = Rule("early morning", "清晨", until_quarter=34)  # until 08:30
WEEKEND = Rule("weekend", "周末", weekdays=(6, 7))
FESTIVAL = Rule("Spring Festival", "春节", first_day=date(2027, 2, 5), last_day=date(2027, 2, 11))
HEAT = Rule("heat", "高温", area="north", first_day=date(2027, 7, 1), last_day=date(2027, 7, 31), reasons=(1, 3))


def placed(store: Store, *given_rules: Rule) -> None:
    store.write(calendar.put, NOW_S, 0, SHANGHAI, given_rules, CLERK, "test").result()


HOURS = {
    (2027, 1, 13, 8, 29): (2027, 1, 13, 8, 30),  # Wednesday
    (2027, 1, 13, 8, 30): (2027, 1, 13, 8, 30),
    (2027, 1, 13, 16, 59): (2027, 1, 13, 16, 59),
    (2027, 1, 13, 17, 0): (2027, 1, 14, 8, 30),
    (2027, 1, 15, 17, 0): (2027, 1, 18, 8, 30),  # over the weekend
    (2027, 2, 4, 20, 0): (2027, 2, 12, 8, 30),  # and the festival
}


def test_hours_days_and_holidays(store: Store) -> None:
    placed(store, NIGHT, MORNING, WEEKEND, FESTIVAL)
    for at, allowed in HOURS.items():
        found = asked(store, reasons.HOLD_ARREARS, local(*at))
        assert store.read(calendar.next_allowed_s, local(*at), "", reasons.HOLD_ARREARS) == local(*allowed)
        assert [bar.until_s for bar in found] == ([] if at == allowed else [local(*allowed)])
        assert all(bar.rule == "calendar" and bar.exclusion_id is None for bar in found)


def test_weather_is_of_an_area_and_of_reasons(store: Store) -> None:
    placed(store, HEAT)
    cases = (
        ("north", 1, True),
        ("north/f-1", 3, True),
        ("north/f-1", 2, False),
        ("northern", 1, False),
        ("", 1, False),
    )
    for area, reason, barred in cases:
        store.write(areas.place, NOW_S, METER, area, CLERK).result()
        assert bool(asked(store, reason, local(2027, 7, 10, 12))) == barred
        assert not asked(store, reason, local(2027, 8, 1, 12))


def test_the_sentence_names_the_day(store: Store) -> None:
    placed(store, FESTIVAL)
    (bar,) = asked(store, reasons.HOLD_ARREARS, local(2027, 2, 6, 12))
    assert "Spring Festival, until 2027-02-11 16:00Z" in say(bar.text, ENGLISH, **bar.fields)
    assert "春节" in say(bar.text, CHINESE, **bar.fields)


def test_a_calendar_is_replaced_as_a_whole_and_by_who_saw_the_last(store: Store) -> None:
    placed(store, NIGHT)
    with pytest.raises(calendar.CalendarChanged):
        store.write(calendar.put, NOW_S, 0, SHANGHAI, (), CLERK, "late").result()
    assert store.write(calendar.put, NOW_S, 1, SHANGHAI, (), CLERK, "none any more").result() == 2
    assert asked(store, reasons.HOLD_ARREARS, local(2027, 1, 13, 20)) == []


@pytest.mark.parametrize(
    ("zone", "rule"),
    [
        ("Mars/Olympus", NIGHT),
        (SHANGHAI, Rule("a", "b", from_quarter=4, until_quarter=4)),
        (SHANGHAI, Rule("a", "b", area="North")),
        (SHANGHAI, Rule("a", "b", first_day=date(2027, 1, 2), last_day=date(2027, 1, 1))),
    ],
)
def test_a_calendar_that_cannot_be_is_refused(untouched: Store, zone: str, rule: Rule) -> None:
    with pytest.raises(Refused):
        untouched.write(calendar.put, NOW_S, 0, zone, (rule,), CLERK, "why").result()


RULES = st.builds(
    lambda start, length, days, first, more: Rule(
        "rule",
        "规则",
        from_quarter=start,
        until_quarter=min(start + length, 96),
        weekdays=tuple(sorted(days)),
        first_day=first,
        last_day=None if first is None else date.fromordinal(first.toordinal() + more),
    ),
    st.integers(0, 95),
    st.integers(1, 96),
    st.sets(st.integers(1, 7), min_size=1),
    st.none() | st.dates(date(2027, 1, 1), date(2027, 12, 31)),
    st.integers(0, 20),
)
ZONES = st.sampled_from(("Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "UTC"))
MOMENTS = st.integers(
    int(datetime(2027, 3, 1, tzinfo=UTC).timestamp()), int(datetime(2027, 12, 1, tzinfo=UTC).timestamp())
)


@given(st.lists(RULES, max_size=4), ZONES, MOMENTS)
def test_what_is_allowed_next_is_the_first_that_no_rule_forbids(given_rules: list[Rule], zone: str, now_s: int) -> None:
    tz = ZoneInfo(zone)
    found = rules.decode(rules.encode(tuple(given_rules))).barred(tz, now_s, "", 1)

    def free(at_s: int) -> bool:
        at = datetime.fromtimestamp(at_s, tz)
        return not any(rule.covers(at, "", 1) for rule in given_rules)

    if found is None:
        assert free(now_s)
        return
    assert not free(now_s)
    if found[1] < now_s + rules.HORIZON_S:
        assert free(found[1])
        last_s = min(found[1], now_s + 40 * QUARTER_S)
        assert not any(free(at_s) for at_s in range(now_s, last_s, QUARTER_S // 3))


# --- areas ------------------------------------------------------------------------------------------------------------


def test_a_meter_stands_where_it_was_put_last(store: Store) -> None:
    with pytest.raises(Refused):
        store.write(areas.place, NOW_S, METER, "North", CLERK).result()
    for path in ("north/f-1", "north/f-1", "south"):
        store.write(areas.place, NOW_S, METER, path, CLERK).result()
    assert store.read(lambda conn: conn.execute(select(meter.c.area)).scalar_one()) == "south"
    acts = select(audit.c.detail).where(audit.c.action == "meter.area").order_by(audit.c.id)
    told = store.read(lambda conn: conn.execute(acts).scalars().all())
    assert told == ['{"from":"","to":"north/f-1"}', '{"from":"north/f-1","to":"south"}']
