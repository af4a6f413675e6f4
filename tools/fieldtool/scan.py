"""`scan`: which units of a line answer. Each is asked for its identification, once and with little patience."""

import argparse

from fieldtool.session import DONE, NOT_SO, Session
from headend.links import failures
from headend.links.blocks import Block
from headend.links.bus import Patience
from headend.links.failures import LinkError
from headend.links.meter import MeterOnBus
from meterlink import modbus, names, registers, topics

WAIT_S = 0.15  # a meter answers without delay; a gateway may take longer

_NOBODY = (modbus.GATEWAY_PATH_UNAVAILABLE, modbus.GATEWAY_NO_RESPONSE)  # a gateway's word for silence


def patience(wait_s: float) -> Patience:
    """Little: the identification takes 61 bytes on the line, and what comes too late is passed over by its unit."""
    return Patience(answer_s=wait_s, quiet_s=0.05, babble_s=2.0, frame_bytes=64)


async def scan(session: Session, given: argparse.Namespace) -> int:
    """Ask unit after unit; what is found is told at once."""
    count = 0
    for unit in range(given.first, given.last + 1):
        session.progress("scanning", last=unit == given.last, unit=unit, units=given.last)
        try:
            ident = await MeterOnBus(session.meter.bus, unit).block(registers.IDENT)
        except LinkError as error:
            if error.outcome in (failures.UNREACHABLE, failures.LOST):
                raise
            if error.outcome == failures.SILENT or error.exception in _NOBODY:
                continue
            session.say("found_other", unit=unit, why=session.failed(error))
        else:
            _tell(session, unit, ident)
        count += 1
    session.say("found", count=count, first=given.first, last=given.last)
    return DONE if count else NOT_SO


def _tell(session: Session, unit: int, ident: Block) -> None:
    firmware = ident.values["firmware"]
    if not ident.number("meter"):
        session.say("found_new", unit=unit, firmware=firmware)
        return
    board = session.words.code("board_class", names.of({1: "bench", 2: "sealed"}, ident.number("board_class")))
    meter = topics.meter_name(ident.number("meter"))
    session.say("found_meter", unit=unit, meter=meter, firmware=firmware, board=board)
