"""Books against all meters, compared after something came: differences, their history, and how the API shows them."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select, update

from headend.access import permissions
from headend.books import heads, sweep, verifier, words
from headend.clock import ManualClock
from headend.epochs import findings
from headend.keys.keystore import KeyStore
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import accounts, channels, entries, payments, reconcile
from headend.store import Store, lock_meter
from headend.store.schema import entry, meter, meter_state
from headend.store.schema_books import reconciled, shadow_day
from meterlink.orders import ASPECT_SUPPLY
from tests.host import books_rig as rig
from tests.host.books import CHANNEL, METER, NOW_S, report
from tests.host.peer import Noise
from tests.host.site import API, Site, problem
from tests.host.test_reconcile import arrive

KEYS = KeyStore.generate(Noise())
OTHER = 18


@pytest.fixture
def store(any_store: Store) -> Store:
    rig.establish(any_store, (METER, OTHER))
    for number in (METER, OTHER):
        any_store.write(payments.take, NOW_S, CHANNEL, f"p{number}", number, 5_000_000).result()
    return any_store


def told(store: Store, number: int = METER, **fields: Any) -> None:
    """A report came."""
    store.write(lock_meter, number).result()
    store.write(arrive, report(KEYS, number, **fields)).result()


def of(store: Store, number: int = METER) -> Any:
    query = select(reconciled).where(reconciled.c.meter == number)
    return store.read(lambda conn: conn.execute(query).one())


def slip(conn: Connection, amount_uc: int) -> None:
    """An entry that no statement to the meter goes with."""
    lock_meter(conn, METER)
    sides = accounts.of_channel(CHANNEL), accounts.of_meter(METER, 1)
    entries.post(conn, NOW_S, entries.PAYMENT, *sides, amount_uc, METER, f"payment:pos-1:slipped {amount_uc}")


def test_each_meter_is_compared_after_something_came(store: Store) -> None:
    assert sweep.sweep(store, NOW_S) == 2
    assert sweep.sweep(store, NOW_S + 1) == 0
    told(store, credited_uc=5_000_000, source_credited_uc=5_000_000)
    assert sweep.sweep(store, NOW_S + 2) == 1
    assert (of(store).ledger_uc, of(store).meter_uc, of(store).difference_uc) == (5_000_000, 5_000_000, 0)
    assert store.read(sweep.total_difference) == (0, 0)


def test_a_difference_has_a_history_and_a_finding_until_it_is_gone(store: Store) -> None:
    told(store, credited_uc=5_000_000, source_credited_uc=5_000_000)
    sweep.sweep(store, NOW_S)
    for at_s, amount_uc in ((NOW_S + 10, 7), (NOW_S + 20, 3)):
        store.write(slip, amount_uc).result()
        sweep.sweep(store, at_s)
    told(store, counter=2, credited_uc=5_000_000, source_credited_uc=5_000_000)
    sweep.sweep(store, NOW_S + 30)
    assert (of(store).difference_uc, of(store).since_s) == (10, NOW_S + 20)
    assert store.read(sweep.total_difference) == (1, 10)
    assert [(row.meter, row.difference_uc) for row in store.read(sweep.listed)] == [(METER, 10)]
    standing = store.read(findings.standing)
    assert [(row.kind, row.meter, row.amount_uc) for row in standing] == [(findings.LEDGER_DIFFERENCE, METER, 10)]
    told(store, counter=3, credited_uc=5_000_010, source_credited_uc=5_000_000)
    sweep.sweep(store, NOW_S + 40)
    assert (store.read(sweep.total_difference), store.read(findings.standing)) == ((0, 0), [])
    changes = store.read(sweep.history, METER)
    assert [(row.at_s - NOW_S, row.before_uc, row.difference_uc) for row in changes] == [
        (40, 10, 0),
        (20, 7, 10),
        (10, 0, 7),
    ]


def test_a_report_on_another_subject_calls_nobody(store: Store) -> None:
    told(store, credited_uc=5_000_000, aspect=ASPECT_SUPPLY, selector=1)
    assert store.read(reconcile.explain, METER).difference_uc == -5_000_000
    sweep.sweep(store, NOW_S)
    assert of(store).difference_uc == 0
    told(store, counter=2, credited_uc=5_000_001, source_credited_uc=5_000_000)
    sweep.sweep(store, NOW_S + 1)
    assert of(store).difference_uc == -1
    told(store, counter=3, credited_uc=5_000_001, aspect=ASPECT_SUPPLY, selector=1)
    sweep.sweep(store, NOW_S + 2)
    assert (of(store).difference_uc, of(store).since_s) == (-1, NOW_S + 1)


def test_every_line_and_every_kind_of_entry_has_its_words(store: Store) -> None:
    lines = {what for what, _ in store.read(reconcile.explain, METER).lines}
    assert lines == words.LINES.keys()
    assert entries.SIDES.keys() <= words.ENTRIES.keys()
    assert store.read(lambda conn: conn.execute(select(entry.c.id)).all())


# --- over HTTP --------------------------------------------------------------------------------------------------------

SOUTH = "op_" + "s" * 43
ROW = {
    "account_epoch": 1,
    "from_s": NOW_S,
    "to_s": NOW_S + 86_400,
    "used_wh": 1000,
    "missing_wh": 40,
    "shadow_uc": 500_000,
    "standing_uc": 0,
    "meter_uc": 520_000,
    "collected_uc": 0,
    "difference_uc": 20_000,
    "whole": 0,
    "sure": 1,
    "made_s": NOW_S,
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, meters=(METER, OTHER)) as made:

        def prepare(conn: Connection) -> None:
            for number, area in ((METER, "north/t-1"), (OTHER, "south")):
                conn.execute(update(meter).where(meter.c.meter == number).values(area=area))
                conn.execute(insert(shadow_day).values(meter=number, day="2027-01-15", **ROW))
            conn.execute(insert(shadow_day).values(meter=METER, day="2027-01-16", **{**ROW, "difference_uc": 0}))

        made.store.write(prepare).result()
        yield made


def test_differences_are_listed_page_by_page_and_area_by_area(site: Site) -> None:
    client = site.client()
    state = update(meter_state).values(on_meter_uc=1)  # as if more had arrived than was sold
    site.store.write(lambda conn: conn.execute(state)).result()
    sweep.sweep(site.store, NOW_S)
    site.store.write(lambda conn: conn.execute(update(reconciled).values(difference_uc=1_500_000))).result()
    first = client.get(f"{API}/books/reconciliation", params={"limit": 1}).json()
    assert [one["meter"] for one in first["meters"]] == ["000000000017"]
    assert (first["total_meters"], first["total_difference"]) == (2, "3.00")
    second = client.get(f"{API}/books/reconciliation", params={"after": first["next_after"]}).json()
    assert [(one["meter"], one["area"], one["difference"]) for one in second["meters"]] == [
        ("000000000018", "south", "1.50")
    ]
    assert second["next_after"] is None
    assert client.get(f"{API}/meters/17/reconciliation/history").json() == {"changes": []}


def test_shadow_days_are_listed_with_what_they_mean(site: Site) -> None:
    client = site.client()
    page = client.get(f"{API}/books/shadow", params={"limit": 1}).json()
    (one,) = page["days"]
    assert (one["meter"], one["day"], one["difference"], one["verdict"]) == (
        "000000000017",
        "2027-01-15",
        "0.02",
        "not_whole",
    )
    assert one["meaning"]["en"].startswith("intervals are missing for 40 Wh")
    assert (page["total_days"], page["total_difference"]) == (2, "0.04")
    rest = client.get(f"{API}/books/shadow", params={"after": page["next_after"], "differing": False}).json()
    assert [(row["meter"], row["day"]) for row in rest["days"]] == [
        ("000000000018", "2027-01-15"),
        ("000000000017", "2027-01-16"),
    ]
    problem(client.get(f"{API}/books/shadow", params={"after": "x"}), 422, "refused")


def test_heads_and_days_are_shown_to_who_keeps_the_books(site: Site) -> None:
    client = site.client()
    signer = Signer(KEYS, SignerLog(None), ManualClock(NOW_S), Caps(10**12))
    assert client.get(f"{API}/books/heads").json() == {"heads": [], "next_before": None}
    problem(client.get(f"{API}/books/days/2027-01-14"), 404, "unknown_day")
    day = heads.daily(site.store, signer, NOW_S)
    (head,) = client.get(f"{API}/books/heads").json()["heads"]
    raw = f"{head['head']}\n{head['proof']}\n".encode()
    assert verifier.read_head("of the API", raw).stated["day"] == head["day"] == day
    shown = client.get(f"{API}/books/days/{day}", params={"language": "zh"}).json()
    assert shown["text"][0] == f"{day} 账务日结"
    assert json.loads(shown["report"])["zero"]["sum_uc"] == 0
    site.store.write(channels.add_channel, NOW_S, "reader", SOUTH, (permissions.READ,), 0).result()
    problem(site.client(SOUTH).get(f"{API}/books/heads"), 403, "out_of_scope")
