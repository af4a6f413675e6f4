"""How a meter is reached can be changed: carrier, bus, address; by a person and by a file."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from headend.fleet import columns, importing, life, link, search, types
from headend.fleet.import_lines import Given
from headend.fleet.meters import MeterRecord, add_meter, get_meter
from headend.refusals import Refused
from headend.store import Store
from headend.store.schema import meter_state
from headend.store.schema_audit import audit
from headend.workers.homes import bus_of
from metersim import workbench
from tests.host.books import NOW_S

BUS = "tcp://10.0.0.8:502"
LINE = "serial:/dev/ttyUSB0?unit={}&baud=9600&parity=E"
TARIFF, LIMITS = workbench.DEFAULT_TARIFF.encode(), workbench.DEFAULT_LIMITS.encode()


@pytest.fixture
def write(any_store: Store) -> Callable[..., Any]:
    def job(fn: Callable[..., Any], *args: Any, **more: Any) -> Any:
        return any_store.write(lambda conn: fn(conn, NOW_S, *args, **more)).result()

    for number, carrier, where in ((17, "mqtt", ""), (18, "modbus", f"{BUS}?unit=1"), (19, "modbus", LINE.format(4))):
        job(add_meter, MeterRecord(number, carrier, where, TARIFF, LIMITS))
    return job


def move(write: Callable[..., Any], number: int, carrier: str, where: str, *, new_bus: bool = False) -> str:
    return str(write(link.change, number, carrier, where, "user:ann", new_bus=new_bus))


def test_a_meter_moves_to_a_bus_and_back(any_store: Store, write: Callable[..., Any]) -> None:
    later = update(meter_state).where(meter_state.c.meter == 17).values(next_ask_s=NOW_S + 900)
    any_store.write(lambda conn: conn.execute(later)).result()
    assert move(write, 17, "modbus", f"{BUS}?unit=2") == f"link: mqtt -> modbus {BUS}?unit=2"
    row = any_store.read(get_meter, 17)
    assert (row.carrier, row.address, row.bus) == ("modbus", f"{BUS}?unit=2", bus_of("modbus", f"{BUS}?unit=2"))
    assert [hit.meter for hit in any_store.read(search.find, "10.0.0.8:502?unit=2", ("",)).hits] == [17]
    told = any_store.read(lambda conn: conn.execute(select(audit).where(audit.c.action == "meter.link")).one())
    assert told.subject == "meter:17" and f"modbus {BUS}?unit=2" in told.detail
    asked = select(meter_state.c.next_ask_s).where(meter_state.c.meter == 17)
    assert any_store.read(lambda conn: conn.execute(asked).scalar_one()) == NOW_S
    assert move(write, 17, "modbus", f"{BUS}?unit=2") == "", "nothing changed, and nothing is recorded"
    move(write, 17, "mqtt", "")
    row = any_store.read(get_meter, 17)
    assert (row.carrier, row.address, row.bus) == ("mqtt", "", None)


@pytest.mark.parametrize(
    ("carrier", "where", "field"),
    [
        ("modbus", f"{BUS}?unit=1", "address unit"),  # another meter's
        ("modbus", f"{BUS}?unit=0", "address unit"),
        ("modbus", f"{BUS}?unit=248", "address unit"),
        ("modbus", "tcp://10.0.0.9:502?unit=1", "address"),  # a bus that nobody is on
        ("modbus", LINE.format(5).replace("9600", "19200"), "address"),  # two speeds on one line
        ("modbus", "", "address"),
        ("mqtt", f"{BUS}?unit=2", "address"),
        ("lora", "", "carrier"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(
    any_store: Store, write: Callable[..., Any], carrier: str, where: str, field: str
) -> None:
    before = any_store.read(get_meter, 17)
    with pytest.raises(Refused) as refused:
        move(write, 17, carrier, where)
    assert refused.value.field == field
    assert any_store.read(get_meter, 17) == before


def test_of_two_that_want_a_unit_at_once_one_gets_it(any_store: Store, write: Callable[..., Any]) -> None:
    numbers = range(30, 42)
    for number in numbers:
        write(add_meter, MeterRecord(number, "mqtt", "", TARIFF, LIMITS))

    def job(conn: Any, number: int, unit: int) -> str:
        return link.change(conn, NOW_S, number, "modbus", f"{BUS}?unit={unit}", "user:ann", new_bus=False)

    under_way = [any_store.write(job, number, 10 + number // 4) for number in numbers]
    failed = [one.exception() for one in under_way]
    assert {type(one) for one in failed} == {type(None), Refused}
    placed = [any_store.read(get_meter, number).address for number in numbers if failed[number - 30] is None]
    assert len(placed) == len(set(placed)) == len({number // 4 for number in numbers})


def test_a_new_bus_has_to_be_said(any_store: Store, write: Callable[..., Any]) -> None:
    move(write, 17, "modbus", "tcp://10.0.0.9:502?unit=1", new_bus=True)
    assert any_store.read(get_meter, 17).address == "tcp://10.0.0.9:502?unit=1"


def test_the_type_has_to_have_the_carrier(write: Callable[..., Any]) -> None:
    kind = types.MeterType("op1", "t", "型", ("mqtt",), 1, True, 9_000, (15,), (), "unix")
    write(types.put, kind, "user:ann")
    write(life.describe, 17, "user:ann", kind="op1", serial="")
    with pytest.raises(Refused):
        move(write, 17, "modbus", f"{BUS}?unit=2")


def test_a_retired_meter_leaves_its_unit_to_another(write: Callable[..., Any]) -> None:
    write(life.retire, 18, "user:ann")
    assert move(write, 17, "modbus", f"{BUS}?unit=1")


def test_an_import_changes_it_and_says_so(any_store: Store, write: Callable[..., Any]) -> None:
    lines = ("meter,carrier,address,label", f"17,modbus,{BUS}?unit=7,by the door", f"18,modbus,{BUS}?unit=1,")
    good = "\n".join(lines) + "\n"

    def run(text: str) -> importing.Report:
        return importing.run(any_store, NOW_S, columns.METERS, lambda: text.splitlines(True), Given("user:ann"))

    report = run(f"{good}19,modbus,{BUS}?unit=1,\n")
    assert not report.stored and [(one.line, one.field) for one in report.problems] == [(4, "address unit")]
    assert any_store.read(get_meter, 17).carrier == "mqtt"
    report = run(good)
    assert report.stored and report.counts == {"new": 0, "changed": 1, "same": 1, "problem": 0}
    (said,) = report.changes
    assert (said.line, said.says) == (2, f"link: mqtt -> modbus {BUS}?unit=7; label: none -> by the door")
    assert any_store.read(get_meter, 17).address == f"{BUS}?unit=7"
    assert run(good).counts["same"] == 2
