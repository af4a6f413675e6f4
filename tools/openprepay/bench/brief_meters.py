"""Many meters that say the least that meters say, genuinely sealed: births, reports and receipts, batches of intervals.

They carry out whatever they are told, at once; what they are asked they answer. Two connections stand for theirs: one
that says what comes by the clock, one that answers. Acknowledgements of records the broker has nobody to give to.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from headend.keys.keystore import KeyStore
from meterlink import batches, bodies, reports, results, states, topics
from meterlink.orders import ASPECT_CREDIT, Order
from openprepay.bench import readings
from openprepay.bench.scene import LOG_ID

_WINDOW = 2_000  # messages on their way to the broker
_PATIENCE_S = 120.0
_STATE: dict[str, Any] = {name: bytes(8) if code == "8s" else 0 for name, code in reports.FIELDS} | {
    "format": 1,
    "tag_key_version": 1,
    "boot": 1,
    "log_id": LOG_ID,
    "account_epoch": 1,
    "clock": states.CLOCK_SET,
    "control": states.CONTROL_CONNECTED,
    "contact": states.CONTACT_CLOSED,
    "load_ma": 4_000,
}


class BriefMeters:
    """Meters 1, 2, … `meters`. `said`: numbers of intervals that all of them have · `answered`: questions so far."""

    def __init__(self, keys: KeyStore, meters: int, now_s: Callable[[], int], zero_s: int) -> None:
        self.meters = range(1, meters + 1)
        self.said = 0
        self.answered = 0
        self._keys = keys
        self._now_s = now_s
        self._zero_s = zero_s
        self._counter = 0
        self._held: dict[tuple[int, int, int], Order] = {}  # (meter, aspect, selector)
        self._credited_uc: dict[int, int] = {}  # by meter; one source credits them
        self._hearing = _client("bench-heard")
        self._saying = _client("bench-said")

    def connect(self, port: int) -> None:
        """Returns when they are at the broker and hear what is said to them."""
        heard = threading.Event()
        self._hearing.on_connect = _listen
        self._hearing.on_subscribe = lambda *_: heard.set()
        self._hearing.on_message = self._told
        for client in (self._hearing, self._saying):
            client.connect("127.0.0.1", port)
            client.loop_start()
        if not heard.wait(_PATIENCE_S):
            raise RuntimeError("the broker grants no subscription")

    def leave(self) -> None:
        for client in (self._hearing, self._saying):
            client.disconnect()
            client.loop_stop()

    def be_born(self) -> None:
        """Returns when the broker has the retained births of all."""
        births = ((topics.up(one, topics.UP_STATE), self._report(one, reports.KIND_BIRTH)) for one in self.meters)
        self._say(births, retain=True)

    def bring(self, count: int) -> None:
        """The next `count` intervals of all; returns when the broker has them."""
        first = self.said + 1
        records = readings.numbered(first, count, self._zero_s)
        self.said += count
        self._say(self._batches(first, records))

    def _batches(self, first: int, records: bytes) -> Iterator[tuple[str, bytes]]:
        for one in self.meters:
            _, raw = readings.sealed(self._keys, one, first, records, self._now_s())
            yield topics.up(one, topics.UP_INTERVALS), raw

    def _say(self, messages: Iterable[tuple[str, bytes]], retain: bool = False) -> None:
        under_way: list[paho.MQTTMessageInfo] = []
        for topic, raw in messages:
            under_way.append(self._saying.publish(topic, raw, qos=1, retain=retain))
            if len(under_way) == _WINDOW:
                under_way[_WINDOW // 2].wait_for_publish(_PATIENCE_S)
                del under_way[: _WINDOW // 2]
        for one in under_way:
            one.wait_for_publish(_PATIENCE_S)

    def _told(self, _client: paho.Client, _user: object, message: paho.MQTTMessage) -> None:
        """An order or a question."""
        place = topics.parse(message.topic)
        assert place is not None, "it is one of ours"
        meter, _, what = place
        if what == topics.DN_ORDER:
            said = topics.UP_RECEIPT, self._obey(meter, Order(bytes(message.payload)))
        else:
            kind, nonce, aspect, selector, _, _ = batches.read_ask(bytes(message.payload))
            if kind != batches.KIND_REPORT:
                return
            self.answered += 1
            said = topics.UP_REPORT, self._report(meter, reports.KIND_REPORT, (aspect, selector), nonce=nonce)
        self._hearing.publish(topics.up(meter, said[0]), said[1], qos=1)

    def _obey(self, meter: int, order: Order) -> bytes:
        stated = order.stated
        self._held[meter, stated.aspect, stated.selector] = order
        if stated.aspect == ASPECT_CREDIT:
            self._credited_uc[meter] = bodies.decode_credit(stated.body)[0]
        return self._report(meter, reports.KIND_RECEIPT, (stated.aspect, stated.selector))

    def _report(self, meter: int, kind: int, subject: tuple[int, int] = (0, 0), nonce: bytes = bytes(8)) -> bytes:
        self._counter += 1
        total_uc = self._credited_uc.get(meter, 0)
        now = {"kind": kind, "meter_high": meter >> 32, "meter_low": meter & 0xFFFFFFFF, "counter": self._counter}
        now |= {"time_s": self._now_s(), "balance_uc": total_uc, "credited_uc": total_uc}
        now |= {"interval_oldest": int(self.said > 0), "interval_newest": self.said}
        told: dict[str, Any] = {"nonce": nonce, "aspect": subject[0], "selector": subject[1]}
        held = self._held.get((meter, *subject))
        if held is not None:
            told |= {"signing_epoch": held.stated.signing_epoch, "version": held.stated.version}
            told |= {"digest": held.digest[:8], "result": results.APPLIED}
        if subject[0] == ASPECT_CREDIT:
            told["source_credited_uc"] = total_uc
        values = _STATE | now | told
        return reports.pack(tuple(values[name] for name, _ in reports.FIELDS), self._keys.mac_key(meter, 1))


def _listen(client: paho.Client, *_: object) -> None:
    client.subscribe([(f"op/1/+/+/dn/{what}", 1) for what in (topics.DN_ORDER, topics.DN_ASK)])


def _client(name: str) -> paho.Client:
    client = paho.Client(CallbackAPIVersion.VERSION2, name, protocol=MQTTProtocolVersion.MQTTv311)
    client.max_queued_messages_set(0)
    client.max_inflight_messages_set(1_000)
    return client
