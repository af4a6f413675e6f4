"""How what a source has credited beyond the books is divided into sales."""

from hypothesis import given
from hypothesis import strategies as st

from headend.ledger.recovered import split
from meterlink import bodies

amounts = st.lists(st.integers(1, 1_000), max_size=8)


@given(sold=amounts, known=st.integers(0, 8), listed=st.integers(0, bodies.MAX_SALES))
def test_every_unit_beyond_the_books_stands_in_one_place(sold: list[int], known: int, listed: int) -> None:
    """Whatever the order still lists: the parts follow each other, and add up to what the books lack."""
    totals = [sum(sold[: number + 1]) for number in range(len(sold))]
    sales = list(zip(totals, sold, strict=True))[len(sold) - min(listed, len(sold)) :]
    known_uc, credited_uc = sum(sold[:known]), sum(sold)
    found = split(known_uc, credited_uc, sales)
    assert sum(amount_uc for _, amount_uc, _ in found) == credited_uc - known_uc
    at_uc = known_uc
    for total_uc, amount_uc, is_listed in found:
        assert total_uc - amount_uc == at_uc
        at_uc = total_uc
        assert not is_listed or (total_uc, amount_uc) in sales
    lacking = [sale for sale in sales if sale[0] - sale[1] >= known_uc]
    assert [(total_uc, amount_uc) for total_uc, amount_uc, is_listed in found if is_listed] == lacking


def test_a_sale_that_the_books_know_in_part_is_not_taken_for_a_whole_one() -> None:
    assert split(15, 40, [(20, 20), (40, 20)]) == [(20, 5, False), (40, 20, True)]
