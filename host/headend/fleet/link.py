"""How a meter is reached: its carrier and, on Modbus, its address. A change holds for the next message to it: links ask
the database for an address, and workers for a home, whenever they send."""

from typing import Any

from sqlalchemy import BigInteger, Connection, Integer, Row, bindparam, select, update

from headend import audit
from headend.fleet import address, identities, lifecycle, types, words  # noqa: F401 - the words of the audit
from headend.fleet.address import SERIAL, ModbusAddress
from headend.fleet.meters import CARRIERS, MODBUS
from headend.orders import outbox
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.next_report import ask_by
from headend.store.prepared import prepared
from headend.store.schema import meter
from headend.store.schema_fleet import meter_life
from headend.workers.homes import bus_of, home_of_link

MAX_NOTE = 200

_ONE = prepared(select(meter).where(meter.c.meter == bindparam("of")))
_SET = prepared(update(meter).where(meter.c.meter == bindparam("of")))
# Who else may be on the same bus: a home is that of all meters of a link, and of a few links.
_THERE = prepared(
    select(meter.c.meter, meter.c.address, meter_life.c.state)
    .outerjoin(meter_life, meter_life.c.meter == meter.c.meter)
    .where(
        meter.c.bus == bindparam("home", type_=Integer),
        meter.c.carrier == MODBUS,
        meter.c.meter != bindparam("but", type_=BigInteger),
    )
)


def change(
    conn: Connection, now_s: int, number: int, carrier: str, where: str, actor: str, *, new_bus: bool, note: str = ""
) -> str:
    """Say how a meter is reached from now on; returns what changed, in words for a report, "" where nothing did.

    `where`: as in `fleet.address`, "" for MQTT · new_bus: it may be one that no other meter is on. Raises UnknownMeter,
    and Refused where the type has no such carrier, the unit is another meter's, or the bus is not known.
    """
    if carrier not in CARRIERS:
        raise Refused("carrier", carrier, f"one of {', '.join(CARRIERS)}")
    if len(note) > MAX_NOTE or not note.isprintable():
        raise Refused("note", note, f"at most {MAX_NOTE} printable characters")
    wanted = address.parse(where) if carrier == MODBUS else None
    for one in sorted({number, *_first_on_bus(conn, number, wanted)}):  # who wants the same unit waits here
        lock_meter(conn, one)
    known = _ONE(conn, {"of": number}).one()
    if (known.carrier, known.address) == (carrier, where):
        return ""
    kind = types.of_meter(conn, number)
    if kind is not None:
        types.fits_meter(kind, carrier, known.interval_minutes)
    if wanted is not None:
        _check_place(conn, number, where, wanted, new_bus)
    elif where:
        raise Refused("address", where, "nothing: an MQTT meter is found by its number")
    _SET(conn, {"of": number, "carrier": carrier, "address": where, "bus": bus_of(carrier, where)})
    identities.put(conn, number, identities.ADDRESS, where)
    told = {"from": _said(known.carrier, known.address), "to": _said(carrier, where), "note": note}
    audit.record(conn, now_s, actor, "meter.link", f"meter:{number}", told)
    ask_by(conn, number, now_s)  # whether it answers there is known soon
    outbox.wake(conn, now_s, number)
    return f"link: {told['from']} -> {told['to']}"


def _first_on_bus(conn: Connection, number: int, wanted: ModbusAddress | None) -> list[int]:
    """The meter whose row stands for a bus that others are on."""
    found = [] if wanted is None else [row.meter for row, _ in _on_bus(conn, number, wanted)]
    return sorted(found)[:1]


def _check_place(conn: Connection, number: int, where: str, wanted: ModbusAddress, new_bus: bool) -> None:
    neighbours = _on_bus(conn, number, wanted)
    for row, there in neighbours:
        if there.link != wanted.link:
            raise Refused("address", where, f"the settings of the line, as meter {row.meter} has them: {there.link}")
        if there.unit == wanted.unit and row.state not in (lifecycle.REMOVED, lifecycle.RETIRED):
            raise Refused("address unit", wanted.unit, f"a free one: meter {row.meter} has it on {wanted.link}")
    if not neighbours and not new_bus:
        raise Refused("address", where, "a bus that a meter is on, or the word that it is a new one (new_bus)")


def _on_bus(conn: Connection, number: int, wanted: ModbusAddress) -> list[tuple[Row[Any], ModbusAddress]]:
    """Other meters on the same line, gateway or host, with their addresses."""
    found = []
    for row in _THERE(conn, {"home": home_of_link(wanted), "but": number}):
        there = address.parse(row.address)
        same_line = there.kind == SERIAL and (there.kind, there.path) == (wanted.kind, wanted.path)
        if same_line or there.link == wanted.link:
            found.append((row, there))
    return found


def _said(carrier: str, where: str) -> str:
    return f"{carrier} {where}".strip()
