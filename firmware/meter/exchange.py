"""What the meter says and hears over a broker: pure, so that the shell and a simulated network share it.

The record rings are the outbox: a batch is said, and said again after `replay_ms`, until the head end's own
acknowledgement has moved the cursor; that the broker has it means nothing. What is heard is bounded: one order under
verification, at most `MAX_ASKS` questions waiting (a further one is dropped: the head end asks again).
"""

from meterlink import batches, image, reports, results, states, topics
from meterlink.batches import BatchError
from meterlink.parcels import ParcelError

MAX_ASKS = 4
_TICKS_MASK = 0x3FFFFFFF  # MicroPython's tick period is a multiple of 2^30 on every port
_KINDS = (batches.KIND_INTERVALS, batches.KIND_EVENTS)
_TOPIC = {
    batches.KIND_INTERVALS: topics.UP_INTERVALS,
    batches.KIND_EVENTS: topics.UP_EVENTS,
    batches.KIND_REPORT: topics.UP_REPORT,
    batches.KIND_ORDER: topics.UP_ORDER,
    batches.KIND_CLOSING: topics.UP_CLOSING,
    batches.KIND_HELD: topics.UP_HELD,
    batches.KIND_RECEIPT: topics.UP_RECEIPT,
}


class Exchange:
    """One meter on one broker. `refused`: questions, acknowledgements and messages that were not taken."""

    def __init__(self, meter, replay_ms: int) -> None:
        self._meter = meter
        self._replay_ms = replay_ms
        asks: "list[bytes]" = []
        said_ms: "dict[int, int]" = {}
        self._asks = asks
        self._said_ms = said_ms  # record kind -> when its batch was last said
        self.refused = 0
        self._progress_due = False
        self._told = states.UPDATE_IDLE  # how far an update was when that was said last

    def birth(self) -> bytes:
        """What is said first on every connection, retained."""
        self._said_ms.clear()
        return self._meter.report(reports.KIND_BIRTH, reports.NO_NONCE, 0, 0)

    def hear(self, what: str, payload: bytes) -> None:
        """Take a message of topic dn/`what`: cheap checks only, the rest is `say`'s and the verification's."""
        self._meter.heard_s[self._meter.CARRIER_MQTT] = self._meter.mono_s
        if what == topics.DN_ORDER:
            self._meter.submit(self._meter.CARRIER_MQTT, payload)
        elif what == topics.DN_ASK and len(self._asks) < MAX_ASKS:
            self._asks.append(bytes(payload))
        elif what == topics.DN_ACK:
            self._acknowledged(payload)
        elif what == topics.DN_PARCEL:
            self._parcel(payload)
        elif what == topics.DN_IMAGE:
            self._image(payload)
        else:
            self.refused += 1

    def _parcel(self, payload: bytes) -> None:
        try:
            self._meter.parcels.take(self._meter.CARRIER_MQTT, payload)
        except ParcelError:
            self.refused += 1

    def _image(self, payload: bytes) -> None:
        """Records of an image up to the first that is not taken; what is said next tells how far it is."""
        try:
            for record, data in image.read_message(payload):
                if self._meter.update.take(self._meter.CARRIER_MQTT, record, data) != results.APPLIED:
                    self.refused += 1
                    break
            self._progress_due = True
        except image.ImageError:
            self.refused += 1

    def _acknowledged(self, payload: bytes) -> None:
        try:
            if self._meter.ack(payload):  # else the next batch is the one that was said
                self._said_ms.clear()
        except BatchError:
            self.refused += 1

    def say(self, now_ms: int) -> "tuple[str, bytes] | None":
        """(topic up/…, payload) of the next message that is due: receipts before answers before replay; None for none.

        now_ms: any millisecond counter that wraps at a multiple of 2^30.
        """
        receipt = self._meter.take_receipt()
        if receipt:
            return topics.UP_RECEIPT, receipt
        update = self._meter.update
        if self._progress_due or self._told != update.state:
            self._progress_due = False
            self._told = update.state
            return topics.UP_UPDATE, update.progress()
        while self._asks:
            answer = self._answer(self._asks.pop(0))
            if answer:
                return answer
        for kind in _KINDS:
            said_ms = self._said_ms.get(kind)
            if said_ms is not None and (now_ms - said_ms) & _TICKS_MASK < self._replay_ms:
                continue
            batch = self._meter.replay(kind)
            if batch:
                self._said_ms[kind] = now_ms
                return _TOPIC[kind], batch
        return None

    def acknowledged(self) -> None:
        """The broker has what was said."""
        self._meter.update.spoke(self._meter.CARRIER_MQTT)

    def _answer(self, ask: bytes) -> "tuple[str, bytes] | None":
        try:
            kind, reply = self._meter.ask(ask)
        except BatchError:
            self.refused += 1
            return None
        return _TOPIC[kind], reply
