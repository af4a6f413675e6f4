"""`openprepay serve` itself, killed at random instants, while it starts too: what it answered is in the books once.

OPENPREPAY_KILLS and OPENPREPAY_SEED as in test_kill_cycles: one in twenty of its kills falls here.
"""

import os
import random
import signal
import time
from decimal import Decimal
from pathlib import Path

from tests.system.head_end import HeadEnd, meter
from tests.system.kill_rig import Till

NUMBERS = (17, 18, 19)
CYCLES = int(os.environ.get("OPENPREPAY_KILLS", "100")) // 20
START_S = 3.0
SEED = os.environ.get("OPENPREPAY_SEED", "1")


def micro(amount: str) -> int:
    return int(Decimal(amount) * 1_000_000)


def test_kills_while_payments_come(tmp_path: Path) -> None:
    dice = random.Random(SEED)
    with HeadEnd(tmp_path) as head_end:
        head_end.start()
        for number in NUMBERS:
            assert head_end.ask("POST", "/meters", meter(number))[0] == 201
        till = Till("till", head_end.port, NUMBERS, SEED, head_end.token)
        for _ in range(CYCLES):
            if dice.random() < 0.3:  # a start that is cut short
                assert head_end.end(signal.SIGKILL) == -signal.SIGKILL
                head_end.launch()
                time.sleep(dice.uniform(0, START_S))
            else:
                time.sleep(dice.uniform(0, 0.5))
            assert head_end.end(signal.SIGKILL) == -signal.SIGKILL
            head_end.start()
        till.stop()
        assert till.cut, "payments were cut off"
        for payment_id, amount_uc in till.taken.items():
            status, found = head_end.ask("GET", f"/payments/{payment_id}")
            assert (status, micro(found["amount"])) == (200, amount_uc)
        sold = [head_end.ask("GET", f"/meters/{number}")[1]["credit"]["sold"] for number in NUMBERS]
        assert sum(micro(one) for one in sold) == sum(till.taken.values())
