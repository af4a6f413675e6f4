"""`openprepay admin firmware`: say which image a meter is to run, and bring it there."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from headend.clock import SystemClock
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
        with path.open("rb") as file:
            return image.of(file.read(wire.MAX_LENGTH + 1))
    except OSError as error:
        raise Refused("file", str(path), f"a file that can be read ({error.strerror})") from error
    except wire.ImageError as error:
        raise Refused("file", str(path), f"an image of the firmware ({error})") from error


def _release(wanted: Image) -> str:
    return ".".join(map(str, wanted.manifest.release))


def add_to(things: "argparse._SubParsersAction[argparse.ArgumentParser]", hang: Callable[..., None]) -> None:
    """Hang the commands on a parser."""
    commands = things.add_parser("firmware", help="say which image a meter is to run, and bring it there")
    listed = commands.add_subparsers(required=True, metavar="COMMAND")
    for name, run in (("order", order), ("send", send)):
        one = listed.add_parser(name, help=run.__doc__, description=run.__doc__)
        hang(one, run)
        one.add_argument("meter", type=int, help="its number")
        one.add_argument("file", type=Path, help="the image, as openprepay firmware bundle makes it")
        if run is order:
            one.add_argument("--why", default="", help="a reason, for the log")
