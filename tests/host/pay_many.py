"""Run as a process of its own: URL NAME COUNT — take COUNT payments with ids NAME-0, NAME-1 …, and print each one that
was acknowledged. COUNT 0 goes on until it is killed.
"""

import itertools
import sys
from concurrent.futures import Future

from headend.ledger import payments
from headend.store import MONEY, open_store
from tests.host.books import CHANNEL, METER, NOW_S

AHEAD = 8


def main(url: str, name: str, count: int) -> None:
    pending: list[Future[payments.PaymentAnswer]] = []
    with open_store(url) as store:
        print("ready", flush=True)
        sys.stdin.readline()
        for number in range(count) if count else itertools.count():
            amount_uc = 1_000 + number % 7
            pending.append(store.write(payments.take, NOW_S, CHANNEL, f"{name}-{number}", METER, amount_uc, lane=MONEY))
            if len(pending) > AHEAD:
                acknowledge(pending.pop(0))
        for future in pending:
            acknowledge(future)


def acknowledge(future: Future[payments.PaymentAnswer]) -> None:
    answer = future.result()
    print(answer.payment_id, answer.amount_uc, answer.total_uc, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
