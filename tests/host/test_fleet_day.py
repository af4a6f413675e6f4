"""A day of a small fleet on a carrier that loses, with meters that nobody reaches, while the head end is killed and the
carrier forgets what it has: who is read by six, and whether all comes in the end. On both databases.
"""

import os

from sqlalchemy import delete

from headend.store import Store
from headend.store.schema_readings import reading_recent
from openprepay.fleetsim import plan
from openprepay.fleetsim.day import BY_S, Day
from openprepay.fleetsim.setting import DAY_S, HOUR_S, MODBUS, Setting

METERS = int(os.environ.get("OPENPREPAY_FLEET", "60"))
SEED = int(os.environ.get("OPENPREPAY_SEED", "0"))
LARGE = METERS > 1000  # then with meters in processes of their own, and some that are away for a day and more
SETTING = Setting(METERS, SEED, round_s=60 if LARGE else 180, processes=2 if LARGE else 1)


def test_a_day(any_store: Store) -> None:
    """99.5 % by six, all within 72 hours and bit for bit; each payment is on its meter. `make soak`: 10 000 meters."""
    day = Day(any_store, SETTING, long_s=(30 if LARGE else 8) * HOUR_S)
    outcome = day.run()
    assert outcome.by_six_percent >= 99.5
    assert outcome.whole_percent == 100 and not outcome.wrong
    assert BY_S <= outcome.whole_after_s <= DAY_S + 72 * HOUR_S
    assert outcome.payments == outcome.payments_on_meters == METERS // 5
    assert set(outcome.orders) <= {"confirmed", "superseded"}
    assert outcome.in_time + outcome.late == outcome.intervals_of_day
    assert outcome.in_time <= outcome.stored_by_six
    assert outcome.holds
    # and it was no walk in the park
    assert outcome.intervals_of_day > 94 * SETTING.meters
    assert outcome.kills == 8 and outcome.wipes == 6 and outcome.wiped > 0
    assert 0.04 < outcome.lost / outcome.messages < 0.09
    assert 1 < outcome.away_percent < 6
    assert any(SETTING.carrier(number) == MODBUS for number in day.numbers)


def test_what_is_missing_is_counted(any_store: Store) -> None:
    """A reading that the database has lost is not counted as stored, and its meter is named."""
    setting = Setting(meters=3, round_s=900, loss=0, repeat=0, delay_s=0, offline=0, on_bus=0)
    day = Day(any_store, setting, plan=())
    while day.since_s < DAY_S + HOUR_S:
        day.advance()
    held = day.crew.held(setting.start_s, setting.start_s + DAY_S)
    victim = setting.number(1)
    assert all(day._is_whole(of) for of in held.values())
    any_store.write(
        lambda conn: conn.execute(
            delete(reading_recent).where(reading_recent.c.meter == victim, reading_recent.c.first < 20)
        )
    ).result()
    assert [number for number, of in held.items() if not day._is_whole(of)] == [victim]
    day._count_by_six()
    day._count_in_the_end(held)
    assert day.outcome.wrong == [victim] and not day.outcome.holds
    assert 0 < day.outcome.stored_by_six < day.outcome.intervals_of_day == 3 * 96
    day.crew.stop()


def test_spells_are_as_many_as_said() -> None:
    """2 % of a large fleet are away at any time."""
    setting = Setting(meters=5_000)
    spells = plan.spells(setting, setting.start_s + BY_S, HOUR_S)
    for hour in range(0, 30, 3):
        at_s = setting.start_s + hour * HOUR_S
        away = {spell.meter for spell in spells if spell.from_s <= at_s < spell.until_s}
        assert 75 <= len(away) <= 125


def test_equal_seeds_have_equal_faults() -> None:
    setting = Setting(meters=500, seed=7)
    assert plan.spells(setting, setting.start_s + BY_S, HOUR_S) == plan.spells(setting, setting.start_s + BY_S, HOUR_S)
