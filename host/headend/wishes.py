"""When the dispatcher has something to do at the earliest: the least of what waits wishes for attention.

A row under lease may wish in vain. What no worker serves is nobody's wish.
"""

from collections.abc import Callable
from typing import NamedTuple

from sqlalchemy import Connection, func, literal_column, select

from headend.campaigns import following as campaigns
from headend.collection import turns
from headend.gate import pace
from headend.orders import lifecycle
from headend.store.prepared import prepared
from headend.store.schema import order, outbox
from headend.tokens import making
from headend.workers import mine

NEVER = 1 << 62

_EARLIEST = prepared(select(func.min(outbox.c.next_s)))
_OF_ORDER = select(outbox.c.next_s).join(order, order.c.id == outbox.c.order_id)
_OF_HOLDER = prepared(
    mine.alone(_OF_ORDER.where(order.c.signed.is_not(None)).order_by(outbox.c.next_s).limit(1), outbox.c.meter)
)
_UNSIGNED = prepared(
    select(func.min(outbox.c.next_s))
    .join(order, order.c.id == outbox.c.order_id)
    .where(order.c.state == literal_column(f"'{lifecycle.QUEUED}'"), order.c.signed.is_(None))
)


class Part(NamedTuple):
    """What of the dispatcher's work is this process's, where several share a database.

    `holder`: in whose name it holds shards and buses; only meters of these are sent anything unasked ·
    `dispatches`: whether it sends at all · `signs()`: whether to have statements signed now.
    """

    holder: str
    dispatches: bool
    signs: Callable[[], bool]


def of_all(conn: Connection) -> int:
    """UTC second, for who is alone; NEVER without orders and meters."""
    return _least(
        _EARLIEST(conn).scalar_one(),
        turns.next_s(conn),
        making.next_s(conn),
        pace.next_s(conn),
        campaigns.next_s(conn),
    )


def of_part(conn: Connection, part: Part) -> int:
    """The same for one of several workers."""
    wishes = [pace.next_s(conn), campaigns.next_s(conn)]
    if part.dispatches:
        held = mine.values(conn, part.holder)
        wishes += [_OF_HOLDER(conn, held).scalar_one_or_none(), turns.next_s(conn, part.holder)]
    if part.signs():
        wishes += [making.next_s(conn), _UNSIGNED(conn).scalar_one()]
    return _least(*wishes)


def _least(*wishes: int | None) -> int:
    return min(NEVER if at_s is None else at_s for at_s in wishes)
