"""What meters were shown to hold: the versions of their orders, asked for once a day (batches.KIND_HELD).

Each record of the answer names an order by aspect, selector, version and the first 8 bytes of its digest; the batch's
MAC covers it, and its nonce answers a question of ours. An aspect that is missing holds what the meter came with.
"""

import struct
from typing import Any

from sqlalchemy import BigInteger, Connection, bindparam, delete, insert, select, update

from headend.orders import questions
from headend.orders.actions import Ask
from headend.orders.policy import Entropy
from headend.store import lock_meter
from headend.store.prepared import prepared
from headend.store.schema import meter, question
from headend.store.schema_configuration import configuration_held, configuration_question
from meterlink.batches import HELD_FORMAT, KIND_HELD, MAX_RECORDS, Batch
from meterlink.orders import ASPECT_FIRMWARE, ASPECT_KEYS, ASPECT_LIMITS, ASPECT_MODE, ASPECT_TARIFF

TAKEN, UNASKED = "held", "held_unasked"
AUDITED = (ASPECT_TARIFF, ASPECT_LIMITS, ASPECT_MODE, ASPECT_KEYS, ASPECT_FIRMWARE)
RETRY_S = 900  # before it is asked again; doubles each time
MAX_DOUBLED = 5
MAX_PAGES = 8  # of 40 orders

_WANTS = prepared(
    select(configuration_question.c.tries).where(
        configuration_question.c.meter == bindparam("of"),
        configuration_question.c.next_s <= bindparam("now", type_=BigInteger),
    )
)
_ASKED = prepared(
    update(configuration_question)
    .where(configuration_question.c.meter == bindparam("of"))
    .values(next_s=bindparam("next"), tries=bindparam("times"))
)
_DONE = prepared(delete(configuration_question).where(configuration_question.c.meter == bindparam("of")))
_OPEN = prepared(
    select(question.c.asked_s, question.c.first).where(
        question.c.nonce == bindparam("nonce"),
        question.c.meter == bindparam("of"),
        question.c.kind == KIND_HELD,
        question.c.answered_s.is_(None),
    )
)
_ANSWERED = prepared(update(question).where(question.c.nonce == bindparam("asked")).values(answered_s=bindparam("now")))
_EPOCH = prepared(select(meter.c.account_epoch).where(meter.c.meter == bindparam("of")))
_FORGET = prepared(
    delete(configuration_held).where(
        configuration_held.c.meter == bindparam("of"), configuration_held.c.aspect == bindparam("about")
    )
)
_KEEP = prepared(insert(configuration_held))
_WISH = insert(configuration_question)
_WISHES = select(configuration_question.c.meter).where(
    configuration_question.c.meter.in_(bindparam("some", expanding=True))
)


def wish(conn: Connection, now_s: int, meters: list[int]) -> None:
    """See that these meters are asked what they hold, as soon as they are asked for anything."""
    known = set(conn.execute(_WISHES, {"some": meters}).scalars())
    new = [{"meter": number, "next_s": now_s, "tries": 0} for number in meters if number not in known]
    if new:
        conn.execute(_WISH, new)


def ask(conn: Connection, now_s: int, entropy: Entropy, meter_id: int) -> list[Ask]:
    """The question, where one is due; it is put again, ever more slowly, until it is answered."""
    row = _WANTS(conn, {"of": meter_id, "now": now_s}).one_or_none()
    if row is None:
        return []
    wait_s = RETRY_S << min(row.tries, MAX_DOUBLED)
    _ASKED(conn, {"of": meter_id, "next": now_s + wait_s, "times": row.tries + 1})
    return [questions.ask(conn, now_s, entropy, meter_id, KIND_HELD, first=1, count=MAX_RECORDS)]


def take(conn: Connection, now_s: int, batch: Batch, question_s: int, entropy: Entropy) -> tuple[str, list[Ask]]:
    """Keep what a genuine answer shows; what answers no open question of ours changes nothing."""
    lock_meter(conn, batch.meter)
    asked = _OPEN(conn, {"nonce": batch.nonce, "of": batch.meter}).one_or_none()
    if asked is None or not 0 <= now_s - asked.asked_s <= question_s:
        return UNASKED, []
    _ANSWERED(conn, {"asked": batch.nonce, "now": now_s})
    if batch.first == 1:
        for aspect in AUDITED:  # what is not told any more is not held any more
            _keep(conn, now_s, batch, aspect, 0, 0, bytes(8))
    for aspect, _role, selector, signing_epoch, version, _issued_s, digest, _crc in struct.iter_unpack(
        HELD_FORMAT, batch.records
    ):
        if aspect in AUDITED and selector == 0:
            _keep(conn, now_s, batch, aspect, signing_epoch, version, digest)
    if batch.count == MAX_RECORDS and batch.first < MAX_PAGES * MAX_RECORDS:
        more = {"first": batch.first + MAX_RECORDS, "count": MAX_RECORDS}
        return TAKEN, [questions.ask(conn, now_s, entropy, batch.meter, KIND_HELD, **more)]
    _DONE(conn, {"of": batch.meter})
    return TAKEN, []


def shown(conn: Connection, now_s: int, report: Any) -> None:
    """A report that answers a question of ours on one of these subjects shows the same; its meter is locked."""
    if report.aspect in AUDITED and report.selector == 0:
        _keep(conn, now_s, report, report.aspect, report.signing_epoch, report.version, report.digest)


def _keep(
    conn: Connection, now_s: int, told: Any, aspect: int, signing_epoch: int, version: int, digest: bytes
) -> None:
    epoch = getattr(told, "account_epoch", None) or _EPOCH(conn, {"of": told.meter}).scalar_one()
    _FORGET(conn, {"of": told.meter, "about": aspect})
    row = {"meter": told.meter, "aspect": aspect, "account_epoch": epoch, "signing_epoch": signing_epoch}
    row |= {"version": version, "digest": bytes(digest), "shown_s": told.time_s, "taken_s": now_s}
    _KEEP(conn, row)
