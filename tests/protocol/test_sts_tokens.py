"""Typed tokens on the host: all that is issued is read, what was changed is refused, and nothing tells a secret."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterlink.modbus import crc16
from meterlink.sts import amount, dkga04, fields, issue, results
from meterlink.sts.keychange import KeyChange
from meterlink.sts.token import KEY_SECTIONS, TokenError, decode

BITS = 66
KEYS = st.binary(min_size=16, max_size=16)
ONCE = st.sampled_from(
    [(0, subclass) for subclass in range(8)] + [(2, subclass) for subclass in (0, 1, 2, 5, 6, 7, 11)]
)
PAN = "600727000000000009"


def taken(key: bytes, number: int) -> bool:
    try:
        decode(key, f"{number:020}")
    except TokenError as error:
        assert error.code in (results.REJECTED, results.MALFORMED)
        return False
    return True


@given(KEYS, ONCE, st.integers(0, 15), st.integers(0, 2**24 - 1), st.integers(0, 2**16 - 1))
def test_what_is_issued_is_read(key: bytes, kind: tuple[int, int], rnd: int, tid: int, register: int) -> None:
    digits = issue.once(key, *kind, rnd, tid, register, experimental_currency=True)
    assert len(digits) == 20 and digits.isdigit()
    token = decode(key, digits)
    assert (token.token_class, token.subclass) == kind
    assert (token.data >> 40, token.tid, token.register) == (rnd, tid, register)
    told = fields.describe(token, 2014)
    assert (told["rnd"], told["tid"], told["register"]) == (rnd, tid, f"{register:04x}")
    assert told["name"] == fields.NAMES[kind] and told["issued_s"] == 1_388_534_400 + 60 * tid


@given(KEYS, KEYS, st.integers(0, 999_999), st.integers(0, 99), st.integers(0, 3), st.integers(1, 9),
       st.integers(0, 255), st.booleans(), st.permutations(range(4)))  # fmt: skip
def test_a_key_change_arrives_whole(
    old: bytes, new: bytes, sgc: int, ti: int, kt: int, krn: int, ken: int, rollover: bool, order: list[int]
) -> None:
    attributes = dkga04.KeyAttributes(PAN, sgc, ti, kt, krn, 2014, ken)
    tokens = issue.key_change(old, new, attributes, rollover)
    assert issue.key_change(old, new, attributes, rollover, 2) == tokens[:2]
    change, made = KeyChange(), None
    for n in order:
        assert made is None
        token = decode(old, tokens[n])
        assert token.subclass == KEY_SECTIONS[n]
        made = change.take(token.subclass, token.data)
        change = KeyChange(change.pack())
    assert made is not None
    assert made.key == new
    assert (made.sgc, made.ti, made.kt, made.krn, made.ken, made.rollover) == (sgc, ti, kt, krn, ken, rollover)


def test_every_single_bit_change_is_refused_up_to_the_crc() -> None:
    """Under the cipher a change makes another block at random, and one in 2^16 of them has a fitting CRC."""
    draw = random.Random(66)
    changes = passed = 0
    for _ in range(400):
        key = draw.randbytes(16)
        number = int(issue.once(key, draw.choice((0, 2)), 0, draw.randrange(16), draw.randrange(2**24), 100))
        for bit in range(BITS):
            changes += 1
            passed += taken(key, number ^ 1 << bit)
    assert changes == 26_400
    assert passed <= 5  # 0.4 are expected


def test_a_change_of_class_is_always_refused() -> None:
    """The class is clear, and under the CRC."""
    draw = random.Random(0)
    for _ in range(200):
        key = draw.randbytes(16)
        number = int(issue.once(key, 0, 0, draw.randrange(16), draw.randrange(2**24), draw.randrange(2**16)))
        assert taken(key, number)
        assert not taken(key, number ^ 2 << 27) and not taken(key, number ^ 3 << 27)


def test_every_single_bit_change_of_a_clear_token_is_refused() -> None:
    """Without a cipher the CRC finds each of them; a class that is enciphered makes a block at random of it."""
    draw = random.Random(1)
    for _ in range(50):
        subclass = draw.randrange(2)
        bits = 16 if subclass else 8
        number = int(issue.display(subclass, draw.randrange(2 ** (44 - bits)), draw.randrange(2**bits)))
        assert not any(taken(bytes(16), number ^ 1 << bit) for bit in range(BITS))


def test_guesses_are_refused_up_to_the_crc() -> None:
    draw = random.Random(20)
    key = draw.randbytes(16)
    guesses = 20_000
    passed = sum(taken(key, draw.randrange(10**20)) for _ in range(guesses))
    assert passed <= 4  # 0.17 are expected: 2^66 of 10^20 numbers, three classes of four, one CRC in 2^16


def test_the_example_of_the_crc() -> None:
    """Its seven bytes are class 0 and six of data; the CRC stands byte-swapped in the block."""
    assert crc16(bytes.fromhex("000B19EB230100")).to_bytes(2, "little").hex() == "c207"


@given(st.integers(0, amount.MAX_UNITS))
def test_an_amount_is_rounded_up_by_less_than_its_step(units: int) -> None:
    register = issue.register_of(units)
    assert 0 <= amount.units_of(register) - units < 10 ** (register >> 14)
    assert register == 0 or amount.units_of(register - 1) < units


def test_registers_rise_without_a_gap_or_an_overlap() -> None:
    units = [amount.units_of(register) for register in range(0x10000)]
    assert units == sorted(set(units)) and units[-1] == amount.MAX_UNITS
    assert [issue.register_of(one) for one in units] == list(range(0x10000))


@given(st.sampled_from(dkga04.BASES), st.integers(0, 2**24 - 1), st.integers(0, 59))
def test_no_token_has_the_reserved_minute(base: int, minute: int, second: int) -> None:
    tid = issue.tid_of(base, issue.start_s(base) + 60 * minute + second)
    assert tid % 1440 != 1
    assert tid == minute + (minute % 1440 == 1)
    assert issue.issued_s(base, tid) // 60 == issue.start_s(base) // 60 + tid


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda key: issue.once(key, 1, 0, 0, 0, 0), "class: 1 given, 0 or 2 expected"),
        (lambda key: issue.once(key, 3, 0, 0, 0, 0), "class: 3 given"),
        (lambda key: issue.once(key, 0, 8, 0, 0, 0), "subclass: 8 given"),
        (lambda key: issue.once(key, 0, 4, 0, 0, 0), "subclass: 4 given, 0..3"),
        (lambda key: issue.once(key, 2, 3, 0, 0, 0), "subclass: 3 given"),
        (lambda key: issue.once(key, 0, 0, 16, 0, 0), "rnd: 16 given, 0..15 expected"),
        (lambda key: issue.once(key, 0, 0, 0, 2**24, 0), "tid: 16777216 given"),
        (lambda key: issue.once(key, 0, 0, 0, -1, 0), "tid: -1 given"),
        (lambda key: issue.once(key, 0, 0, 0, 0, 2**16), "register: 65536 given"),
        (lambda key: issue.once(key[:-1], 0, 0, 0, 0, 0), "key: 15 bytes given, 16 bytes expected"),
        (lambda key: issue.display(2, 0, 0), "subclass: 2 given, 0..1 expected"),
        (lambda key: issue.display(0, 2**36, 0), "control: 68719476736 given"),
        (lambda key: issue.display(1, 2**28, 0), "control: 268435456 given"),
        (lambda key: issue.display(0, 0, 256), "maker: 256 given"),
        (lambda key: issue.register_of(amount.MAX_UNITS + 1), "units: 18201625 given"),
        (lambda key: issue.register_of(-1), "units: -1 given"),
        (lambda key: issue.start_s(2000), "base: 2000 given, 1993 or 2014 or 2035 expected"),
    ],
)
def test_refusals_name_field_value_and_expectation(call: object, told: str) -> None:
    key = b"\xab" * 16
    with pytest.raises(dkga04.FieldError) as error:
        call(key)  # type: ignore[operator]
    assert str(error.value).startswith(told)
    assert "abab" not in str(error.value) and "\\xab" not in str(error.value)


@given(KEYS, st.integers(0, 10**20 - 1))
def test_a_rejection_tells_nothing_of_key_and_token(key: bytes, number: int) -> None:
    digits = f"{number:020}"
    try:
        decode(key, digits)
    except TokenError as error:
        assert str(error) == f"token: result {error.code}"
