"""New keys for a meter on real MicroPython over real links, the root key apart from the head end all the while."""

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, select

from headend.fleet.meters import add_meter
from headend.keys import root_orders
from headend.ledger import channels, payments
from headend.orders import ceremony, keys_held, rollout
from headend.service import Service
from headend.store import MONEY
from headend.store.schema import order
from meterlink.orders import ASPECT_CREDIT, ROLE_CONTROL, ROLE_CREDIT, Order
from tests.system.test_links import HASTY, LIMIT_S, NUMBER, PAID_UC, Place


def _newest_credit(conn: Connection) -> tuple[str, bytes | None]:
    query = select(order.c.state, order.c.signed).where(order.c.aspect == ASPECT_CREDIT).order_by(order.c.id.desc())
    state, signed = conn.execute(query.limit(1)).one()
    return state, signed


@pytest.mark.parametrize("kind", ["serial", "mqtt"])
def test_keys_change_over(kind: str, tmp_path: Path) -> None:
    async def scenario(place: Place) -> None:
        keys = place.keys
        for role in (ROLE_CREDIT, ROLE_CONTROL):
            keys.make_signing_key(role)
        keys.make_tag_key()
        async with Service(place.settings, keys, policy=HASTY) as service:
            store, now_s = service.store, int(time.time())

            async def until(reached: Callable[[], bool]) -> None:
                end = time.monotonic() + LIMIT_S
                while not reached():
                    place.meter.check()
                    assert time.monotonic() < end, service.troubles()
                    await asyncio.sleep(0.1)

            store.write(add_meter, now_s, place.record).result()
            store.write(channels.add_channel, now_s, "pos", channels.new_token(os.urandom), ("payments",), PAID_UC)
            for drop_old in (False, True):
                goal = rollout.goal_of(keys, drop_old=drop_old)

                def all_done(goal: rollout.Goal = goal) -> bool:
                    return all(store.read(rollout.stands, NUMBER, kind, goal) == rollout.DONE for kind in rollout.KINDS)

                for keys_of in rollout.KINDS:
                    store.write(rollout.roll, now_s, NUMBER, keys_of, goal, keys, "admin").result()
                signed = root_orders.sign(place.root, store.read(ceremony.waiting, keys))
                assert store.write(ceremony.take, now_s, keys, signed).result() == []
                service.wake()
                await until(all_done)
            assert store.read(keys_held.versions, NUMBER) == (2, None, None)
            store.write(payments.take, now_s, "pos", "receipt 1", NUMBER, PAID_UC, lane=MONEY).result()
            service.wake()
            await until(lambda: store.read(_newest_credit)[0] == "confirmed")
            raw = store.read(_newest_credit)[1]
            assert raw is not None
            stated = Order(raw).stated
            assert (stated.key_version, stated.tag_key_version) == (2, 2)

    with contextlib.ExitStack() as stack:
        asyncio.run(asyncio.wait_for(scenario(Place(tmp_path, kind, stack)), 3 * LIMIT_S))
