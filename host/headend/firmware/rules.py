"""Which meters an image is nothing for, as far as it is known. What is not known here the meter tells: it refuses an
image for another board, an older one, and one whose journal it could not read after a rollback."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, select

from headend.firmware import images, words
from headend.firmware.lifecycle import BACK
from headend.firmware.saying import why_back
from headend.store.prepared import prepared
from headend.store.schema_firmware import firmware_delivery, firmware_running
from meterlink import names, states
from meterlink.labels import LABEL

_RUNS = prepared(select(firmware_running).where(firmware_running.c.meter == bindparam("of", type_=BigInteger)))
_WENT_BACK = prepared(
    select(firmware_delivery.c.campaign, firmware_delivery.c.note)
    .where(
        firmware_delivery.c.meter == bindparam("of", type_=BigInteger),
        firmware_delivery.c.image == bindparam("which", type_=BigInteger),
        firmware_delivery.c.state == BACK,
    )
    .order_by(firmware_delivery.c.campaign.desc())
    .limit(1)
)
# With these an image does not pass its self-test: it wants metering that agrees with itself, and a journal that writes.
_HOPELESS = (states.ALARM_STORAGE, states.ALARM_METERING, states.ALARM_BROWN_OUT)


def bars(
    conn: Connection, image: Row[Any], meter_id: int, kind: str | None, family: str | None, alarms: int
) -> Iterator[tuple[str, dict[str, Any], int | None]]:
    """(rule of `words.RULES`, fields of its sentence, evidence), the weightiest first. `image`: of `images` · `kind`,
    `family`: the type of the meter and its family of images, None where no type is known · `alarms`: of its report."""
    if family is not None and family != image.board:
        yield words.OTHER_BOARD, {"board": image.board, "type": kind or "-", "family": family}, None
    runs = _RUNS(conn, {"of": meter_id}).one_or_none()
    if runs is not None and runs.release > image.release:
        yield words.NEWER, {"release": images.text(runs.release)}, None
    back = _WENT_BACK(conn, {"of": meter_id, "which": image.id}).one_or_none()
    if back is not None:
        yield words.BACK, {"campaign": back.campaign, "why": why_back(back.note)}, back.campaign
    for bit in _HOPELESS:
        if alarms >> bit & 1:
            code = names.of(names.ALARM, bit)
            yield words.ALARM, {"alarm": LABEL["alarm"].get(code, (code, code))}, None


def runs_it(conn: Connection, image: Row[Any], meter_id: int) -> bool:
    """Whether the meter's log tells that it runs this release."""
    runs = _RUNS(conn, {"of": meter_id}).one_or_none()
    return runs is not None and bool(runs.proved) and runs.release == image.release
