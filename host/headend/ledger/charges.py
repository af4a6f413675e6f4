"""What the head end charges by itself: fees, corrections, and consumption in remote mode.

Booked at once, and stated to the meter as part of a total that only grows (`adjusted`, in a mode order).
"""

from sqlalchemy import Connection, bindparam, select

from headend.ledger import accounts, entries
from headend.ledger.openings import notice
from headend.orders import trust
from headend.refusals import Refused
from headend.store import lock_meter
from headend.store.schema import closing, meter, meter_trust
from meterlink import states, topics
from meterlink.bodies import MAX_UC

_STANDING = (
    select(meter.c.account_epoch, meter_trust.c.adjusted_uc, closing.c.moved_to)
    .join(meter_trust, meter_trust.c.meter == meter.c.meter)
    .outerjoin(closing, (closing.c.meter == meter.c.meter) & (closing.c.account_epoch == meter.c.account_epoch))
    .where(meter.c.meter == bindparam("of"))
)


def set_mode(
    conn: Connection, now_s: int, number: int, mode: int, actor: str, *, charge_uc: int = 0, **allowance: int | str
) -> int:
    """Say who prices (states.MODE_*) and charge `charge_uc` (0..) more; returns the order's id.

    `allowance`: until_wh, balance_uc, grace_wh, grace_s and reason_text, as `trust.set_mode` has them. Raises Refused.
    """
    lock_meter(conn, number)
    standing = conn.execute(_STANDING, {"of": number}).one()
    if standing.moved_to is not None:
        raise Refused("meter", number, f"a meter in service: its account was closed and went to {standing.moved_to}")
    if mode == states.MODE_LOCAL and notice.is_on_its_way(conn, number):
        raise Refused("mode", "local", "another one until the credit that the account came with is on the meter")
    if not 0 <= charge_uc <= MAX_UC - standing.adjusted_uc:
        raise Refused("charge_uc", charge_uc, f"0..{MAX_UC - standing.adjusted_uc}")
    total_uc = standing.adjusted_uc + charge_uc
    if charge_uc:
        accounts.open_account(conn, accounts.INCOME_ENERGY)
        entries.post(
            conn,
            now_s,
            entries.ADJUSTED,
            debit=accounts.of_meter(number, standing.account_epoch),
            credit=accounts.INCOME_ENERGY,
            amount_uc=charge_uc,
            meter=number,
            cause=f"charged:{topics.meter_name(number)}:{standing.account_epoch}:{total_uc}",
        )
    return trust.set_mode(conn, now_s, number, mode, actor, adjusted_uc=total_uc, **allowance)  # type: ignore[arg-type]
