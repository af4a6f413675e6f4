"""`openprepay admin firmware`: images that the head end keeps for campaigns; one meter told what to run, and brought
it."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from headend.clock import SystemClock
from headend.firmware import images, vendor
from headend.fleet import address
from headend.fleet.meters import get_meter
from headend.links import image
from headend.links.failures import LinkError
from headend.links.image import Image, Sent
from headend.orders import trust
from headend.refusals import Refused
from headend.settings import Settings
from headend.store import Store
from meterlink import image as wire
from meterlink import names, topics
from meterlink.labels import LABEL

OpenStore = Callable[[Settings], AbstractContextManager[Store]]

ACTOR = "admin"


def keep(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Put an image in, for campaigns. Where the setting firmware_keys names keys, one of them has to have signed it."""
    wanted, signature = _image(given.file), b""
    if given.signature is not None:
        signature = _read("signature", given.signature, vendor.MAX_SIGNATURE + 1)
    keys = vendor.load(settings.firmware_keys)
    with open_store(settings) as store:
        given_to = (SystemClock().now_s(), wanted, keys, signature, given.note, ACTOR)
        number, new = store.write(images.add, *given_to).result()
    print(f"Image {number}: release {_release(wanted)} for {wanted.manifest.board}{'' if new else ', kept before'}.")
    print(f"SHA-256 {wanted.sha256.hex()}")
    return 0


def kept(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """List the images that are kept, the newest first."""
    with open_store(settings) as store:
        rows = store.read(images.listed)
    for row in rows:
        signed = f"signed by {row.signed_by[:16]}" if row.signed_by else "not signed by a vendor"
        state = "" if row.withdrawn_s is None else "  withdrawn"
        print(f"{row.id}  {images.text(row.release)}  {row.board}  {row.length} bytes  {row.sha256}  {signed}{state}")
    return 0


def withdraw(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Withdraw an image: no campaign begins with it, and what is on its way stops."""
    with open_store(settings) as store:
        store.write(images.withdraw, SystemClock().now_s(), given.image, ACTOR, given.why).result()
    print(f"Image {given.image} is withdrawn.")
    return 0


def order(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """State that a meter is to run an image. The order waits for the root key (openprepay admin root-orders)."""
    wanted = _image(given.file)
    found = wanted.manifest
    with open_store(settings) as store:
        stated = partial(trust.set_firmware, reason_text=given.why)
        number = store.write(
            stated,
            SystemClock().now_s(),
            given.meter,
            found.release,
            found.legal_version,
            len(wanted.raw),
            wanted.sha256,
            ACTOR,
        ).result()
    print(f"Order {number}: meter {topics.meter_name(given.meter)} is to run release {_release(wanted)}.")
    print(f"SHA-256 {wanted.sha256.hex()}")
    return 0


def send(given: argparse.Namespace, settings: Settings, open_store: OpenStore) -> int:
    """Send an image to a meter over its link, from where the meter is. It runs once its order is there, too."""
    wanted = _image(given.file)
    with open_store(settings) as store:
        row = store.read(get_meter, given.meter)
    try:
        sent = asyncio.run(_send(given.meter, row.carrier, row.address, settings, wanted))
    except LinkError as error:
        raise Refused("meter", given.meter, f"a link to it ({error})") from error
    print(file=sys.stderr)
    state, result = names.of(names.UPDATE, sent.state), names.of(names.RESULT, sent.result)
    print(f"Meter {topics.meter_name(given.meter)}: {LABEL['update'][state][0]}.")
    if not sent.here:
        print(LABEL["result"][result][0])
    return 0 if sent.here else 1


async def _send(meter: int, carrier: str, where: str, settings: Settings, wanted: Image) -> Sent:
    if carrier == "mqtt":
        from headend.links import image_mqtt

        options = image_mqtt.OneMeter.of_url(
            settings.mqtt_url,
            f"{settings.mqtt_client_id}-image-{topics.meter_name(meter)}",
            version=settings.mqtt_version,
            ca=settings.mqtt_ca,
            certificate=settings.mqtt_certificate,
            key=settings.mqtt_key,
            session_expiry_s=0,
            meter=meter,
        )
        return await image_mqtt.send(options, wanted, _tell)
    from headend.links.bus import Bus
    from headend.links.meter import MeterOnBus

    place = address.parse(where)
    bus = Bus(place)
    try:
        return await image.send(MeterOnBus(bus, place.unit), wanted, _tell)
    finally:
        await bus.close()


def _tell(done: int, of: int) -> None:
    print(f"\r{done} of {of}", end="", file=sys.stderr, flush=True)


def _image(path: Path) -> Image:
    try:
        return image.of(_read("file", path, wire.MAX_LENGTH + 1))
    except wire.ImageError as error:
        raise Refused("file", str(path), f"an image of the firmware ({error})") from error


def _read(field: str, path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError as error:
        raise Refused(field, str(path), f"a file that can be read ({error.strerror})") from error


def _release(wanted: Image) -> str:
    return ".".join(map(str, wanted.manifest.release))


def add_to(things: "argparse._SubParsersAction[argparse.ArgumentParser]", hang: Callable[..., None]) -> None:
    """Hang the commands on a parser."""
    commands = things.add_parser("firmware", help="images of the firmware: keep them, bring one to a meter")
    listed = commands.add_subparsers(required=True, metavar="COMMAND")
    made = listed.add_parser("import", help=keep.__doc__, description=keep.__doc__)
    hang(made, keep)
    made.add_argument("file", type=Path, help="the image, as openprepay firmware bundle makes it")
    made.add_argument("--signature", type=Path, help="file with the vendor's signature, as openssl dgst writes it")
    made.add_argument("--note", default="", help="what is new in it, for those who choose")
    made = listed.add_parser("list", help=kept.__doc__, description=kept.__doc__)
    hang(made, kept)
    made = listed.add_parser("withdraw", help=withdraw.__doc__, description=withdraw.__doc__)
    hang(made, withdraw)
    made.add_argument("image", type=int, help="its number")
    made.add_argument("--why", required=True, help="a reason, for the audit")
    for name, run in (("order", order), ("send", send)):
        one = listed.add_parser(name, help=run.__doc__, description=run.__doc__)
        hang(one, run)
        one.add_argument("meter", type=int, help="its number")
        one.add_argument("file", type=Path, help="the image, as openprepay firmware bundle makes it")
        if run is order:
            one.add_argument("--why", default="", help="a reason, for the log")
