"""MISTY1 against RFC 2994 and against a second implementation; DKGA04's HMAC against `cryptography`."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from hypothesis import given
from hypothesis import strategies as st

from meterlink.sts import dkga04, misty1
from meterlink.sts.encipher import Encipher
from meterlink.sts.misty1 import Misty1
from tests.protocol import misty1_model
from tests.protocol.misty1_model import Model

VECTORS = Path(__file__).resolve().parents[1] / "vectors"
KEYS = st.binary(min_size=16, max_size=16)
BLOCKS = st.binary(min_size=8, max_size=8)
ATTRIBUTES = st.builds(
    dkga04.KeyAttributes,
    st.integers(0, 10**17 - 1).map(lambda number: with_check_digit(f"{number:017}")),
    st.integers(0, 999_999), st.integers(0, 99), st.integers(0, 3), st.integers(1, 9),
    st.sampled_from(dkga04.BASES),
)  # fmt: skip


def with_check_digit(digits: str) -> str:
    return next(digits + str(last) for last in range(10) if dkga04.luhn(digits + str(last)))


@pytest.mark.parametrize("line", (VECTORS / "misty1.jsonl").read_text().splitlines())
def test_the_answers_of_rfc_2994(line: str) -> None:
    key, plain, cipher = (bytes.fromhex(json.loads(line)[name]) for name in ("key", "plain", "cipher"))
    for implementation in (Encipher(key), Model(key)):
        assert implementation.encrypt(plain) == cipher
        assert implementation.decrypt(cipher) == plain


def test_two_implementations_agree_over_thousands_of_blocks() -> None:
    draw = random.Random(2994)
    for _ in range(200):
        key = draw.randbytes(16)
        ours, model = Encipher(key), Model(key)
        for _ in range(10):
            block = draw.randbytes(8)
            cipher = ours.encrypt(block)
            assert cipher == model.encrypt(block)
            assert model.decrypt(cipher) == block == Misty1(key).decrypt(cipher)
            assert ours.decrypt(block) == model.decrypt(block)


@given(KEYS, BLOCKS)
def test_two_implementations_agree(key: bytes, block: bytes) -> None:
    assert Encipher(key).encrypt(block) == Model(key).encrypt(block)
    assert Misty1(key).decrypt(block) == Model(key).decrypt(block)


@pytest.mark.parametrize(("table", "listed", "degree"), [
    (misty1._S7, misty1_model.S7, 3), (misty1._S9, misty1_model.S9, 2),
])  # fmt: skip
def test_the_s_boxes_are_those_of_the_rfc_and_have_the_properties_they_were_chosen_for(
    table: bytes, listed: list[int], degree: int
) -> None:
    """One wrong entry would break each of these: a permutation, of low degree, as far from linear as can be."""
    assert list(table) == listed
    assert sorted(table) == list(range(len(listed)))
    form = list(listed)
    for bit in (1 << n for n in range(len(form).bit_length() - 1)):
        for x in range(len(form)):
            form[x] ^= form[x ^ bit] if x & bit else 0
    assert max(x.bit_count() for x, term in enumerate(form) if term) == degree
    for difference in range(1, len(listed)):
        assert max(Counter(listed[x] ^ listed[x ^ difference] for x in range(len(listed))).values()) == 2


@pytest.mark.parametrize("length", [0, 8, 15, 17, 32])
def test_keys_of_another_length_are_refused_and_not_repeated(length: int) -> None:
    secret = b"\xab" * length
    with pytest.raises(ValueError, match=f"key: {length} bytes given, 16 expected") as error:
        Misty1(secret)
    assert "abab" not in str(error.value)


@given(st.binary(min_size=20, max_size=20), ATTRIBUTES)
def test_derivation_is_an_hmac_over_the_message(vending_key: bytes, attributes: dkga04.KeyAttributes) -> None:
    message = dkga04.message(attributes)
    assert len(message) == 49
    mac = HMAC(vending_key, SHA256())
    mac.update(message)
    assert dkga04.derive(vending_key, attributes) == mac.finalize()[:16]


@given(ATTRIBUTES, ATTRIBUTES)
def test_the_message_names_everything_that_a_key_is_bound_to(
    one: dkga04.KeyAttributes, other: dkga04.KeyAttributes
) -> None:
    def bound(attributes: dkga04.KeyAttributes) -> tuple[object, ...]:
        a = attributes
        return a.pan, a.sgc, a.ti, a.kt, a.krn, a.base

    assert (dkga04.message(one) == dkga04.message(other)) == (bound(one) == bound(other))


@pytest.mark.parametrize("length", [0, 8, 16, 19, 21, 64])
def test_vending_keys_of_another_length(length: int) -> None:
    attributes = dkga04.KeyAttributes("600727000000000009", 123457, 1, 2, 1, 1993)
    with pytest.raises(dkga04.FieldError, match=f"vending_key: {length} bytes given, 20 bytes expected"):
        dkga04.derive(b"\xab" * length, attributes)


@given(st.integers(0, 10**17 - 1), st.integers(0, 17), st.integers(1, 9))
def test_one_wrong_digit_of_a_pan_is_found(number: int, at: int, change: int) -> None:
    pan = with_check_digit(f"{number:017}")
    wrong = pan[:at] + str((int(pan[at]) + change) % 10) + pan[at + 1 :]
    assert dkga04.checked_pan(pan) == pan
    with pytest.raises(dkga04.FieldError, match="check digit"):
        dkga04.checked_pan(wrong)
