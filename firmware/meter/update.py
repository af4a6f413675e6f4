"""An update of the firmware: an image comes in pieces, is checked, ordered, tried, and marked good or rolled back.

    idle -> receiving -> checking -> whole -> armed -> trial -> good
                            |                            |
                            +--> idle (refused)          +-> rolled back

What comes proves nothing: a started image is one that a held `firmware` order names by length and SHA-256. Image and
order may come in either order. Pieces come in a row; what is durable is told by sector, so a power cut costs the pieces
of one. A sector is erased before its first piece, an image that nobody ordered may begin `BEGINS` times at once and
then once in `BEGIN_EVERY_S`, so nobody can wear the flash out.

A start on trial is a clean stop: the journal knows of it before the boot stage does. The journal is never rolled back,
whatever becomes of the image.
"""

import hashlib
import struct

from meter.release import JOURNAL, LEGAL_VERSION, RELEASE
from meter.slots import REASON_TEST, SECTOR_BYTES, SLOT_BYTES
from meter.store import KEY_UPDATE
from meterlink import bodies_root, events, image, orders, results, states

QUIET_S = 10  # that an ordered image waits, so that the verdict on its order is fetched before
TEST_S = 60  # seconds of metering that a self-test takes
LIMIT_S = 1800  # in which it has to be passed
BEGINS = 4
BEGIN_EVERY_S = 7200

_STATE = ">BBBBHIII32sH8s"
_SLICE = 1024
_BUSY = (states.UPDATE_ARMED, states.UPDATE_TRIAL)


