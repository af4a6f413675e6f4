"""Statements on what a meter collects for the books beside energy, and on how much load it allows.

As in `statements`: each function writes one unsigned order and its outbox row, in one transaction, and locks the meter
itself.
"""

from sqlalchemy import Connection, and_, bindparam, not_, select

from headend.orders import lifecycle
from headend.orders.writing import WANTS_VERSION, state
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import meter, order
from meterlink import bodies
from meterlink.orders import ASPECT_DEBT, ASPECT_LOAD

_STATED = (
    select(order.c.body)
    .join(meter, (meter.c.meter == order.c.meter) & (meter.c.account_epoch == order.c.account_epoch))
    .where(order.c.meter == bindparam("of"), order.c.aspect == ASPECT_DEBT, order.c.selector == bindparam("which"))
    .where(order.c.state.not_in((lifecycle.REFUSED, lifecycle.CANCELLED, lifecycle.EXPIRED)))
    .where(not_(and_(order.c.state == lifecycle.SUPERSEDED, order.c.sent_s.is_(None))))
    .order_by(order.c.signing_epoch.desc(), order.c.version.desc())
    .limit(1)
)


def set_debt(
    conn: Connection,
    now_s: int,
    meter_id: int,
    number: int,
    terms: bodies.DebtTerms,
    actor: str,
    *,
    reason_text: str = "",
) -> int:
    """State debt `number` (1..3) of the account in force: its totals, which never fall, and how it is collected.

    Returns the order's id. Raises Refused; OrderError for terms that do not fit each other.
    """
    if not 1 <= number <= bodies.DEBTS:
        raise Refused("debt", number, f"1..{bodies.DEBTS}")
    if terms.withdrawn_uc > terms.placed_uc:
        raise Refused("withdrawn", terms.withdrawn_uc, f"at most what was placed ({terms.placed_uc})")
    body = terms.encode()
    lock_meter(conn, meter_id)
    before = conn.execute(_STATED, {"of": meter_id, "which": number}).scalar_one_or_none()
    if before is not None:
        known = bodies.decode_debt(before)
        for field, given, least in (
            ("placed", terms.placed_uc, known.placed_uc),
            ("withdrawn", terms.withdrawn_uc, known.withdrawn_uc),
        ):
            if given < least:
                raise Refused(field, given, f"at least {least}, which is stated: a total never falls")
    return state(conn, now_s, meter_id, ASPECT_DEBT, number, body, WANTS_VERSION, actor, reason_text)


def set_load(
    conn: Connection,
    now_s: int,
    meter_id: int,
    steps: tuple[tuple[int, int], ...],
    actor: str,
    *,
    reason_text: str = "",
    proposal: int | None = None,
) -> int:
    """Limit the load: (from_s, power_w) by rising time, the last with 0 W, which ends it; no steps end it at once.

    Returns the order's id. Raises Refused; OrderError for steps that do not fit each other.
    """
    body = bodies.encode_load(steps)
    lock_meter(conn, meter_id)
    return state(conn, now_s, meter_id, ASPECT_LOAD, 0, body, WANTS_VERSION, actor, reason_text, proposal=proposal)
