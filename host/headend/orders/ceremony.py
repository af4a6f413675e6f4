"""Statements that only the root key may sign: out to where it lies, and back.

What goes out is the statement as it will be signed, what comes back its signature. The head end verifies it and adds
the tag, so that the machine with the root key needs no meter's key, and the file between them no secrecy.
"""

from collections.abc import Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from sqlalchemy import Connection, Row, update

from headend.keys.holder import KeyHolder, KeyName
from headend.keys.root_orders import RootOrder
from headend.orders import lifecycle, signing
from headend.refusals import Refused
from headend.store.schema import outbox
from meterlink import orders
from meterlink.orders import ASPECT_ROLE, ROLE_ROOT, OrderError, Statement


def waiting(conn: Connection, keys: KeyHolder) -> list[RootOrder]:
    """All statements that wait for the root key, oldest first, for the oldest root key in force: meters hold it.

    Raises NoSuchKey where the key store does not know the root key's public half.
    """
    root = _root(keys)
    found = []
    for row in signing.unsigned(conn, signing.EVER, None):
        if ASPECT_ROLE[row.aspect] == ROLE_ROOT:
            found.append(RootOrder(row.id, _statement(row, root), row.apart_body))
    return found


def take(conn: Connection, now_s: int, keys: KeyHolder, signed: Sequence[RootOrder]) -> list[Refused]:
    """Take signatures back; what is refused is returned, the rest waits to be sent.

    Refused: an order that does not wait any more, a statement that is not the one which waits, a signature that is not
    the root key's.
    """
    root = _root(keys)
    rows = {row.id: row for row in signing.unsigned(conn, signing.EVER, None)}
    refusals = []
    for one in signed:
        try:
            _take(conn, now_s, keys, root, one, rows.get(one.order_id))
        except Refused as refused:
            refusals.append(refused)
    return refusals


def _take(conn: Connection, now_s: int, keys: KeyHolder, root: KeyName, one: RootOrder, row: Row[Any] | None) -> None:
    if row is None or ASPECT_ROLE[row.aspect] != ROLE_ROOT:
        raise Refused("order", one.order_id, "an order that waits for the root key")
    if one.statement != _statement(row, root):
        raise Refused(f"statement of order {one.order_id}", one.statement.hex(), "the one that waits (export again)")
    if not is_genuine(keys.public_key(root), one):
        raise Refused(
            f"signature of order {one.order_id}", one.signature.hex(), f"the root key's, version {root.version}"
        )
    raw = orders.seal(one.statement, one.signature, keys.mac_key(row.meter, row.tag_key_version))
    signing.keep(conn, row.id, raw)
    lifecycle.remark(conn, now_s, row.id, "root", f"signed with root key {root.version}")
    conn.execute(update(outbox).where(outbox.c.order_id == row.id).values(next_s=now_s))


def _root(keys: KeyHolder) -> KeyName:
    keys.newest(ROLE_ROOT)
    return min(name for name in keys.names() if name.role == ROLE_ROOT)


def _statement(row: Row[Any], root: KeyName) -> bytes:
    try:
        return Statement(
            aspect=row.aspect,
            meter=row.meter,
            account_epoch=row.account_epoch,
            role=root.role,
            key_version=root.version,
            tag_key_version=row.tag_key_version,
            selector=row.selector,
            signing_epoch=row.signing_epoch,
            version=row.version,
            issued_s=row.issued_s,
            not_after_s=row.not_after_s,
            body=row.body,
            flags=row.flags,
        ).encode()
    except OrderError as error:
        raise Refused("order", row.id, f"a statement that can be encoded ({error})") from error


def is_genuine(point: bytes, one: RootOrder) -> bool:
    """Whether the key with this public half (X||Y) made the signature."""
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
    r, s = int.from_bytes(one.signature[:32], "big"), int.from_bytes(one.signature[32:], "big")
    digest = orders.digest(one.statement)
    try:
        key.verify(utils.encode_dss_signature(r, s), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    except InvalidSignature:
        return False
    return True
