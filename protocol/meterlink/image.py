"""Images of the firmware: the manifest that each carries, and how one travels to a meter.

An image is a ROMFS of MicroPython, padded to a multiple of 8 bytes; its last file is the manifest, so the manifest is
the last 64 bytes. What an image is worth, the signed `firmware` order says that names its length and SHA-256: nothing
that travels here proves anything.

It travels as records. Record 0 is the *offer* of an image; record n carries piece n - 1, 128 bytes, the last one what
is left. A meter that holds pieces of the offered image already goes on behind them, and says where in its *progress*.
"""

import struct

FORMAT = 1

MAGIC = b"OPFW"
_MANIFEST = ">4sBBBBHBx16s32s4x"
MANIFEST_LENGTH = 64
BOARD_LENGTH = 16

PIECE = 128  # bytes; a divisor of a flash sector, and one FC 21 with its echo
UNIT = 8  # an image is a multiple of it: what some flash programs at once
MAX_LENGTH = 9999 * PIECE  # as records are numbered up to 9999 (AP 6.15)
MAX_PIECES = 7  # in one message on a broker: what a meter's packet buffer takes

_OFFER = ">BxI32s"
OFFER_LENGTH = 38
_PROGRESS = ">BBBBI8sHHBBBx"
PROGRESS_LENGTH = 24


class ImageError(ValueError):
    """Not an image, an offer or a progress; the text says why."""


class Manifest:
    """What an image says of itself: release (major, minor, patch) · legal_version · journal: the newest format of the
    journal that it writes · board: name of the board that it is for · legal_sha256: of the legally relevant modules'
    sources."""

    def __init__(
        self, release: "tuple[int, int, int]", legal_version: int, journal: int, board: str, legal_sha256: bytes
    ) -> None:
        self.release = release
        self.legal_version = legal_version
        self.journal = journal
        self.board = board
        self.legal_sha256 = legal_sha256

    def pack(self) -> bytes:
        """64 bytes: magic "OPFW", format 1, major 1, minor 1, patch 1, legal version 2, journal 1, zero 1, board 16
        (ASCII, padded with zeros), SHA-256 32, zeros 4."""
        board = self.board.encode()
        if not 0 < len(board) <= BOARD_LENGTH:
            raise ImageError("board: {!r} given, 1..{} bytes expected".format(self.board, BOARD_LENGTH))
        return struct.pack(
            _MANIFEST, MAGIC, FORMAT, *self.release, self.legal_version, self.journal, board, self.legal_sha256
        )


def read_manifest(raw: bytes) -> Manifest:
    """The manifest at the end of `raw`; ImageError where there is none."""
    if len(raw) < MANIFEST_LENGTH or raw[-MANIFEST_LENGTH:][:5] != MAGIC + bytes((FORMAT,)):
        raise ImageError("image: {} bytes without a manifest at their end".format(len(raw)))
    f = struct.unpack(_MANIFEST, raw[-MANIFEST_LENGTH:])
    try:
        board = f[7].rstrip(b"\0").decode()
    except UnicodeError:
        raise ImageError("manifest: board {!r} given, ASCII expected".format(f[7]))
    return Manifest(f[2:5], f[5], f[6], board, f[8])


def pack_offer(length: int, sha256: bytes) -> bytes:
    """Record 0, 38 bytes: format 1, zero 1, length 4, SHA-256 32."""
    return struct.pack(_OFFER, FORMAT, length, sha256)


def read_offer(raw: bytes) -> "tuple[int, bytes]":
    """(length, SHA-256); ImageError where it is no offer of an image."""
    if len(raw) != OFFER_LENGTH:
        raise ImageError("offer: {} bytes given, {} expected".format(len(raw), OFFER_LENGTH))
    form, length, sha256 = struct.unpack(_OFFER, bytes(raw))
    if form != FORMAT or length % UNIT or not MANIFEST_LENGTH <= length <= MAX_LENGTH:
        raise ImageError("offer: format {}, {} bytes given".format(form, length))
    return length, sha256


def records(length: int) -> int:
    """How many pieces an image of `length` bytes has: the number of its last record."""
    return (length + PIECE - 1) // PIECE


class Progress:
    """How far a meter is with an image: state (states.UPDATE_*), slot that runs (0: built in), result (results.*),
    length and digest8 of the image under way, next_record that it expects (0: an offer), release that runs."""

    def __init__(
        self,
        state: int,
        running: int,
        result: int,
        length: int,
        digest8: bytes,
        next_record: int,
        release: "tuple[int, int, int]",
    ) -> None:
        self.state = state
        self.running = running
        self.result = result
        self.length = length
        self.digest8 = digest8
        self.next_record = next_record
        self.release = release

    def pack(self) -> bytes:
        """24 bytes: format 1, state 1, running 1, result 1, length 4, first 8 bytes of the SHA-256, next record 2,
        records 2, release 3, zero 1."""
        return struct.pack(
            _PROGRESS,
            FORMAT,
            self.state,
            self.running,
            self.result,
            self.length,
            self.digest8,
            self.next_record,
            records(self.length),
            *self.release,
        )


def read_progress(raw: bytes) -> Progress:
    """`Progress.pack` again; ImageError where it is none."""
    if len(raw) != PROGRESS_LENGTH or raw[0] != FORMAT:
        raise ImageError("progress: {} bytes given, {} expected".format(len(raw), PROGRESS_LENGTH))
    f = struct.unpack(_PROGRESS, raw)
    return Progress(f[1], f[2], f[3], f[4], f[5], f[6], f[8:11])


def pack_message(first: int, payloads: "list[bytes]") -> bytes:
    """Records from `first` on for a broker: first 2, then their bytes; several only where they are pieces."""
    return struct.pack(">H", first) + b"".join(payloads)


def read_message(raw: bytes) -> "list[tuple[int, bytes]]":
    """(record, its bytes) of a message; ImageError where it holds none, or too many."""
    if not 2 < len(raw) <= 2 + MAX_PIECES * PIECE:
        raise ImageError("image message: {} bytes given".format(len(raw)))
    first = raw[0] << 8 | raw[1]
    found: "list[tuple[int, bytes]]" = []
    for at in range(2, len(raw), PIECE):
        found.append((first + len(found), bytes(raw[at : at + PIECE])))
    return found
