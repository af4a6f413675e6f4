"""What meters say of an image: on their links at once and unproved, in their logs under their keys.

What is shown of a meter on trial comes from its link; that it runs an image, or was rolled back, is true once the log
says so (invariant 4). So whatever a link says makes the head end ask for a report, whose numbers bring the log.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, insert, select, update

from headend.firmware import images
from headend.firmware.deliveries import Key, move
from headend.firmware.lifecycle import HERE
from headend.store import lock_meter
from headend.store.next_report import ask_by
from headend.store.prepared import prepared
from headend.store.schema import meter_event
from headend.store.schema_firmware import firmware_delivery, firmware_image, firmware_running
from headend.store.schema_readings import meter_reads
from meterlink import events, results, states
from meterlink.image import Progress

_d = firmware_delivery.c
_HELD = (
    select(_d.campaign, _d.meter, _d.told, _d.result, firmware_image.c.sha256, firmware_image.c.release)
    .join(firmware_image, firmware_image.c.id == _d.image)
    .where(_d.meter == bindparam("of", type_=BigInteger), _d.state == HERE)
    .order_by(_d.campaign)
)
_RUNS = select(firmware_running).where(firmware_running.c.meter == bindparam("of", type_=BigInteger))
_NEW = insert(firmware_running)
_CHANGED = update(firmware_running).where(firmware_running.c.meter == bindparam("of", type_=BigInteger))
_SAID = update(firmware_delivery).where(
    _d.campaign == bindparam("of", type_=BigInteger), _d.meter == bindparam("at", type_=BigInteger)
)
_CODES = (
    events.UPDATE_RECEIVED,
    events.UPDATE_REFUSED,
    events.UPDATE_STARTED,
    events.UPDATE_GOOD,
    events.UPDATE_ROLLED_BACK,
)
_LOG = prepared(
    select(meter_event.c.seq, meter_event.c.code, meter_event.c.argument, meter_event.c.detail)
    .where(meter_event.c.meter == bindparam("of"), meter_event.c.log_id == bindparam("log"))
    .where(meter_event.c.seq >= bindparam("first"), meter_event.c.code.in_(_CODES))
    .order_by(meter_event.c.seq)
)
_LOG_ID = select(meter_reads.c.log_id).where(meter_reads.c.meter == bindparam("of"))
_OVER = (states.UPDATE_GOOD, states.UPDATE_ROLLED_BACK, states.UPDATE_IDLE)


def is_news(conn: Connection, meter_id: int, said: Progress) -> bool:
    """Whether a progress says something that is not known yet; most are of an image that is coming in."""
    runs = conn.execute(_RUNS, {"of": meter_id}).one_or_none()
    if runs is None or runs.release != images.packed(said.release):
        return True
    return any(_differs(row, said) for row in conn.execute(_HELD, {"of": meter_id}))


def take(conn: Connection, now_s: int, meter_id: int, said: Progress) -> None:
    """A meter says how it stands with an image; nothing proves that it was the meter."""
    lock_meter(conn, meter_id)
    release = images.packed(said.release)
    runs = conn.execute(_RUNS, {"of": meter_id}).one_or_none()
    if runs is None or runs.release != release:
        _runs(conn, now_s, meter_id, runs, release, 0)
    for row in conn.execute(_HELD, {"of": meter_id}).all():
        if _differs(row, said):
            conn.execute(_SAID, {"of": row.campaign, "at": meter_id, "told": said.state, "result": said.result})
            if said.state in _OVER:
                ask_by(conn, meter_id, now_s)


def _differs(row: Any, said: Progress) -> bool:
    mine = row.sha256.startswith(said.digest8.hex())
    return mine and (row.told, row.result) != (said.state, said.result)


def whole(conn: Connection, now_s: int, of: Key, state: int, result: int, records: int) -> None:
    """The meter has checked an image. One that runs it already has said so in its log before."""
    lock_meter(conn, of[1])
    moved = move(conn, now_s, of, "whole", told=state, result=result, record=records, next_s=now_s, note="", tries=0)
    if moved and state >= states.UPDATE_TRIAL:
        log_id = conn.execute(_LOG_ID, {"of": of[1]}).scalar_one_or_none()
        if log_id is not None:
            _by_log(conn, now_s, of[1], log_id)
        ask_by(conn, of[1], now_s)


def logged(conn: Connection, now_s: int, meter_id: int, log_id: int, first: int) -> None:
    """Events from `first` on are stored of a meter's log: take what they say of images. Repeating it changes nothing.

    Call with the meter's row locked.
    """
    if _LOG(conn, {"of": meter_id, "log": log_id, "first": first}).all():
        _by_log(conn, now_s, meter_id, log_id)


def _by_log(conn: Connection, now_s: int, meter_id: int, log_id: int) -> None:
    told = _LOG(conn, {"of": meter_id, "log": log_id, "first": 0}).all()
    good = next((row for row in reversed(told) if row.code == events.UPDATE_GOOD), None)
    after = [] if good is None else [row for row in told if row.seq > good.seq]
    runs = conn.execute(_RUNS, {"of": meter_id}).one_or_none()
    if good is not None and not any(row.code == events.UPDATE_STARTED for row in after):
        if runs is None or (runs.release, runs.proved) != (good.argument, 1):
            _runs(conn, now_s, meter_id, runs, good.argument, 1)
    for row in conn.execute(_HELD, {"of": meter_id}).all():
        _judge(conn, now_s, row, told)


def _judge(conn: Connection, now_s: int, held: Any, told: Sequence[Any]) -> None:
    """What became of an image since the meter received it last: what is older was said of another attempt."""
    of = held.campaign, held.meter
    came = max(
        (row.seq for row in told if (row.code, row.argument) == (events.UPDATE_RECEIVED, held.release)), default=0
    )
    for row in told:
        if row.seq <= came:
            continue
        if row.code == events.UPDATE_GOOD and row.argument == held.release:
            move(conn, now_s, of, "prove", told=states.UPDATE_GOOD, result=results.APPLIED, next_s=None, note="")
        elif row.code == events.UPDATE_ROLLED_BACK:
            back = {"told": states.UPDATE_ROLLED_BACK, "result": results.ROLLED_BACK}
            move(conn, now_s, of, "roll_back", **back, next_s=None, note=row.detail)
        elif row.code == events.UPDATE_REFUSED:
            move(conn, now_s, of, "refuse", told=states.UPDATE_IDLE, result=row.argument, next_s=None)


def _runs(conn: Connection, now_s: int, meter_id: int, known: Row[Any] | None, release: int, proved: int) -> None:
    columns = {"release": release, "proved": proved, "told_s": now_s}
    if known is None:
        conn.execute(_NEW, {"meter": meter_id, **columns})
    else:
        conn.execute(_CHANGED, {"of": meter_id, **columns})
