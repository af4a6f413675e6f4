"""Orders by the thousand over lossy carriers: whatever is called confirmed was so at the meter.

`make soak` states 100 000; OPENPREPAY_ORDERS is how many. Each farm of six meters takes its share of them.
"""

import os

import pytest

from meterlink import reports
from openprepay.simcheck import farm
from tests.host.meter_rig import meter

ORDERS = int(os.environ.get("OPENPREPAY_ORDERS", "300"))
SEED = int(os.environ.get("OPENPREPAY_SEED", "0"))
MOST = 2_500  # orders of a farm
FARMS = -(-ORDERS // MOST)


@pytest.mark.parametrize("seed", range(SEED, SEED + FARMS))
def test_whatever_is_confirmed_was_true_and_everything_comes_to_an_end(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    orders = -(-ORDERS // FARMS)
    made, ended, checks = farm.run(orders, seed, meters=6)
    with capsys.disabled():
        print(f"\n{ended.total()} orders: " + ", ".join(f"{count} {state}" for state, count in ended.most_common()))
    assert ended.total() >= orders
    assert made.network.lost and made.network.repeated and made.spoiled and made.engine.counts["not_sent_deliver"]
    assert ended["confirmed"] > ended.total() // 4 and checks > ended["confirmed"]
    assert not set(ended) - {"confirmed", "accepted", "refused", "expired", "superseded"}


def test_a_question_about_what_no_aspect_is_is_answered() -> None:
    """Nothing guards a question; a spoiled one, or a stranger's, must not end the firmware."""
    one = meter(7, 2).meter
    for selector in range(8):
        one.report(reports.KIND_REPORT, bytes(8), 0, selector)
