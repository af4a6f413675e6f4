"""What rigs read of a head end's database, and how they write to it."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import select

from headend.clock import ManualClock
from headend.store import Store
from headend.store.schema import order, order_history


class Rows:
    """A part of a rig that has a `store` and a `clock`."""

    store: Store
    clock: ManualClock

    def write(self, fn: Callable[..., Any], *args: Any, **options: Any) -> Any:
        """Run a domain function `fn(conn, now_s, …)` and commit."""
        return self.store.write(lambda conn: fn(conn, self.clock.now_s(), *args, **options)).result()

    def order(self, order_id: int) -> Any:
        return self.store.read(lambda conn: conn.execute(select(order).where(order.c.id == order_id)).one())

    def state(self, order_id: int) -> str:
        return str(self.order(order_id).state)

    def history(self, order_id: int) -> list[tuple[str, str, str]]:
        """(event, state, note) of an order, oldest first."""
        columns = order_history.c.event, order_history.c.state, order_history.c.note
        query = select(*columns).where(order_history.c.order_id == order_id).order_by(order_history.c.id)
        return self.store.read(lambda conn: [tuple(row) for row in conn.execute(query)])
