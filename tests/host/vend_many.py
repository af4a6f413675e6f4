"""Run as a process of its own: DATABASE SIGNER NAME COUNT — sell COUNT typed tokens for one meter with payment ids
NAME-0, NAME-1 …, made by that signer, and print id, TID and digits of each. Every sale is asked for twice.
"""

import sys

from headend.clock import SystemClock
from headend.keys.signer_client import SignerClient
from headend.store import MONEY, open_store
from headend.tokens import making, vending
from tests.host.books import CHANNEL, METER


def main(url: str, signer: str, name: str, count: int) -> None:
    client, clock = SignerClient(signer), SystemClock()
    with open_store(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(2 * count):
            sale = (clock.now_s(), CHANNEL, f"{name}-{number // 2}", METER, 100_000 * (number // 2 + 1))
            row, _ = store.write(vending.vend, *sale, lane=MONEY).result()
            made = making.make(store, client, clock.now_s(), row.id)
            print(made.id, made.tid, made.digits, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
