"""Orders that the root key signed in advance (`keys.presign`): kept until an account is opened or retired."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, select

from headend.keys.holder import KeyHolder, KeyName
from headend.keys.root_orders import RootOrder, stated
from headend.orders.ceremony import is_genuine
from headend.refusals import Refused
from headend.store.schema import meter, presigned
from meterlink import orders
from meterlink.orders import ASPECT_EPOCH, ASPECT_RETIRE

_IN_ADVANCE = (ASPECT_EPOCH, ASPECT_RETIRE)


def take(conn: Connection, now_s: int, keys: KeyHolder, signed: Sequence[RootOrder]) -> tuple[int, list[Refused]]:
    """Keep what the root key has signed; returns how many are new, and what was refused.

    Refused: what is no epoch or retirement of a meter of this fleet, an account that is over, a signature that is not
    a root key's in force.
    """
    taken, refusals = 0, []
    for one in signed:
        try:
            taken += _take(conn, now_s, keys, one)
        except Refused as refused:
            refusals.append(refused)
    return taken, refusals


def left(conn: Connection) -> dict[int, int]:
    """How many further accounts could be opened on each meter without a ceremony; meters of which none is left too."""
    unused = (
        select(meter.c.meter, func.count(presigned.c.meter))
        .outerjoin(
            presigned,
            (presigned.c.meter == meter.c.meter)
            & (presigned.c.aspect == ASPECT_EPOCH)
            & presigned.c.order_id.is_(None)
            & (presigned.c.account_epoch > meter.c.account_epoch),
        )
        .group_by(meter.c.meter)
    )
    return {number: int(count) for number, count in conn.execute(unused)}


def _take(conn: Connection, now_s: int, keys: KeyHolder, one: RootOrder) -> int:
    found = stated(one)
    s = found.stated
    if s.aspect not in _IN_ADVANCE:
        raise Refused("aspect", s.aspect, f"one of {_IN_ADVANCE}, which can be signed in advance")
    in_force = conn.execute(select(meter.c.account_epoch).where(meter.c.meter == s.meter)).scalar_one_or_none()
    if in_force is None:
        raise Refused("meter", s.meter, "the number of a meter of this fleet")
    least = in_force + (s.aspect == ASPECT_EPOCH)
    if s.account_epoch < least:
        raise Refused(f"account_epoch of meter {s.meter}", s.account_epoch, f"{least} or later")
    root = KeyName(s.role, s.key_version)
    if root not in keys.names() or not one.signature or not is_genuine(keys.public_key(root), one):
        raise Refused(f"signature for meter {s.meter}", one.signature.hex(), "that of a root key in force")
    key = {"meter": s.meter, "aspect": s.aspect, "account_epoch": s.account_epoch}
    if conn.execute(select(presigned.c.meter).filter_by(**key)).first() is not None:
        return 0
    raw = orders.seal(one.statement, one.signature, keys.mac_key(s.meter, s.tag_key_version))
    conn.execute(presigned.insert().values(**key, signed=raw, imported_s=now_s))
    return 1
