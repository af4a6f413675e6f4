"""Bodies of orders: what a head end states, a meter reads; and no two encodings mean the same."""

import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meterlink import bodies, bodies_root, orders, results, states, stating, tariff
from meterlink.bodies_root import Recovered
from meterlink.mac import MacKey

KEY = MacKey(bytes(range(32)))
METER = 123456789012
U8, U16, U32 = st.integers(0, 255), st.integers(0, 0xFFFF), st.integers(0, 0xFFFFFFFF)
MONEY = st.integers(0, bodies.MAX_UC)

_credit = st.tuples(MONEY, st.lists(st.integers(1, 1000), max_size=4), st.booleans(), st.integers(0, 2)).map(
    lambda drawn: _credit_body(*drawn)
)


def _credit_body(base_uc: int, amounts: list[int], closed: bool, replaced: int) -> bytes:
    base_uc = min(base_uc, bodies.MAX_UC - 4000)
    sales, total_uc = [], base_uc
    for amount_uc in amounts:
        total_uc += amount_uc
        sales.append((total_uc, amount_uc))
    tokens = tuple((1 + i, 0xABCDE0 + i) for i in range(replaced))
    return bodies.encode_credit(total_uc, total_uc // 3, sales, closed, tokens)


def _recover(
    nonce: bytes, earned: int, adjusted: int, charged: int, remainder: int, wh: int, sources: list[int]
) -> bytes:
    stated = tuple((number, 1000 * number, number) for number in sources)
    return stating.recover(Recovered(nonce, earned, adjusted, charged, remainder, wh, wh // 2, stated))


def _signing(extra: list[tuple[int, int]]) -> bytes:
    named = [(role, 0) for role in (1, 2, 3)] + [one for one in extra if one[1]]
    return stating.signing_keys([(role, version, bytes([role, version]) * 32) for role, version in named])


def _again_credit(body: bytes) -> bytes:
    closed, replaced = bodies.credit_extras(body)
    return bodies.encode_credit(*bodies.decode_credit(body), closed, tuple(replaced))


def _again_tag_keys(body: bytes) -> bytes:
    said = bodies_root.decode_tag_keys(body)
    return bytes((1, len(said))) + b"".join(bytes((version, len(key) // 32)) + key for version, key in said)


def _again_recover(body: bytes) -> bytes:
    return stating.recover(bodies_root.decode_recover(body))


_role_and_version = st.tuples(st.integers(1, 3), st.integers(0, 255))
CASES: dict[str, tuple[st.SearchStrategy[bytes], Callable[[bytes], Any], Callable[[bytes], bytes]]] = {
    "credit": (_credit, bodies.decode_credit, _again_credit),
    "supply": (
        st.builds(bodies.encode_supply, st.integers(0, 1), st.integers(0, 1), U16, U16),
        bodies.decode_supply,
        lambda body: bodies.encode_supply(*bodies.decode_supply(body)),
    ),
    "limits": (
        st.builds(
            lambda a, b, *rest: bodies.Limits(max(a, b), min(a, b), *rest).encode(),
            MONEY, MONEY, U16, U16, U16, U16, U32, MONEY, MONEY,
        ),
        bodies.decode_limits,
        lambda body: bodies.decode_limits(body).encode(),
    ),
    "clock": (
        st.builds(bodies.encode_clock, st.binary(min_size=8, max_size=8), st.integers(1_704_067_200, 0xFFFFFFFF)),
        bodies.decode_clock,
        lambda body: bodies.encode_clock(*bodies.decode_clock(body)),
    ),
    "tariff": (
        st.builds(lambda price: tariff.Tariff((price, price + 1), slots=((0, 0), (32, 1))).encode(), U32),
        tariff.decode,
        lambda body: tariff.decode(body).encode(),
    ),
    "mode": (
        st.builds(
            stating.mode, st.just(states.MODE_REMOTE), MONEY, MONEY, st.integers(-(1 << 63), bodies.MAX_UC), U32, U32
        )
        | st.builds(stating.mode, st.sampled_from([states.MODE_LOCAL, states.MODE_POSTPAID]), MONEY),
        bodies.decode_mode,
        lambda body: stating.mode(*bodies.decode_mode(body)),
    ),
    "clear": (
        st.builds(stating.clear, st.integers(1, 0xFFFFFFFF), U32),
        bodies.decode_clear,
        lambda body: stating.clear(*bodies.decode_clear(body)),
    ),
    "signing keys": (
        st.lists(_role_and_version, unique=True, max_size=3).map(_signing),
        bodies_root.decode_signing_keys,
        lambda body: stating.signing_keys(bodies_root.decode_signing_keys(body)),
    ),
    "tag keys": (
        st.builds(
            lambda held, new: stating.tag_keys([held], (held ^ 1, new), KEY, METER, 4, 5),
            U8, st.binary(min_size=32, max_size=32),
        ),
        bodies_root.decode_tag_keys,
        _again_tag_keys,
    ),
    "decoder": (
        st.builds(
            lambda key, group, kind, index, revision, expiry, base: stating.decoder(
                key, (group, kind, index, revision, expiry, base), KEY, METER, 4, 5
            ),
            st.binary(min_size=16, max_size=16), st.integers(0, 999_999), st.integers(0, 3), st.integers(0, 99),
            st.integers(1, 9), U8, st.integers(0, 2),
        ),
        bodies_root.decode_decoder,
        lambda body: struct.pack(
            ">B16sIBBBBB", 1, bodies_root.decode_decoder(body)[0], *bodies_root.decode_decoder(body)[1]
        ),
    ),
    "firmware": (
        st.builds(
            stating.firmware, st.tuples(U8, U8, U8), U16, st.integers(1, 0xFFFFFFFF),
            st.binary(min_size=32, max_size=32),
        ),
        bodies_root.decode_firmware,
        lambda body: stating.firmware(*bodies_root.decode_firmware(body)),
    ),
    "epoch": (
        st.builds(stating.epoch, st.integers(1, 5), U32),
        bodies_root.decode_epoch,
        lambda body: stating.epoch(*bodies_root.decode_epoch(body)),
    ),
    "retire": (
        st.builds(stating.retire, st.integers(2, 4)),
        bodies_root.decode_retire,
        lambda body: stating.retire(bodies_root.decode_retire(body)),
    ),
    "recover": (
        st.builds(
            _recover, st.binary(min_size=8, max_size=8), MONEY, MONEY, MONEY, st.integers(0, 999), MONEY,
            st.lists(st.integers(1, 0xFFFF), unique=True, max_size=8),
        ),
        bodies_root.decode_recover,
        _again_recover,
    ),
}  # fmt: skip


@pytest.mark.parametrize("aspect", CASES)
@settings(max_examples=60)
@given(data=st.data())
def test_what_is_stated_is_read_and_has_one_encoding(aspect: str, data: st.DataObject) -> None:
    """OP-ORD-04 OP-ORD-14: what reads at all reads back to the same bytes, however it was changed."""
    made, decode, again = CASES[aspect]
    body = data.draw(made)
    assert again(body) == body
    changed = bytearray(body)
    at = data.draw(st.integers(0, len(body) - 1))
    changed[at] ^= data.draw(st.integers(1, 255))
    shorter = data.draw(st.integers(0, len(body) - 1))
    for other in (bytes(changed), body[:shorter], body + b"\0"):
        try:
            decode(other)
        except orders.OrderError as error:
            assert error.code == results.BAD_BODY
        else:
            assert again(other) == other


@given(st.binary(max_size=140), st.sampled_from(list(CASES)))
def test_noise_is_named_or_is_one_encoding(raw: bytes, aspect: str) -> None:
    """OP-ORD-14"""
    _, decode, again = CASES[aspect]
    try:
        decode(raw)
    except orders.OrderError as error:
        assert error.code == results.BAD_BODY
    else:
        assert again(raw) == raw


@given(st.binary(min_size=32, max_size=32), st.integers(1, 0xFFFF), st.integers(1, 0xFFFFFFFF))
def test_a_wrapped_key_is_found_again_under_the_same_order_alone(key: bytes, epoch: int, version: int) -> None:
    """OP-ORD-49"""
    hidden = bodies_root.wrap(KEY, key, METER, epoch, version, 0)
    assert hidden != key
    assert bodies_root.wrap(KEY, hidden, METER, epoch, version, 0) == key
    for other in ((METER + 1, epoch, version, 0), (METER, epoch, version ^ 1, 0), (METER, epoch, version, 1)):
        assert bodies_root.wrap(KEY, hidden, *other) != key
    assert bodies_root.wrap(MacKey(bytes(32)), hidden, METER, epoch, version, 0) != key
