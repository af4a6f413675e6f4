"""What `--fault` breaks, one thing each, and which step must notice: the demo's checks are themselves checked."""

from collections.abc import Callable
from dataclasses import dataclass

from meterlink import batches, bodies, orders, topics
from openprepay.demo.wire import DOWN, UP, Rule

WELD = "weld"
DROP_RECEIPTS = "drop-receipts"
CORRUPT_RECORD = "corrupt-record"
HOLD_PAYMENT = "hold-payment"

CORRUPTED_SEQ = 4
_SILENCED = (topics.UP_RECEIPT, topics.UP_REPORT)


@dataclass(frozen=True)
class Fault:
    """`help`: what it breaks, for people · `meter`: at which meter · `rule`: makes that of a broken wire, if any."""

    help: str
    meter: str
    rule: Callable[[], Rule] | None = None


def _drop_receipts() -> Rule:
    """From the first order on, nothing comes back that would prove anything."""
    ordered = False

    def rule(direction: str, topic: str, payload: bytes) -> bytes | None:
        nonlocal ordered
        place = topics.parse(topic)
        if place is None:
            return payload
        ordered = ordered or (direction == DOWN and place[2] == topics.DN_ORDER)
        return None if ordered and direction == UP and place[2] in _SILENCED else payload

    return rule


def _corrupt(direction: str, topic: str, payload: bytes) -> bytes | None:
    """One bit of one interval record, whenever it passes: pushed, said again, or fetched as a gap."""
    place = topics.parse(topic)
    if direction != UP or place is None or place[2] != topics.UP_INTERVALS:
        return payload
    first, count = int.from_bytes(payload[34:38], "big"), int.from_bytes(payload[38:40], "big")
    if not first <= CORRUPTED_SEQ < first + count:
        return payload
    at = batches.HEAD_LENGTH + 24 * (CORRUPTED_SEQ - first) + 17  # low byte of import_wh
    return payload[:at] + bytes((payload[at] ^ 1,)) + payload[at + 1 :]


def _hold(direction: str, topic: str, payload: bytes) -> bytes | None:
    """Credit orders from the second sale on stay on the way."""
    place = topics.parse(topic)
    if direction != DOWN or place is None or place[2] != topics.DN_ORDER:
        return payload
    stated = orders.Order(payload).stated
    held = stated.aspect == orders.ASPECT_CREDIT and len(bodies.decode_credit(stated.body)[2]) > 1
    return None if held else payload


FAULTS = {
    WELD: Fault("the relay of A is welded", "A"),
    DROP_RECEIPTS: Fault("receipts and reports of B never arrive, from its first order on", "B", _drop_receipts),
    CORRUPT_RECORD: Fault(
        f"interval record {CORRUPTED_SEQ} of B is corrupted on its way, whenever it is sent", "B", lambda: _corrupt
    ),
    HOLD_PAYMENT: Fault("the second payment for B is taken, and its order held back on the way", "B", lambda: _hold),
}
