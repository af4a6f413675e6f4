"""Several workers on one database: a budget is given away once, and an order is handed out once a lease."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from headend.gate import freeze, policy
from headend.store import open_store
from tests.host.gate_rig import EVE, Office

WORKERS = 3


@pytest.mark.parametrize("any_store_url", ["sqlite", "postgresql"], indirect=True)
def test_workers_share_a_budget_and_hand_out_each_order_once(any_store_url: str) -> None:
    office = Office(any_store_url, meters=24, areas=("north/f-1", "north/f-2"))
    rules = policy.flat(1_000)
    office.write(policy.put, "system", rules, "to state them all")
    made = [office.stop(number) for number in office.meters]
    assert {office.state(one) for one in made} == {"queued"}
    rules["limits"]["alone"]["utility"] = {"hour": [7, 7, 0], "day": [7, 7, 0]}
    office.write(policy.put, "system", rules, "and to send seven")
    stores = [open_store(any_store_url, inline=True) for _ in range(WORKERS)]
    engines = []
    for store in stores:
        engine = office.another()
        engine._store = store
        engines.append(engine)

    def work(at: int) -> list[int]:
        found = []
        for second in range(6):
            for action in engines[at].due(office.clock.now_s() + second):
                engines[at].sent(action, True)
                found += [action.order_id] if hasattr(action, "order_id") else []
        return found

    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            delivered = [one for part in pool.map(work, range(WORKERS)) for one in part]
    finally:
        for store in stores:
            store.close()
    passed = [row.order_id for row in office.passes()]
    assert len(passed) == 7, "seven, whoever counted"
    assert set(delivered) == set(passed)
    first = [row for row in office.orders() if row.sent_s is not None]
    assert {row.id for row in first} == set(passed)
    office.write(freeze.set, EVE, "enough")
    office.close()
