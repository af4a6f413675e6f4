"""The second half of a transfer: what is off the wrong meter is paid to the right one."""

from typing import Any

from sqlalchemy import Connection, Row

from headend.epochs import findings
from headend.ledger import payments
from headend.ledger.refunds import words
from headend.refusals import Refused
from meterlink import topics


def payment_of(row: Row[Any]) -> str:
    """The id under which the channel's money is paid to the right meter."""
    return f"transfer/{row.id}"


def deliver(conn: Connection, now_s: int, row: Row[Any]) -> None:
    """In the transaction that proves that the money is off the wrong meter: its channel, which has it again, pays it to
    the right one. Where that account does not take it, the channel keeps it and a person is told.
    """
    if row.kind != words.TRANSFER:
        return
    try:
        with conn.begin_nested():
            payments.take(conn, now_s, row.channel, payment_of(row), row.to_meter, row.whole_uc)
    except Refused as refused:
        sentence = f"Transfer {row.id} from meter {topics.meter_name(row.meter)}: {refused}"
        findings.note_each(conn, now_s, row.to_meter, findings.TRANSFER_STUCK, sentence[:200], row.whole_uc)
