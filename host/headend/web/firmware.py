"""Images of the firmware that the head end keeps, and what meters run."""

import base64
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from sqlalchemy import Connection, Row, select

from headend.access.permissions import ADMIN, READ
from headend.firmware import images, vendor
from headend.fleet.meters import get_meter
from headend.refusals import Refused
from headend.store.schema_firmware import firmware_delivery, firmware_image, firmware_running
from headend.web import wire
from headend.web.campaign_views import ImageOnItsWay, image_of
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import text_of
from headend.web.wire import MeterNumber, Moment
from meterlink import image as wire_image

MAX_ID = 2**53
MAX_BYTES = 1_800_000  # of a request: the longest image in base64
MAX_BASE64 = 4 * (wire_image.MAX_LENGTH // 3 + 1)
MAX_DELIVERIES = 50

Note = Annotated[str, Meta(max_length=images.MAX_NOTE)]
Why = Annotated[str, Meta(min_length=1, max_length=200, description="Why, in words, for the record.")]


class ImageRequest(msgspec.Struct, forbid_unknown_fields=True):
    """An image, as `openprepay firmware bundle` makes it, and who made it."""

    image: Annotated[
        str, Meta(min_length=1, max_length=MAX_BASE64, pattern="^[A-Za-z0-9+/]+={0,2}$", description="In base64.")
    ]
    signature: Annotated[
        str,
        Meta(
            max_length=4 * (vendor.MAX_SIGNATURE // 3 + 1),
            pattern="^[A-Za-z0-9+/]*={0,2}$",
            description="ECDSA over the image with SHA-256, DER in base64; wanted where the setting `firmware_keys` "
            "names keys.",
        ),
    ] = ""
    note: Note = ""


class WithdrawRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A reason, for the record."""

    why: Why


class FirmwareImage(msgspec.Struct):
    """An image that is kept."""

    image: int
    release: Annotated[str, Meta(examples=["0.2.0"])]
    board: Annotated[str, Meta(description="What it is for: the `firmware` of a type of meters.")]
    sha256: Annotated[str, Meta(description="Of all of it, hexadecimal.")]
    length: Annotated[int, Meta(description="In bytes.")]
    records: Annotated[int, Meta(description="Of 128 bytes, in which it travels.")]
    legal_version: int
    legal_sha256: str
    journal: Annotated[int, Meta(description="The newest format of the journal that it writes.")]
    signed_by: Annotated[str, Meta(description="SHA-256 of the vendor's public key (DER); empty: no key is set.")]
    note: str
    added: Moment
    actor: str
    withdrawn: Moment | None


class FirmwareImages(msgspec.Struct):
    """Images, the newest first."""

    images: list[FirmwareImage]


class RunningRelease(msgspec.Struct):
    """What a meter runs."""

    release: str
    proved: Annotated[bool, Meta(description="As its log tells; otherwise as it says on its link.")]
    told: Moment


class ImageDelivery(msgspec.Struct):
    """An image on its way, and the campaign that brings it."""

    campaign: int
    image: ImageOnItsWay


class MeterFirmware(msgspec.Struct):
    """What a meter runs, and what was brought to it, the newest first."""

    meter: MeterNumber
    running: Annotated[RunningRelease | None, Meta(description="null: it was not told yet.")]
    deliveries: list[ImageDelivery]


async def list_images(call: Call[Nothing, Nothing]) -> Answer:
    """Images that are kept, the newest first."""
    rows = await call.desk.read(images.listed)
    return Answer(200, FirmwareImages([_image(row) for row in rows]))


async def add_image(call: Call[ImageRequest, Nothing]) -> Answer:
    """Put in an image.

    It is read to its last byte: what is no image, or was not signed by the vendor where keys of one are set, is
    refused. One that is there already is answered as it is. Nothing is brought to a meter by it.
    """
    body, desk = call.body, call.desk
    found = images.read(_bytes("image", body.image))
    keys = vendor.load(desk.firmware_keys)
    given = keys, _bytes("signature", body.signature), text_of(body.note)

    def add(conn: Connection, now_s: int) -> tuple[Row[Any], bool]:
        number, new = images.add(conn, now_s, found, *given, call.caller.actor)
        return images.get(conn, number), new

    return await desk.act(add, desk.clock.now_s(), answer=_added)


async def get_image(call: Call[Nothing, Nothing]) -> Answer:
    """An image that is kept."""
    return _shown(await call.desk.read(images.get, _id(call)))


async def withdraw_image(call: Call[WithdrawRequest, Nothing]) -> Answer:
    """Withdraw an image: no campaign begins with it any more, and what is on its way stops.

    It runs on where it runs.
    """
    why = text_of(call.body.why)

    def done(conn: Connection, now_s: int, number: int) -> Row[Any]:
        images.withdraw(conn, now_s, number, call.caller.actor, why)
        return images.get(conn, number)

    return await call.desk.act(done, call.desk.clock.now_s(), _id(call), answer=_shown)


async def get_meter_firmware(call: Call[Nothing, Nothing]) -> Answer:
    """What a meter runs, and which images were brought to it."""
    return Answer(200, await call.desk.read(_of_meter, call.meter))


def _bytes(field: str, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise Refused(field, f"{len(text)} characters", "base64") from error


def _of_meter(conn: Connection, number: int) -> MeterFirmware:
    get_meter(conn, number)
    of, about = firmware_delivery.c, firmware_image.c
    runs = conn.execute(select(firmware_running).where(firmware_running.c.meter == number)).one_or_none()
    brought = (
        select(firmware_delivery, of.state.label("image_state"), of.note.label("image_note"), about.length)
        .join(firmware_image, about.id == of.image)
        .where(of.meter == number)
        .order_by(of.campaign.desc())
        .limit(MAX_DELIVERIES)
    )
    running = None
    if runs is not None:
        running = RunningRelease(images.text(runs.release), bool(runs.proved), wire.moment(runs.told_s))
    deliveries = [ImageDelivery(row.campaign, image_of(row)) for row in conn.execute(brought)]
    return MeterFirmware(wire.meter_name(number), running, deliveries)


def _image(row: Row[Any]) -> FirmwareImage:
    return FirmwareImage(
        image=row.id,
        release=images.text(row.release),
        board=row.board,
        sha256=row.sha256,
        length=row.length,
        records=wire_image.records(row.length),
        legal_version=row.legal_version,
        legal_sha256=row.legal_sha256,
        journal=row.journal,
        signed_by=row.signed_by,
        note=row.note,
        added=wire.moment(row.added_s),
        actor=row.actor,
        withdrawn=wire.moment_or_none(row.withdrawn_s),
    )


def _added(found: tuple[Row[Any], bool]) -> Answer:
    row, new = found
    return Answer(201 if new else 200, _image(row), {"Location": f"/api/v1/firmware/images/{row.id}"})


def _shown(row: Row[Any]) -> Answer:
    return Answer(200, _image(row))


def _id(call: Call[Any, Any]) -> int:
    return call.number("image", images.UnknownImage)


_ONE: dict[str, Any] = {"answers": {200: FirmwareImage}, "query": Nothing, "problems": ("unknown_image",)}

OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "GET",
        "/firmware/images",
        list_images,
        scope=READ,
        answers={200: FirmwareImages},
        body=Nothing,
        query=Nothing,
        by_area=True,
    ),
    Operation(
        "POST",
        "/firmware/images",
        add_image,
        scope=ADMIN,
        answers={201: FirmwareImage, 200: FirmwareImage},
        body=ImageRequest,
        query=Nothing,
        most_bytes=MAX_BYTES,
    ),
    Operation("GET", "/firmware/images/{image}", get_image, scope=READ, body=Nothing, by_area=True, **_ONE),
    Operation("POST", "/firmware/images/{image}/withdraw", withdraw_image, scope=ADMIN, body=WithdrawRequest, **_ONE),
    Operation(
        "GET",
        "/meters/{meter}/firmware",
        get_meter_firmware,
        scope=READ,
        answers={200: MeterFirmware},
        body=Nothing,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
