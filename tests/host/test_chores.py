"""Chores come round at their pace, whatever one of them or the clock does."""

import pytest

from headend.chores import AGAIN_S, Chore, Chores, Walk
from headend.clock import ManualClock
from tests.host.books import NOW_S


class Told:
    """A chore that does as it is told and notes when it ran."""

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.answer: object = None

    def __call__(self, now_s: int) -> object:
        self.ran.append(now_s)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_each_at_its_pace() -> None:
    clock, often, seldom = ManualClock(NOW_S), Told(), Told()
    chores = Chores((Chore("often", 10, often), Chore("seldom", 3600, seldom)), clock)
    for _ in range(100):
        chores.round()
        clock.advance(1)
    assert often.ran == list(range(NOW_S, NOW_S + 100, 10)) and seldom.ran == [NOW_S]


def test_what_has_more_to_do_comes_again_at_once() -> None:
    clock, busy = ManualClock(NOW_S), Told()
    chores = Chores((Chore("busy", 3600, busy),), clock)
    busy.answer = True
    chores.round()
    busy.answer = False
    chores.round()
    chores.round()
    assert len(busy.ran) == 2


def test_one_that_fails_holds_up_no_other_and_is_tried_again() -> None:
    clock, bad, good = ManualClock(NOW_S), Told(), Told()
    chores = Chores((Chore("bad", 3600, bad), Chore("good", 10, good)), clock)
    bad.answer = OSError("full")
    for _ in range(AGAIN_S):
        chores.round()
        clock.advance(1)
    assert dict(chores.trouble) == {"bad": "Its last run failed: OSError."}
    assert bad.ran == [NOW_S] and len(good.ran) == AGAIN_S // 10
    bad.answer = None
    chores.round()
    assert bad.ran == [NOW_S, NOW_S + AGAIN_S] and not chores.trouble


def test_a_clock_set_back_stops_nothing() -> None:
    clock, chore = ManualClock(NOW_S), Told()
    chores = Chores((Chore("one", 60, chore),), clock)
    chores.round()
    earlier = ManualClock(NOW_S - 86_400)
    chores._clock = earlier  # the machine's clock was put right
    chores.round()
    chores.round()
    earlier.advance(60)
    chores.round()
    assert chore.ran == [NOW_S, NOW_S - 86_400, NOW_S - 86_340]


def test_closed_means_no_more() -> None:
    clock, chore = ManualClock(NOW_S), Told()
    chores = Chores((Chore("one", 60, chore),), clock)
    chores.close()
    chores.round()
    assert chore.ran == []


def test_a_walk_goes_on_where_it_stopped_and_begins_again_behind_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def some(now_s: int, behind: int) -> tuple[int, int]:
        seen.append(behind)
        return 1, behind + 1 if behind < 2 else 0

    walk = Walk(some)
    assert not walk.run(0)
    monkeypatch.setattr("headend.chores.LONGEST_S", -1)  # time for one part
    assert [walk.run(0) for _ in range(4)] == [True, True, False, True]
    assert seen == [0, 1, 2, 0, 1, 2, 0]
