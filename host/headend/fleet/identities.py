"""By what meters are found besides their numbers: serial number, label, Modbus address, as folded text."""

import unicodedata
from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from headend.refusals import Refused
from headend.store.prepared import prepared
from headend.store.schema_fleet import meter_identity

SERIAL = "serial"
LABEL = "label"
ADDRESS = "address"
KINDS = (SERIAL, LABEL, ADDRESS)
MAX_SERIAL = 40
MAX_TEXT = 200

_MINE = (meter_identity.c.meter == bindparam("of")) & (meter_identity.c.kind == bindparam("which"))
_THERE = prepared(select(meter_identity.c.text).where(_MINE))
_NEW = insert(meter_identity)
_CHANGE = prepared(update(meter_identity).where(_MINE))
_DROP = prepared(delete(meter_identity).where(_MINE))


def folded(text: str) -> str:
    """As text is sought: compatible forms and cases are the same."""
    return unicodedata.normalize("NFKC", text).casefold()[:MAX_TEXT]


def check_serial(serial: str) -> str:
    """The serial number, as it is; raises Refused."""
    if len(serial) > MAX_SERIAL or not serial.isprintable():
        raise Refused("serial", serial, f"at most {MAX_SERIAL} printable characters")
    return serial


def add_many(conn: Connection, given: Iterable[tuple[int, str, str]]) -> None:
    """Identities (meter, kind, text) of new meters; an empty text is none."""
    rows = [{"meter": meter, "kind": kind, "text": folded(text)} for meter, kind, text in given if text]
    if rows:
        conn.execute(_NEW, rows)


def put(conn: Connection, meter: int, kind: str, text: str) -> None:
    """Say anew what a meter is found by; "": nothing."""
    key = {"of": meter, "which": kind}
    standing = _THERE(conn, key).scalar_one_or_none()
    if not text:
        _DROP(conn, key)
    elif standing is None:
        add_many(conn, [(meter, kind, text)])
    elif standing != folded(text):
        _CHANGE(conn, {**key, "text": folded(text)})
