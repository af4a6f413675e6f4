"""How meters are reached: carrier, bus and address, and changing it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import Connection

from headend.access.permissions import ADMIN
from headend.fleet import link
from headend.fleet.address import MAX_LENGTH
from headend.orders import facts
from headend.orders.facts import Facts
from headend.web import views
from headend.web.operations import Answer, Call, Nothing, Operation
from headend.web.orders import Note, text_of
from headend.web.views import MeterDetail


class LinkRequest(msgspec.Struct, forbid_unknown_fields=True):
    """How the meter is reached from now on."""

    carrier: Literal["mqtt", "modbus"]
    address: Annotated[
        str,
        Meta(
            max_length=MAX_LENGTH,
            description="Modbus: where it is reached, a unit that no other meter has on that bus. MQTT: empty.",
            examples=["serial:/dev/ttyUSB0?unit=1&baud=9600&parity=E", "tcp://10.0.0.8:502?unit=1"],
        ),
    ] = ""
    new_bus: Annotated[bool, Meta(description="It may be a bus that no other meter is on.")] = False
    note: Note = ""


async def change_meter_link(call: Call[LinkRequest, Nothing]) -> Answer:
    """Change how a meter is reached: carrier, bus, address.

    It holds at once, for what waits too, and the meter is asked for a report. The meter itself is not changed by it:
    its own unit number is set over its service port.
    """
    body, desk = call.body, call.desk
    given = call.meter, body.carrier, body.address, call.caller.actor

    def done(conn: Connection, now_s: int) -> Facts:
        link.change(conn, now_s, *given, new_bus=body.new_bus, note=text_of(body.note))
        return facts.of_meter(conn, call.meter)

    answer = await desk.act(done, desk.clock.now_s(), answer=_shown)
    desk.wake()
    return answer


def _shown(found: Facts) -> Answer:
    return Answer(200, views.detail(found))


OPERATIONS: tuple[Operation[Any, Any], ...] = (
    Operation(
        "PATCH",
        "/meters/{meter}",
        change_meter_link,
        scope=ADMIN,
        answers={200: MeterDetail},
        body=LinkRequest,
        query=Nothing,
        problems=("unknown_meter",),
    ),
)
