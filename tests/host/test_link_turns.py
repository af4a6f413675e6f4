"""Whose turn it is on a bus, and in what order messages reach the store."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest

from headend.links.port import Sent
from headend.links.turns import ORDERS, QUESTIONS, RECORDS, Turns, urgency
from headend.links.upward import Upward
from tests.host.upward import singly

LIMIT_S = 60


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, LIMIT_S))


def test_the_most_urgent_goes_first_and_equals_in_their_order() -> None:
    async def scenario() -> None:
        turns = Turns()
        went: list[str] = []

        async def one(name: str, how: int) -> None:
            urgency.set(how)
            await turns.take()
            went.append(name)
            await asyncio.sleep(0)
            turns.give()

        await turns.take()
        asked = [("r1", RECORDS), ("q1", QUESTIONS), ("r2", RECORDS), ("o1", ORDERS), ("q2", QUESTIONS), ("o2", ORDERS)]
        tasks = [asyncio.create_task(one(*who)) for who in asked]
        await asyncio.sleep(0)
        turns.give()
        await asyncio.gather(*tasks)
        assert went == ["o1", "o2", "q1", "q2", "r1", "r2"]
        await turns.take()  # nobody holds it any more
        turns.give()

    run(scenario())


def test_who_gives_up_waiting_costs_nobody_a_turn() -> None:
    async def scenario() -> None:
        turns = Turns()
        await turns.take()
        first, second, third = (asyncio.create_task(turns.take()) for _ in range(3))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        turns.give()  # to the second, which is cancelled before it runs
        second.cancel()
        await asyncio.wait({second})
        assert second.cancelled()
        await third
        turns.give()
        await turns.take()

    run(scenario())


def test_messages_of_one_meter_keep_their_order_while_others_pass() -> None:
    held = threading.Event()
    taken: list[tuple[int, int]] = []

    def up(meter: int, what: str, raw: bytes) -> None:
        if (meter, raw) == (1, b"0"):
            held.wait(LIMIT_S)
        taken.append((meter, int(raw)))

    upward = Upward(singly(up))
    futures = [upward.hand(meter, "report", str(number).encode()) for number in range(100) for meter in (1, 2, 3)]
    for future, meter in zip(futures, (1, 2, 3) * 100, strict=True):
        if meter != 1:
            future.result(LIMIT_S)
    assert {meter for meter, _ in taken} == {2, 3}
    held.set()
    for future in futures:
        future.result(LIMIT_S)
    for meter in (1, 2, 3):
        assert [number for one, number in taken if one == meter] == list(range(100))
    upward.close()


def test_closing_waits_for_what_runs_and_drops_what_waits() -> None:
    begun, held = threading.Event(), threading.Event()
    taken: list[bytes] = []

    def up(meter: int, what: str, raw: bytes) -> None:
        begun.set()
        held.wait(LIMIT_S)
        taken.append(raw)

    upward = Upward(singly(up))
    running, waiting = upward.hand(1, "report", b"runs"), upward.hand(1, "report", b"waits")
    assert begun.wait(LIMIT_S)
    closing = threading.Thread(target=upward.close)
    closing.start()
    held.set()
    closing.join(LIMIT_S)
    assert not closing.is_alive()
    assert running.result(0) is None
    assert waiting.done()  # taken or dropped, whichever came first
    assert (b"waits" in taken) != waiting.cancelled()
    assert upward.hand(1, "report", b"late").cancelled()
    assert b"late" not in taken


def test_what_up_raises_is_the_outcome_of_that_message_alone() -> None:
    def up(meter: int, what: str, raw: bytes) -> None:
        if raw == b"bad":
            raise ValueError("bad")

    upward = Upward(singly(up))
    bad, good = upward.hand(1, "report", b"bad"), upward.hand(1, "report", b"good")
    with pytest.raises(ValueError, match="bad"):
        bad.result(LIMIT_S)
    assert good.result(LIMIT_S) is None
    upward.close()


def test_sent_is_true_where_it_was_taken_over() -> None:
    assert Sent(True)
    assert not Sent(False, "why")
