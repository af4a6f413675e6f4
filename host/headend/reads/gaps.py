"""What a meter holds and the head end does not."""

from sqlalchemy import Connection

from headend.reads import cursors, logs
from meterlink.batches import KIND_INTERVALS


def missing(conn: Connection, meter: int, limit: int = 100, kind: int = KIND_INTERVALS) -> list[logs.Range]:
    """The first `limit` ranges of the meter's present log that it said it has and that are not stored; UnknownMeter.

    They begin right behind the cursor, where there are any.
    """
    state, log = cursors.of(conn, meter), logs.LOGS[kind]
    return [] if state.log_id is None else logs.holes(conn, state, log, 1, logs.reach(state, log)[1])[:limit]
