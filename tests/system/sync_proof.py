"""Power cuts at every instant at which a running head end has just said something: is what it said on the disk?

It said so: an HTTP answer that names a payment, a PUBACK for a report, an order that it hands to the broker. `judge`
reads a trace of its calls (`disk_trace`), cuts power at the beginning of each of those, and looks at what is left.
"""

import random
import re
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import Connection, select

from headend.keys.sealed import KeyFileError
from headend.keys.signer_log import SignerLog
from headend.store.schema import meter_state, payment
from meterlink import reports, topics
from meterlink.orders import Order
from tests.system.disk_model import Disk
from tests.system.disk_trace import HEARS, SAYS, Call

_PAYMENT = re.compile(rb'"payment_id":"([^"]+)"')
_PUBLISH, _PUBACK = 3, 4


class Packets:
    """MQTT packets of one direction of a connection: (type, flags, body), as their bytes come."""

    def __init__(self) -> None:
        self._left = b""

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        self._left += data
        while (found := _length(self._left, 1)) is not None:
            length, at = found
            if len(self._left) < at + length:
                return
            first, body, self._left = self._left[0], self._left[at : at + length], self._left[at + length :]
            yield first >> 4, first & 15, body


def _length(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer (MQTT 5, 1.5.5) and where it ends."""
    value = shift = 0
    while at < len(data):
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
        shift += 7
    return None


def _publish(flags: int, body: bytes) -> tuple[str, int, bytes]:
    """(topic, packet id or 0, payload) of a PUBLISH of MQTT 5 (3.3)."""
    at = 2 + int.from_bytes(body[:2], "big")
    topic, mid = body[2:at].decode(), 0
    if flags & 6:
        mid, at = int.from_bytes(body[at : at + 2], "big"), at + 2
    properties = _length(body, at)
    assert properties is not None
    return topic, mid, body[properties[0] + properties[1] :]


@dataclass
class Said:
    """What was promised until now."""

    payments: set[str] = field(default_factory=set)
    reports: dict[int, tuple[int, int]] = field(default_factory=dict)  # meter -> (boot, counter) that was acknowledged
    orders: set[str] = field(default_factory=set)  # digests that left, in hexadecimal digits
    acknowledged: int = 0


class Listener:
    """Understands what a head end hears and says on its sockets, of which it takes those with MQTT by their CONNECT."""

    def __init__(self) -> None:
        self.said = Said()
        self._mqtt: dict[tuple[str, bool], Packets] = {}
        self._unanswered: dict[tuple[str, int], tuple[str, bytes]] = {}

    def take(self, call: Call) -> bool:
        """Whether this call said something that has to be on the disk."""
        if call.name in HEARS:
            self._hear(call)
            return False
        promised = False
        for match in _PAYMENT.finditer(call.data):
            self.said.payments.add(match[1].decode())
            promised = True
        if call.data[:1] == b"\x10" and b"\x00\x04MQTT" in call.data[:16]:
            self._mqtt[call.place, True], self._mqtt[call.place, False] = Packets(), Packets()
        if (call.place, True) in self._mqtt:
            for kind, flags, body in self._mqtt[call.place, True].feed(call.data):
                promised |= self._say(call.place, kind, flags, body)
        return promised

    def _hear(self, call: Call) -> None:
        packets = self._mqtt.get((call.place, False))
        for kind, flags, body in packets.feed(call.data) if packets else ():
            if kind == _PUBLISH:
                topic, mid, payload = _publish(flags, body)
                self._unanswered[call.place, mid] = topic, payload

    def _say(self, place: str, kind: int, flags: int, body: bytes) -> bool:
        if kind == _PUBACK:
            topic, payload = self._unanswered.pop((place, int.from_bytes(body[:2], "big")), ("", b""))
            parsed = topics.parse(topic)
            if parsed is None or len(payload) != reports.LENGTH:
                return False
            values = struct.unpack(reports.STRUCT, payload[: reports.PAYLOAD_LENGTH])
            of = dict(zip((name for name, _ in reports.FIELDS), values, strict=True))
            told = (of["boot"], of["counter"])
            self.said.reports[parsed[0]] = max(told, self.said.reports.get(parsed[0], (0, 0)))
            self.said.acknowledged += 1
            return True
        if kind == _PUBLISH:
            topic, _, payload = _publish(flags, body)
            if topic.endswith("/dn/" + topics.DN_ORDER):
                self.said.orders.add(Order(payload).digest.hex())
                return True
        return False


def judge(
    calls: list[Call],
    disk: Disk,
    look: Callable[[Path, Callable[[Connection], list[str]]], list[str]],
    log: str,
    folder: Path,
    seed: int = 1,
    every: int = 1,
) -> tuple[Said, list[str]]:
    """All that was said, and what of it a cut would have taken back, in sentences.

    `look(image, fn)` opens the database of an image and returns fn(conn), or sentences why it cannot · `log`: the
    signer's log, below the disk's root · `every`: so many promises are passed over for each that is tried.
    """
    listener, dice, wrong, number = Listener(), random.Random(seed), [], 0
    # A message may have left when the call that sends it begins, and has come when the call that receives it ends.
    for call in sorted(calls, key=lambda one: (one.begin if one.name in SAYS else one.end, one.name not in SAYS)):
        if not call.place.startswith("socket:"):
            disk.take(call)
            continue
        if not listener.take(call):
            continue
        number += 1
        if number % every:
            continue
        for chance in (None, dice):  # the least that is left, and something between that and all
            image = folder / f"cut-{number}"
            disk.image(image, chance)
            at = f"cut at line {call.begin}, {'the least' if chance is None else 'by chance'}: "
            wrong += [at + one for one in look(image, lambda conn: _missing(conn, listener.said))]
            wrong += [at + one for one in _unsigned(image / log, listener.said)]
            shutil.rmtree(image)
    return listener.said, wrong


def _unsigned(log: Path, said: Said) -> list[str]:
    """The log as the next signer opens it."""
    try:
        held = SignerLog(log)
    except KeyFileError as error:
        return [f"the signer cannot start: {error}"]
    wrong = [f"order {one} left and is not in the log" for one in said.orders if not held.has(bytes.fromhex(one))]
    held.close()
    return wrong


def _missing(conn: Connection, said: Said) -> list[str]:
    stored = set(conn.execute(select(payment.c.payment_id)).scalars())
    wrong = [f"payment {one} was answered and is lost" for one in sorted(said.payments - stored)]
    columns = meter_state.c.meter, meter_state.c.report_boot, meter_state.c.report_counter
    known = {row.meter: (row.report_boot or 0, row.report_counter or 0) for row in conn.execute(select(*columns))}
    return wrong + [
        f"report {one} of meter {number} was acknowledged and is lost"
        for number, one in said.reports.items()
        if known.get(number, (0, 0)) < one
    ]
