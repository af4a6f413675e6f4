"""Run as a process of its own: URL LEASE_S — a worker that does what it is told on standard input, line by line.

`due`: take what is due, and print the deliveries as JSON: [order id, lease] each · `sent ORDER LEASE`: the carrier took
it over.
"""

import json
import os
import sys

from headend.clock import SystemClock
from headend.engine import Engine
from headend.keys.keystore import KeyStore
from headend.orders.actions import Deliver
from headend.orders.policy import Policy
from headend.store import open_store
from tests.host.peer import Noise


def main(url: str, lease_s: int) -> None:
    clock = SystemClock()
    policy = Policy(lease_s=lease_s, settle_s=lease_s, retry_s=lease_s, retry_max_s=lease_s, database_clock=True)
    with open_store(url) as store:
        engine = Engine(store, KeyStore.generate(Noise()), clock, os.urandom, policy=policy)
        print("ready", flush=True)
        for line in sys.stdin:
            word, *rest = line.split()
            if word == "due":
                taken = [one for one in engine.due(clock.now_s()) if isinstance(one, Deliver)]
                print(json.dumps([[one.order_id, one.lease] for one in taken]), flush=True)
            elif word == "sent":
                engine.sent(Deliver(0, int(rest[0]), b"", lease=rest[1]), True, "taken over")
                print("heard", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
