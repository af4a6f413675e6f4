"""Workers on one PostgreSQL and one broker that are killed, stopped in their tracks, cut off from the one or the other,
at random, while meters talk and channels sell: every record is stored once, every payment lands, no order forks.

OPENPREPAY_STRIKES says how often, OPENPREPAY_SEED which and when; the seed is in every failure.
"""

import os
import time
from pathlib import Path

from headend.workers.homes import SHARDS
from tests import postgres
from tests.system.worker_rig import GIVE_UP_S, Works

STRIKES = int(os.environ.get("OPENPREPAY_STRIKES", "15"))
SEED = os.environ.get("OPENPREPAY_SEED", "1")


def test_whatever_happens_to_one_of_three_the_others_go_on(tmp_path: Path) -> None:
    url = postgres.server().database()
    try:
        with Works(tmp_path, url, 3, SEED) as works:
            for strike in range(STRIKES):
                works.pay(3)
                if strike == STRIKES // 2:
                    works.wipe_broker()
                try:
                    works.strike()
                except AssertionError as error:
                    raise AssertionError(f"strike {strike} of seed {SEED}: {error}") from error
            works.settle()
            works.check()
            assert len(works.struck) >= min(4, STRIKES), works.struck
            assert works.crowd.births >= 2, "the broker was wiped, and the meters came again"
    finally:
        postgres.server().drop(url)


def test_one_that_ends_in_order_hands_over_at_once_and_one_that_comes_gets_its_share(tmp_path: Path) -> None:
    url = postgres.server().database()
    try:
        with Works(tmp_path, url, 2, SEED) as works:
            works.settle()
            works.end("w1")
            assert len(works.holders()) == 1, "what it held is free, and nobody has to wait until it runs out"
            ends = time.monotonic() + GIVE_UP_S
            while sum(works.holders().values()) != len(SHARDS):
                assert time.monotonic() < ends, works.holders()
                time.sleep(0.1)
            works.begin("w1")
            works.pay(5)
            works.settle()
            works.check()
    finally:
        postgres.server().drop(url)
