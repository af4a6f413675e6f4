"""A meter on a RamBoard with two places for images, and small images for it. Both interpreters."""

import hashlib

from meter import release, slots
from meterlink import image, orders, results, states
from metersim.flash import NorFlash
from tests.firmware.ramboard import RamBoard, Rig

NEXT = (release.RELEASE[0], release.RELEASE[1], release.RELEASE[2] + 1)
HELD = 8192 + 1000  # bytes of the images: three sectors, the last in part


def make(length=HELD, version=NEXT, legal=release.LEGAL_VERSION, board="ram", journal=release.JOURNAL, seed=7):
    """An image of `length` bytes: head of a ROMFS, noise, manifest."""
    noise = b""
    while len(noise) < length:
        noise += hashlib.sha256(bytes((seed, len(noise) >> 8 & 0xFF, len(noise) & 0xFF))).digest()
    manifest = image.Manifest(version, legal, journal, board, hashlib.sha256(b"legal").digest()).pack()
    inside = length - 7
    groups = bytes([0x80 | inside >> shift & 0x7F for shift in (21, 14, 7)] + [inside & 0x7F])
    return b"\xd2\xcd\x31" + groups + noise[: length - 7 - len(manifest)] + manifest


class Updated(Rig):
    """`Rig` with slots; `raw`: the image that it is given."""

    def __init__(self, flash=None, slot_flash=None, raw=None, commission=True):
        board = RamBoard(flash)
        board.name = "ram"
        self.slot_flash = slot_flash or NorFlash(slots.TOTAL_SECTORS, unit_bytes=8)
        self.raw = raw or make()
        self.carrier = 0
        Rig.__init__(self, board, commission=commission)

    def boot(self):
        """The boot stage chooses, the application starts."""
        board = self.board
        board.slots = slots.Slots(self.slot_flash)
        board.slots.running = board.slots.choose()
        Rig.boot(self)

    @property
    def update(self):
        return self.meter.update

    def order_image(self, raw=None, **changed):
        """The order that names an image."""
        raw = raw or self.raw
        found = image.read_manifest(raw)
        fields = {"version": found.release, "legal": found.legal_version, "digest": hashlib.sha256(raw).digest()}
        fields.update(changed)
        body = bytes((1,)) + bytes(fields["version"]) + fields["legal"].to_bytes(2, "big")
        return self.order(orders.ASPECT_FIRMWARE, body + len(raw).to_bytes(4, "big") + fields["digest"])

    def offer(self, raw=None, digest=None):
        raw = raw or self.raw
        return self.update.take(self.carrier, 0, image.pack_offer(len(raw), digest or hashlib.sha256(raw).digest()))

    def send(self, until=None):
        """Pieces from where the meter is up to record `until`; the code of the last."""
        code = results.APPLIED
        last = image.records(len(self.raw)) if until is None else until
        while code == results.APPLIED and 0 < self.update.next_record() <= last:
            number = self.update.next_record()
            code = self.update.take(self.carrier, number, self.raw[(number - 1) * image.PIECE : number * image.PIECE])
        return code

    def receive(self, raw=None):
        """Offer and send an image, and have it checked; the state that it has come to."""
        self.raw = raw or self.raw
        assert self.offer() == results.APPLIED
        assert self.send() == results.APPLIED
        while self.meter.verify_slice():
            pass
        self.run(1)
        return self.update.state

    def until_restart(self, seconds=60):
        """Live until the meter wants to be started again."""
        while not self.update.restart:
            assert seconds, states
            self.run(1)
            seconds -= 1

    def talk(self, carrier=0):
        """Somebody was answered."""
        self.update.spoke(carrier)
