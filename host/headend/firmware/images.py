"""Images that the head end keeps, to bring them to meters. An image never changes; it can be withdrawn."""

from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.firmware import vendor, words  # noqa: F401 - the words of the audit
from headend.firmware.lifecycle import STOPPED, UNDER_WAY
from headend.links import image as links_image
from headend.links.image import Image
from headend.refusals import Refused
from headend.store.schema_firmware import firmware_delivery, firmware_image
from meterlink import image as wire
from meterlink import stating

MAX_NOTE = 200

_SEEN = [column for column in firmware_image.c if column.name != "raw"]
_ONE = select(*_SEEN).where(firmware_image.c.id == bindparam("of"))
_LOCKED = _ONE.with_for_update()
_ALL = select(*_SEEN).order_by(firmware_image.c.id.desc()).limit(bindparam("most"))
_BY_HASH = select(*_SEEN).where(firmware_image.c.sha256 == bindparam("of"))
_RAW = select(firmware_image.c.raw).where(firmware_image.c.id == bindparam("of"))
_KEEP = insert(firmware_image).returning(firmware_image.c.id)
_STOP = update(firmware_delivery).where(
    firmware_delivery.c.image == bindparam("of"), firmware_delivery.c.state.in_(UNDER_WAY)
)
_WITHDRAW = update(firmware_image).where(firmware_image.c.id == bindparam("of")).values(withdrawn_s=bindparam("now"))


class UnknownImage(Refused):
    """No image has this number."""

    def __init__(self, number: object) -> None:
        super().__init__("image", number, "the number of an image")


class ImageWithdrawn(Refused):
    """It was withdrawn."""

    def __init__(self, number: object) -> None:
        super().__init__("image", number, "an image that was not withdrawn")


def read(raw: bytes) -> Image:
    """Raises Refused where these bytes are no image."""
    try:
        return links_image.of(raw)
    except wire.ImageError as error:
        raise Refused("image", f"{len(raw)} bytes", f"an image of the firmware ({error})") from error


def release_of(image: Image) -> int:
    """As events have it: major << 16 | minor << 8 | patch."""
    return packed(image.manifest.release)


def packed(release: tuple[int, int, int]) -> int:
    """A release in one number, by which releases are compared."""
    major, minor, patch = release
    return major << 16 | minor << 8 | patch


def parts(release: int) -> tuple[int, int, int]:
    """`packed` again."""
    return release >> 16 & 0xFF, release >> 8 & 0xFF, release & 0xFF


def text(release: int) -> str:
    """Such as 0.2.0."""
    return "{}.{}.{}".format(*parts(release))


def add(
    conn: Connection, now_s: int, image: Image, keys: vendor.Keys, signature: bytes, note: str, actor: str
) -> tuple[int, bool]:
    """Keep an image; returns its number, and whether it is new. Raises Refused where it is not signed as it has to be.

    An image that is kept already stays as it is; one that was withdrawn stays withdrawn.
    """
    if len(note) > MAX_NOTE or not note.isprintable():
        raise Refused("note", note, f"at most {MAX_NOTE} printable characters")
    if len(signature) > vendor.MAX_SIGNATURE:
        raise Refused("signature", f"{len(signature)} bytes", f"at most {vendor.MAX_SIGNATURE}")
    signed_by = vendor.signer_of(keys, image.raw, signature)
    known = conn.execute(_BY_HASH, {"of": image.sha256.hex()}).one_or_none()
    if known is not None:
        return int(known.id), False
    found = image.manifest
    row = {
        "sha256": image.sha256.hex(),
        "length": len(image.raw),
        "board": found.board,
        "release": release_of(image),
        "legal_version": found.legal_version,
        "legal_sha256": found.legal_sha256.hex(),
        "journal": found.journal,
        "signed_by": signed_by,
        "note": note,
        "actor": actor,
        "added_s": now_s,
        "raw": image.raw,
    }
    number = int(conn.execute(_KEEP, row).scalar_one())
    detail = {"sha256": image.sha256.hex(), "release": text(release_of(image)), "board": found.board}
    audit.record(conn, now_s, actor, "firmware.image_added", f"image:{number}", detail)
    return number, True


def get(conn: Connection, number: int) -> Row[Any]:
    """Its row without its bytes; raises UnknownImage."""
    row = conn.execute(_ONE, {"of": number}).one_or_none()
    if row is None:
        raise UnknownImage(number)
    return row


def usable(conn: Connection, number: int) -> Row[Any]:
    """As `get`; raises ImageWithdrawn too."""
    row = get(conn, number)
    if row.withdrawn_s is not None:
        raise ImageWithdrawn(number)
    return row


def listed(conn: Connection, limit: int = 200) -> list[Row[Any]]:
    """The newest first, without their bytes."""
    return list(conn.execute(_ALL, {"most": limit}))


def withdraw(conn: Connection, now_s: int, number: int, actor: str, why: str) -> None:
    """No campaign begins with it any more, and none that runs brings it to another meter."""
    row = conn.execute(_LOCKED, {"of": number}).one_or_none()
    if row is None:
        raise UnknownImage(number)
    if row.withdrawn_s is None:
        conn.execute(_WITHDRAW, {"of": number, "now": now_s})
        conn.execute(_STOP, {"of": number, "state": STOPPED, "moved_s": now_s, "next_s": None})
        audit.record(conn, now_s, actor, "firmware.image_withdrawn", f"image:{number}", {"why": why})


def load(conn: Connection, number: int) -> Image:
    """The image itself."""
    get(conn, number)
    return read(bytes(conn.execute(_RAW, {"of": number}).scalar_one()))


def body(row: Row[Any]) -> bytes:
    """The body of the order that names it."""
    return stating.firmware(parts(row.release), row.legal_version, row.length, bytes.fromhex(row.sha256))