class Update:
    """Kept (see `core.Meter.kept`). state: states.UPDATE_* · slot, length, digest: of the image under way · received:
    bytes of it · result: results.*, what became of the last one · restart: the shell is to start the board again ·
    legal_sha256: of the legally relevant part that runs, zeros where it is built in."""

    key = KEY_UPDATE

    def __init__(self, meter) -> None:
        self._meter = meter
        self.slots = meter.board.slots
        self.fresh = False
        self.restart = False
        self.state = states.UPDATE_IDLE
        self.slot = 0
        self.result = results.NONE
        self.length = 0
        self.received = 0
        self.digest = bytes(32)
        self.legal_sha256 = bytes(32)
        self.trial_s = 0
        self._by_broker = 0  # whether the image came over a broker
        self._tried = (0, 0)  # signing epoch and version of the last order that was carried out
        self._kept = 0  # bytes received that a power cut leaves
        self._legal = (0, bytes(8))  # version and hash of the legally relevant part that ran last
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._armed_s = 0
        self._sequence = 0
        self._spoke = 0  # bit 0: an answer has left on a Modbus link, bit 1: a broker has acknowledged something
        self._begins = BEGINS
        self._begin_s = 0

    def pack(self) -> bytes:
        """For the journal: state 1, slot 1, result 1, by broker 1, tried 2 + 4, length 4, kept 4, SHA-256 32, legal
        version 2, first 8 bytes of the legal SHA-256. Every release reads it: a rollback comes to one that is older."""
        return struct.pack(
            _STATE,
            self.state,
            self.slot,
            self.result,
            self._by_broker,
            *self._tried,
            self.length,
            self._kept,
            self.digest,
            *self._legal,
        )

    def unpack(self, raw: bytes) -> None:
        """From the journal."""
        f = struct.unpack(_STATE, raw)
        self.state, self.slot, self.result, self._by_broker = f[:4]
        self._tried, self._legal = f[4:6], f[9:]
        self.length, self._kept, self.digest = f[6:9]

    def start(self) -> None:
        """After `unpack`: go on where the boot stage has come to; the caller commits."""
        slots = self.slots
        self.received = self._kept if self.state <= states.UPDATE_RECEIVING else self.length
        if slots:
            if slots.trial:
                self.state = states.UPDATE_TRIAL
                self.slot = slots.trial
                self._sequence = self._meter.store.journal.sequence + 1  # that of this start itself
            elif self.state == states.UPDATE_TRIAL:
                if slots.failed:
                    self._become(states.UPDATE_ROLLED_BACK, results.ROLLED_BACK)
                    self._meter.note(events.UPDATE_ROLLED_BACK, slots.failed, slots.reason)
                elif slots.good == self.slot:
                    self._good()
                else:  # power went before the boot stage was told
                    self.state = states.UPDATE_ARMED
            if slots.running:
                try:
                    self.legal_sha256 = self._manifest(slots.running).legal_sha256
                except (OSError, image.ImageError):
                    pass  # flash that decays in its last page; what runs has passed its self-test
        legal = LEGAL_VERSION, self.legal_sha256[:8]
        if legal != self._legal:
            if self._legal[0]:
                self._meter.note(events.LEGAL_PART_CHANGED, LEGAL_VERSION, self._legal[0])
            self._legal = legal
            self.fresh = True

    def _become(self, state: int, result: int) -> None:
        self.state, self.result = state, result
        self.fresh = True

    # -- pieces --------------------------------------------------------------------------------------------------------

    def take(self, carrier: int, record: int, data: "bytes | memoryview") -> int:
        """A record has come: results.APPLIED where it is here now; else why not, and nothing has changed. BODY_MISSING:
        it is not the next one; BUSY: another image goes first, or too many have begun."""
        if self.slots is None:
            return results.NOT_IMPLEMENTED
        if not record:
            return self._offer(carrier, bytes(data))
        at = (record - 1) * image.PIECE
        if at < self.received:
            return results.APPLIED
        if self.state != states.UPDATE_RECEIVING or at > self.received:
            return results.BODY_MISSING
        if len(data) != min(image.PIECE, self.length - at):
            return results.BAD_LENGTH
        return self._write(at, bytes(data))

    def _offer(self, carrier: int, raw: bytes) -> int:
        try:
            length, digest = image.read_offer(raw)
        except image.ImageError:
            return results.BAD_IMAGE
        if length > SLOT_BYTES:
            return results.BAD_IMAGE
        by_broker = int(carrier == self._meter.CARRIER_MQTT)
        here = states.UPDATE_RECEIVING <= self.state <= states.UPDATE_GOOD
        if here and (length, digest) == (self.length, self.digest):
            if self.state == states.UPDATE_RECEIVING:
                self._by_broker = by_broker
            return results.APPLIED
        named = self._ordered()
        under_way = here and self.state <= states.UPDATE_WHOLE
        if self.state in _BUSY or (under_way and named and self.digest == named[3]) or not self._begins:
            return results.BUSY
        self._begins -= 1
        self.slot = self.slots.spare()
        self.length, self.digest = length, digest
        self.received = self._kept = 0
        self._by_broker = by_broker
        self._become(states.UPDATE_RECEIVING, results.PENDING)
        return results.APPLIED

    def _write(self, at: int, data: bytes) -> int:
        if self._meter.senses.brown_out:
            return results.BUSY
        try:
            if not at % SECTOR_BYTES:
                self.slots.erase(self.slot, at)
            self.slots.program(self.slot, at, data)
        except OSError:
            self.received = at // SECTOR_BYTES * SECTOR_BYTES  # it is erased again
            return results.STORAGE_FAILED
        self.received = at + len(data)
        if self.received == self.length:
            self._hashed = 0
            self._become(states.UPDATE_CHECKING, results.PENDING)
        elif not self.received % SECTOR_BYTES:
            self._kept = self.received
            self.fresh = True
            self._meter.commit([])  # or with the next checkpoint, where flash does not take it now
        return results.APPLIED

    # -- what it is worth ----------------------------------------------------------------------------------------------

    def checking(self) -> bool:
        """Whether `slice` has something to do."""
        return self.state == states.UPDATE_CHECKING

    def slice(self) -> None:
        """Hash a piece of the image; with the last one it is judged."""
        if not self._hashed:
            self._hash = hashlib.sha256()
        part = bytearray(min(_SLICE, self.length - self._hashed))
        try:
            self.slots.read(self.slot, self._hashed, part)
        except OSError:
            self._refuse(results.STORAGE_FAILED)
            return
        self._hash.update(part)
        self._hashed += len(part)
        if self._hashed == self.length:
            code = self._judge(self._hash.digest())
            if code:
                self._refuse(code)
            else:
                self._become(states.UPDATE_WHOLE, results.PENDING)
                self._meter.note(events.UPDATE_RECEIVED, self._release(), self.slot)

    def _judge(self, digest: bytes) -> int:
        """Why the image is refused, or 0."""
        if digest != self.digest or self.slots.length(self.slot) != self.length:
            return results.BAD_IMAGE
        try:
            found = self._manifest(self.slot)
        except image.ImageError:
            return results.BAD_IMAGE
        if found.board != self._meter.board.name:
            return results.WRONG_BOARD
        if found.release < RELEASE or found.legal_version < LEGAL_VERSION:
            return results.DOWNGRADE
        return results.JOURNAL_NEWER if found.journal > JOURNAL else 0

    def _refuse(self, code: int) -> None:
        self.received = self._kept = 0
        self._become(states.UPDATE_IDLE, code)
        self._meter.note(events.UPDATE_REFUSED, code, self.slot)

    def _manifest(self, slot: int):
        raw = bytearray(image.MANIFEST_LENGTH)
        self.slots.read(slot, max(0, self.slots.length(slot) - len(raw)), raw)
        return image.read_manifest(bytes(raw))

    def _release(self) -> int:
        return _packed(self._manifest(self.slot).release)

    def _ordered(self) -> "tuple | None":
        """(release, legal version, length, SHA-256, order's version) of the `firmware` order that is held and was not
        carried out yet; None where there is none."""
        raw = self._meter.held_order(orders.ASPECT_FIRMWARE, 0)
        if not raw:
            return None
        stated = orders.Order(raw).stated
        version = stated.signing_epoch, stated.version
        try:
            return bodies_root.decode_firmware(stated.body) + (version,) if version > self._tried else None
        except orders.OrderError:
            return None

    # -- a second ------------------------------------------------------------------------------------------------------

    def step(self, elapsed_s: int) -> None:
        """Once a second, after the meter has metered."""
        if self._begins < BEGINS:
            self._begin_s += elapsed_s
            if self._begin_s >= BEGIN_EVERY_S:
                self._begin_s = 0
                self._begins += 1
        work = _WORK.get(self.state)
        if work:
            try:
                work(self, elapsed_s)
            except (OSError, image.ImageError):
                if self.state != states.UPDATE_TRIAL:  # there the boot stage counts the starts
                    self._refuse(results.STORAGE_FAILED)

    def _whole(self, elapsed_s: int) -> None:
        """Wait for the order; it must name what is here."""
        named = self._ordered()
        if not named or named[2:4] != (self.length, self.digest):
            return
        found = self._manifest(self.slot)
        self._tried = named[4]
        if named[:2] != (found.release, found.legal_version):
            self._refuse(results.BAD_IMAGE)
            return
        self._armed_s = 0
        self._become(states.UPDATE_ARMED, results.PENDING)

    def _armed(self, elapsed_s: int) -> None:
        """Wait for a quiet moment: nothing is being verified, and the relay is not about to move."""
        meter = self._meter
        self._armed_s += elapsed_s
        moving = meter.verifying or meter.senses.brown_out or meter.supply.pending()[0] != states.PENDING_NONE
        if self._armed_s < QUIET_S or moving:
            return
        mark = meter.log.mark()
        meter.note(events.UPDATE_STARTED, self._release(), self.slot)
        self._become(states.UPDATE_TRIAL, results.PENDING)
        if not meter.power_down():
            meter.log.forget(mark)
            self._become(states.UPDATE_ARMED, results.PENDING)
            self._armed_s = 0
            return
        try:
            self.slots.arm(self.slot)
        except OSError:
            self._refuse(results.STORAGE_FAILED)
            return
        self.restart = True

    def _trial(self, elapsed_s: int) -> None:
        """The self-test: seconds of metering, a commit, and an answer on the kind of link that brought the image, which
        has to bring the next one too."""
        self.trial_s += elapsed_s
        if self._passed():
            self.slots.mark_good()
            self._good()
        elif self.trial_s >= LIMIT_S:
            self.slots.roll_back(REASON_TEST)
            self.restart = True

    def _passed(self) -> bool:
        meter = self._meter
        if self.trial_s < TEST_S or meter.store.failed or meter.store.journal.sequence <= self._sequence:
            return False
        if meter.alarms() >> states.ALARM_METERING & 1:
            return False
        return bool(self._spoke >> self._by_broker & 1)

    def spoke(self, carrier: int) -> None:
        """An answer has left on a link, or a broker has acknowledged what was said."""
        self._spoke |= 1 << (carrier == self._meter.CARRIER_MQTT)

    def _good(self) -> None:
        self._become(states.UPDATE_GOOD, results.APPLIED)
        self._meter.note(events.UPDATE_GOOD, _packed(RELEASE), self.slot)

    # -- what is shown -------------------------------------------------------------------------------------------------

    def alarm(self) -> bool:
        """An image is on trial, or the last one was rolled back."""
        return self.state in (states.UPDATE_TRIAL, states.UPDATE_ROLLED_BACK)

    def next_record(self) -> int:
        """The record that is expected; 0: an offer."""
        return self.received // image.PIECE + 1 if self.state == states.UPDATE_RECEIVING else 0

    def running(self) -> int:
        """The slot of the image that runs; 0: built in."""
        return self.slots.running if self.slots else 0

    def left_s(self) -> int:
        """Seconds that a trial has left."""
        return max(0, LIMIT_S - self.trial_s) if self.state == states.UPDATE_TRIAL else 0

    def progress(self) -> bytes:
        """`image.Progress` for a broker."""
        return image.Progress(
            self.state, self.running(), self.result, self.length, self.digest[:8], self.next_record(), RELEASE
        ).pack()


def _packed(release: "tuple[int, int, int]") -> int:
    major, minor, patch = release
    return major << 16 | minor << 8 | patch


_WORK = {
    states.UPDATE_WHOLE: Update._whole,
    states.UPDATE_ARMED: Update._armed,
    states.UPDATE_TRIAL: Update._trial,
}
