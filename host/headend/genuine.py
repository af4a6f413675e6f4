"""What came from a meter, before anything of it is stored: genuine, of the meter that it names and of the kind that
belongs on its topic; or `NotTaken`, with the reason by which it is counted.

The carrier is never believed: a message names its meter, and only a key that this meter holds made it.
"""

from typing import Protocol

from headend.orders import keys_held
from headend.refusals import Refused
from headend.store import Store
from meterlink import reports, topics
from meterlink.batches import HEAD_LENGTH, KIND_EVENTS, KIND_HELD, KIND_INTERVALS, MAX_LENGTH, Batch, BatchError
from meterlink.mac import MAC_LENGTH, MacKey
from meterlink.orders import MAX_METER, Order, OrderError
from meterlink.reports import Report, ReportError

# Why a message was not taken; each is counted under its name.
UNKNOWN_TOPIC = "unknown_topic"
UNKNOWN_METER = "unknown_meter"
WRONG_METER = "wrong_meter"  # it names another meter than the one it is said to come from
WRONG_KIND = "wrong_kind"  # genuine, on a topic that is not for it
NO_KEY = "no_key"
OTHER_KEY = "other_key"  # made under a version of the meter's key that is not its own, or no longer
MALFORMED = "malformed"
FORGED = "forged"
NO_SIGNER = "no_signer"  # an order that a meter holds, and nobody is there to tell whether we signed it

_KEY_VERSION_AT = 8  # in reports and batches alike
_REPORT_KIND = {
    topics.UP_STATE: reports.KIND_BIRTH,
    topics.UP_RECEIPT: reports.KIND_RECEIPT,
    topics.UP_REPORT: reports.KIND_REPORT,
    topics.UP_CLOSING: reports.KIND_CLOSING,
}
_BATCH_KIND = {
    topics.UP_INTERVALS: KIND_INTERVALS,
    topics.UP_EVENTS: KIND_EVENTS,
    topics.UP_HELD: KIND_HELD,
}


class Keys(Protocol):
    """What is needed of the key store."""

    def mac_key(self, meter: int, version: int) -> MacKey: ...


class NotTaken(Exception):
    """A message that is counted as `why` and left."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Checker:
    """Each method takes the number of the meter that a message is said to come from, and raises NotTaken.

    What is called fresh: the message was made under the coming version of the meter's key, and brings it into force.
    """

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys

    def will(self, number: int, raw: bytes) -> int:
        """The boot that a will is of. It does not say its key: it may have been left before the key was changed."""
        for version in self._held(number, raw).accepted():
            try:
                return reports.read_will(raw, self._mac_key(number, version))[1]
            except ReportError:
                continue
        raise NotTaken(FORGED)

    def report(self, number: int, what: str, raw: bytes) -> tuple[Report, bool]:
        """A report of the kind that goes with its topic, and whether its key is fresh."""
        if len(raw) != reports.LENGTH:
            raise NotTaken(MALFORMED)
        key, fresh = self._key(number, raw)
        try:
            report = Report(raw, key)
        except ReportError as error:
            raise NotTaken(FORGED) from error
        if report.kind != _REPORT_KIND[what]:
            raise NotTaken(WRONG_KIND)
        return report, fresh

    def batch(self, number: int, what: str, raw: bytes) -> tuple[Batch, MacKey, bool]:
        """A batch of the kind that goes with its topic, its key, and whether that is fresh."""
        if not HEAD_LENGTH + MAC_LENGTH <= len(raw) <= MAX_LENGTH:
            raise NotTaken(MALFORMED)
        key, fresh = self._key(number, raw)
        try:
            batch = Batch(raw, key)
        except BatchError as error:
            raise NotTaken(FORGED) from error
        if batch.kind != _BATCH_KIND[what]:
            raise NotTaken(WRONG_KIND)
        return batch, key, fresh

    def order(self, number: int, raw: bytes) -> Order:
        """An order for this meter; whether it was signed, and by whom, the signer tells."""
        try:
            held = Order(raw)
        except OrderError as error:
            raise NotTaken(MALFORMED) from error
        if held.stated.meter != number:
            raise NotTaken(WRONG_METER)
        return held

    def _key(self, number: int, raw: bytes) -> tuple[MacKey, bool]:
        """The key that the message says to be made under, where the meter holds it; and whether it is fresh."""
        held, version = self._held(number, raw), raw[_KEY_VERSION_AT]
        if version not in held.accepted():
            raise NotTaken(OTHER_KEY)
        return self._mac_key(number, version), version == held.coming

    def _held(self, number: int, raw: bytes) -> keys_held.Held:
        """The versions of the key that the meter holds which the message names."""
        if not 0 < number <= MAX_METER:
            raise NotTaken(UNKNOWN_METER)
        held = self._store.read(keys_held.versions, number)
        if held is None:
            raise NotTaken(UNKNOWN_METER)
        try:
            if reports.meter_of(raw) != number:
                raise NotTaken(WRONG_METER)
        except ReportError as error:
            raise NotTaken(MALFORMED) from error
        return held

    def _mac_key(self, number: int, version: int) -> MacKey:
        try:
            return self._keys.mac_key(number, version)
        except Refused as error:
            raise NotTaken(NO_KEY) from error
