"""The way up: whatever meters say together, each is taken once and in its order, and each hears of its own outcome."""

import threading
from collections import Counter
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from headend.links.port import Message
from headend.links.upward import Handed, Upward
from meterlink import topics

LIMIT_S = 60

SAID = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([topics.UP_INTERVALS, topics.UP_REPORT])), max_size=12),
    max_size=6,
)


@given(SAID, st.sets(st.integers(0, 71), max_size=6))
@settings(max_examples=60, deadline=None)
def test_each_meter_keeps_its_order_and_each_message_its_outcome(
    said: list[list[tuple[int, str]]], bad: set[int]
) -> None:
    lock = threading.Lock()
    taken: list[Message] = []
    lists: list[set[str]] = []

    def up(messages: Sequence[Message]) -> Sequence[BaseException | None]:
        with lock:
            taken.extend(messages)
            lists.append({what for _, what, _ in messages} if len(messages) > 1 else set())
        return [ValueError(raw) if int(raw) in bad else None for _, _, raw in messages]

    told = Counter[str]()
    all_told = threading.Event()
    wanted = sum(map(len, said))
    number = 0
    handed: list[Handed] = []

    def heard(committed: int) -> None:
        with lock:
            told["committed"] += committed
            if all(one.ended for one in handed) and len(handed) == wanted:
                all_told.set()

    upward = Upward(up, threads=3)
    for some in said:
        fresh = []
        for meter, what in some:
            fresh.append(Handed((meter, what, b"%d" % number), heard))
            number += 1
        with lock:
            handed += fresh
        upward.hand_all(fresh)
    assert wanted == 0 or all_told.wait(LIMIT_S)
    upward.close()
    for meter in range(1, 5):
        mine = [one.message for one in handed if one.message[0] == meter]
        assert [one for one in taken if one[0] == meter] == mine
    assert {int(one.message[2]) for one in handed if one.error is not None} == bad & set(range(wanted))
    assert told["committed"] == sum(one.error is None for one in handed)
    assert all(kinds <= {topics.UP_INTERVALS} for kinds in lists)  # several at once are batches of intervals


def test_what_waits_meanwhile_goes_together_whatever_meter_it_is_of() -> None:
    entered, held = threading.Semaphore(0), threading.Event()
    lists: list[list[Message]] = []

    def up(messages: Sequence[Message]) -> Sequence[BaseException | None]:
        lists.append(list(messages))
        entered.release()
        held.wait(LIMIT_S)
        return [None] * len(messages)

    upward = Upward(up)
    futures = []
    for meter, what in ((1, topics.UP_INTERVALS), (2, topics.UP_INTERVALS), (3, topics.UP_REPORT)):
        futures.append(upward.hand(meter, what, b"under way"))
        assert entered.acquire(timeout=LIMIT_S)
    futures += [upward.hand(meter, topics.UP_INTERVALS, b"waits") for meter in range(1, 60)]
    held.set()
    for future in futures:
        future.result(LIMIT_S)
    upward.close()
    assert list(map(len, lists))[:3] == [1, 1, 1]
    assert max(map(len, lists)) >= 56  # all but those of meters 1, 2 and 3, which may not have been free again
