"""Which meters may speak at a broker: those on MQTT that are not retired.

One that was taken from its place may still have readings, and its closing statement, to say.
"""

from sqlalchemy import Connection, select

from headend import audit
from headend.fleet import lifecycle
from headend.fleet.meters import MQTT
from headend.store.schema import meter
from headend.store.schema_fleet import meter_life

AUDITED = "broker.clients_changed"
audit.ACTIONS.update({AUDITED: ("who may speak at a broker was changed", "通信接入名单变更")})

_SPEAKING = (
    select(meter.c.meter)
    .join(meter_life, meter_life.c.meter == meter.c.meter)
    .where(meter.c.carrier == MQTT, meter_life.c.state != lifecycle.RETIRED)
    .order_by(meter.c.meter)
)


def speaking(conn: Connection) -> list[int]:
    """Their numbers, rising."""
    return list(conn.execute(_SPEAKING).scalars())


def changed(conn: Connection, now_s: int, actor: str, broker: str, commands: int) -> None:
    """Note in the audit that a broker was brought in line by so many commands."""
    audit.record(conn, now_s, actor, AUDITED, f"broker:{broker}"[:80], {"commands": commands})
