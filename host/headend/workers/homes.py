"""Under which lease the traffic of a meter goes: its home, one number for each.

A meter on a broker belongs to its shard, 0..63 (`meterlink.topics`). One on Modbus belongs to its bus: links are spread
over a fixed number of leases, so that all meters of a link have the same one and nobody else talks on its line. A link
over the network can be reached from anywhere; a serial device is on one machine, and only a worker there may take it.
"""

import hashlib

from sqlalchemy import ColumnElement, func

from headend.fleet import address
from headend.fleet.address import ModbusAddress
from headend.store.schema import meter
from meterlink import topics

SHARD = "mqtt-shard"
BUS = "bus"
LINE = "line"

SHARDS = range(topics.SHARDS)
BUSES = range(SHARDS.stop, SHARDS.stop + 192)
LINES = range(BUSES.stop, BUSES.stop + 64)

NUMBERS = {SHARD: SHARDS, BUS: BUSES, LINE: LINES}
"""Kind of lease -> its numbers; they do not overlap, so that a number alone names a home."""


def bus_of(carrier: str, where: str) -> int | None:
    """What stands in `meter.bus`: the home of a Modbus address, None for a meter that has its shard."""
    return home_of_link(address.parse(where)) if carrier == "modbus" else None


def home_of_link(where: ModbusAddress) -> int:
    """The home of all meters on the link of this address."""
    serial = where.kind == address.SERIAL
    numbers, link = (LINES, where.path) if serial else (BUSES, where.link)
    return numbers[int.from_bytes(hashlib.sha256(link.encode()).digest()[:4], "big") % len(numbers)]


HOME: ColumnElement[int] = func.coalesce(meter.c.bus, meter.c.meter % topics.SHARDS)
"""The home of a row of `meter`."""
