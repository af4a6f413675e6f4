"""The page of the firmware: images that are kept, how far each is on its way, and what became of it where it failed."""

from typing import Any

from sqlalchemy import Connection, and_, func, select

from headend.access.areas import within
from headend.firmware import images, saying, words
from headend.firmware.lifecycle import BAD, LATE, STATES
from headend.store.schema import meter
from headend.store.schema_firmware import firmware_delivery, firmware_image
from headend.web.page import Page, PageQuery, View

MANY = 100

_d = firmware_delivery.c
_COUNTED = (
    select(_d.image, _d.state, func.count().label("number"))
    .join(meter, meter.c.meter == _d.meter)
    .group_by(_d.image, _d.state)
)
_FAILED = (
    select(_d.meter, _d.campaign, _d.state, _d.result, _d.note, _d.moved_s, firmware_image.c.release, meter.c.label)
    .join(meter, meter.c.meter == _d.meter)
    .join(firmware_image, firmware_image.c.id == _d.image)
    .where(_d.state.in_((*BAD, LATE)))
    .order_by(_d.moved_s.desc(), _d.campaign.desc(), _d.meter)
    .limit(MANY)
)


def _read(conn: Connection, view: View[PageQuery]) -> dict[str, Any]:
    mine = and_(within(meter.c.area, view.areas))
    counts: dict[int, dict[str, int]] = {}
    for row in conn.execute(_COUNTED.where(mine)):
        counts.setdefault(row.image, {})[row.state] = row.number
    return {
        "images": images.listed(conn),
        "counts": counts,
        "failed": list(conn.execute(_FAILED.where(mine))),
        "why": lambda row: saying.why(row.state, row.result, row.note)[0 if view.language == "en" else 1],
        "release": images.text,
        "state": view.named(STATES),
        "order": tuple(STATES),
    }


PAGE = Page("/firmware", ("Firmware", "固件"), "firmware.html", PageQuery, _read, words.PAGE, refresh_s=5)
