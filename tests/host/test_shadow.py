"""The shadow bill from the database: it goes on where a report left the meter's own, to the unit."""

import random

import pytest
from sqlalchemy import Connection

from headend.keys.keystore import KeyStore
from headend.reads import shadow
from meterlink import calendar
from meterlink.shadow import Bill
from meterlink.tariff import PER_DAY, PER_MONTH, Tariff
from tests.host import readings
from tests.host.books import METER, NOW_S, open_books, report
from tests.host.peer import Noise

START_S = calendar.day_of(2026, 1, 28) * 86_400
PLAN = Tariff(
    (400_001, 700_003, 900_007, 1_100_009),
    ((0, 0), (28, 1), (88, 0)),
    4,
    steps_wh=(30_000,),
    charges=((PER_DAY, 123_457), (PER_MONTH, 2_000_001)),
)


def rows(count: int) -> list[dict[str, int]]:
    """Quarters of an hour over the end of a month."""
    rng = random.Random(5)
    made, register = [], 1_000
    for seq in range(1, count + 1):
        used_wh = rng.choice((0, 40, 130, 700))
        register += used_wh
        fields = {"start_s": START_S + (seq - 1) * 900, "import_reg_wh": register, "import_wh": used_wh}
        made.append({"seq": seq, "export_reg_wh": 7, "export_wh": 0, **fields})
    return [{**row, "minutes": 15, "flags": 0} for row in made]


@pytest.mark.parametrize("cut", [1, 60, 383, 384, 385, 500])
def test_it_goes_on_from_a_report(cut: int) -> None:
    store = open_books()
    made = rows(700)
    store.write(readings.put, NOW_S, METER, 1, made).result()
    whole, before = Bill(PLAN), Bill(PLAN)
    whole.turn(START_S)
    before.turn(START_S)
    for n, row in enumerate(made):
        whole.add(row["start_s"], row["import_wh"])
        if n < cut:
            before.add(row["start_s"], row["import_wh"])
    half_wh = made[cut]["import_wh"] // 2  # the report comes in the middle of an interval
    before.add(made[cut]["start_s"] + 450, half_wh)
    register = made[cut - 1]["import_reg_wh"] + half_wh
    known = report(
        KeyStore.generate(Noise()), time_s=made[cut]["start_s"] + 450, import_wh=register, remainder=before.remainder
    )

    def bill(conn: Connection) -> tuple[Bill, int, int]:
        return shadow.since(conn, METER, PLAN, known)

    rest, import_wh, export_wh = store.read(bill)
    assert (before.charged_uc + rest.charged_uc, rest.remainder) == (whole.charged_uc, whole.remainder)
    assert rest.running.step_wh == whole.running.step_wh
    assert (import_wh, export_wh) == (made[-1]["import_reg_wh"], 7)
    store.close()
