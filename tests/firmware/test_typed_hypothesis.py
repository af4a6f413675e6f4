"""The memory of typed tokens against a plain model: whatever is typed, ordered, cut off and changed, in any order.

The model keeps, for each key, all that was ever taken, and computes what the meter may still know of it. What matters
most is said on its own: no token counts twice, under any key, whatever became of that key in between.
"""

from hypothesis import given, settings
from hypothesis import strategies as st

from meter import tids
from meterlink.sts import results
from tests.firmware.tokens import KEY, KWH_UC, NEW_KEY, TID, TypedRig, sections

KEYS = (KEY, NEW_KEY, bytes(range(16)))
PLACES = 50
FILLED = 47  # places that are taken before it begins, so that the memory runs over

near = st.integers(0, 2 * FILLED + 8)
STEP = st.one_of(
    st.tuples(st.just("type"), near),
    st.tuples(st.just("order"), near),
    st.tuples(st.just("key"), st.integers(0, 2)),
    st.tuples(st.just("half a change"), st.integers(0, 3)),
    st.tuples(st.just("outage"), st.just(0)),
)


class Model:
    """What the meter should know: `remembered` under the key in force, `floor` below which it knows nothing."""

    def __init__(self) -> None:
        self.key = 0
        self.remembered: dict[int, str] = {}
        self.floor = 0
        self.reached: dict[int, int] = {}
        self.credited: set[tuple[int, int]] = set()

    def judge(self, tid: int) -> int:
        if tid in self.remembered:
            return results.USED
        full = len(self.remembered) == PLACES
        old = tid < self.floor or (full and tid < min(self.remembered))
        return results.OLD if old else results.ACCEPTED

    def remember(self, tid: int, how: str) -> None:
        self.remembered[tid] = how
        if len(self.remembered) > PLACES:
            del self.remembered[min(self.remembered)]

    def change(self, key: int) -> None:
        if key != self.key:
            self.reached[self.key] = max([self.floor, *(tid + 1 for tid in self.remembered)])
            self.key, self.remembered, self.floor = key, {}, self.reached.get(key, 0)


@settings(max_examples=50)
@given(st.lists(STEP, min_size=5, max_size=40))
def test_the_memory_is_what_the_model_says(steps: list[tuple[str, int]]) -> None:
    rig, model = TypedRig(), Model()
    before = rig.meter.typed.state()
    for n in range(FILLED):
        rig.meter.typed.mark(1, TID + 2 * n)
        model.remember(TID + 2 * n, "ordered")
    assert rig.meter.commit(rig.meter.typed.items(before), True)
    accepted = 0
    for what, number in steps:
        typed = rig.meter.typed
        tid = TID + number
        if what == "type":
            expected = model.judge(tid)
            assert rig.type(tid, 1, key=KEYS[model.key]) == expected
            if expected == results.ACCEPTED:
                assert (model.key, tid) not in model.credited, "never twice"
                model.credited.add((model.key, tid))
                model.remember(tid, "typed")
                accepted += 1
        elif what == "order":
            revision = typed.attributes[3]
            expected_state = {results.ACCEPTED: tids.UNKNOWN, results.OLD: tids.TYPED}.get(model.judge(tid))
            if expected_state is None:
                expected_state = tids.TYPED if model.remembered[tid] == "typed" else tids.ORDERED
            assert typed.state_of(revision, tid) == expected_state
            if expected_state == tids.UNKNOWN:
                before = typed.state()
                typed.mark(revision, tid)
                assert rig.meter.commit(typed.items(before), True)
                model.remember(tid, "ordered")
        elif what == "key":
            rig.run(3601, 3601)  # a change begun before is forgotten
            if number != model.key:
                for digits in sections(KEYS[model.key], KEYS[number], krn=number + 1):
                    assert rig.enter(digits) in (results.SECTION_STORED, results.ACCEPTED)
                model.change(number)
            assert typed.key == KEYS[model.key]
        elif what == "half a change":
            other = (model.key + 1) % 3
            rig.enter(sections(KEYS[model.key], KEYS[other], krn=other + 1)[number])
            assert typed.key == KEYS[model.key] or typed.sections_stored() == 0
            if typed.key != KEYS[model.key]:
                model.change(other)
        else:
            rig.outage()
        typed = rig.meter.typed
        assert sorted(word >> 1 for word in typed.tids.words) == sorted(model.remembered)
        assert rig.meter.account.balance_uc() == accepted * KWH_UC // 10
        assert typed.lockout.wrong == 0


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 40 * 1440), st.integers(1, 400)), min_size=1, max_size=60))
def test_the_cap_holds_in_any_thirty_days(entries: list[tuple[int, int]]) -> None:
    """(minutes until the next entry, amount): no 30 days hold more than the cap."""
    cap = 1000
    rig = TypedRig(typed_cap_uc=cap * KWH_UC // 10)
    taken: list[tuple[int, int]] = []
    tid = TID
    for minutes, units in entries:
        if minutes:
            rig.run(60 * minutes, 60 * minutes)
        tid += 1
        if rig.type(tid, units) == results.ACCEPTED:
            taken.append((rig.meter.now_s(), units))
    for start_s, _ in taken:
        assert sum(units for at_s, units in taken if start_s <= at_s < start_s + 30 * 86_400) <= cap
