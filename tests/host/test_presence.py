"""Who is at the broker: what was said last counts, and made-up numbers fill no memory."""

from hypothesis import given
from hypothesis import strategies as st

from headend.links.presence import Presence

MOST = 4


@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([True, False, None])), max_size=60))
def test_the_last_word_of_those_that_spoke_last_is_known(said: list[tuple[int, bool | None]]) -> None:
    presence = Presence(MOST)
    spoke: list[tuple[int, bool]] = []  # the latest at the end; the model
    for meter, there in said:
        spoke = [one for one in spoke if one[0] != meter]
        if there is None:
            presence.forget(meter)
        else:
            presence.note(meter, there)
            spoke = [*spoke, (meter, there)][-MOST:]
        assert len(presence) == len(spoke)
        assert {meter: presence.of(meter) for meter in range(1, 10)} == {
            meter: dict(spoke).get(meter) for meter in range(1, 10)
        }


def test_a_flood_of_numbers_does_not_grow() -> None:
    presence = Presence(100)
    for number in range(10_000):
        presence.note(number, True)
    assert len(presence) == 100
    assert presence.of(9_999) is True and presence.of(0) is None
