"""Anything that comes in: orders, bodies that a head end may sign, tokens, pieces, and flash that anything may have
happened to. No crash, and a refusal changes nothing. (Frames: test_line_fuzz.py.) `OPENPREPAY_FUZZ` multiplies the
examples.
"""

import os
import struct

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter import apply
from meter.core import Meter
from meterlink import bodies, orders, results, tariff
from meterlink.parcels import ParcelError
from meterlink.sts import results as typed_results
from metersim.flash import PowerCut
from metersim.life import Life
from metersim.ramboard import RamBoard
from tests.firmware import stated
from tests.firmware.ramboard import METER, NONCE, Rig
from tests.firmware.test_both_debts import shared, timed
from tests.firmware.tokens import TypedRig

TIMES = int(os.environ.get("OPENPREPAY_FUZZ", "1"))


def examples(count: int) -> settings:
    return settings(max_examples=count * TIMES, deadline=None, suppress_health_check=list(HealthCheck))


class Quiet:
    """A meter in service, and what must stay as it is."""

    def __init__(self) -> None:
        self.rig = TypedRig()
        self.rig.board.watts = 1000
        self.rig.run(120, 10)
        assert self.rig.type(units=50) == typed_results.ACCEPTED
        self.rig.run(60, 10)
        self.contents = self.rig.contents()
        self.ops = self.rig.board.flash.ops

    def unchanged(self) -> None:
        assert self.rig.board.flash.ops == self.ops
        assert self.rig.contents() == self.contents


_quiet: list[Quiet] = []


def quiet() -> Quiet:
    """One for all examples: it is as it was after each."""
    if not _quiet:
        _quiet.append(Quiet())
    return _quiet[0]


# -- orders ------------------------------------------------------------------------------------------------------------


def genuine(rig: Rig) -> list[bytes]:
    """An order of each aspect, not given yet."""
    o = rig.order
    made = [
        rig.credit(5_000_000, sales=[(5_000_000, 5_000_000)]),
        rig.hold(1),
        rig.release(1),
        o(orders.ASPECT_TARIFF, tariff.Tariff((1_000_000,)).encode()),
        o(orders.ASPECT_LIMITS, rig.limits.encode()),
        o(orders.ASPECT_MODE, stated.remote(1000, 1000)),
        o(orders.ASPECT_CLOCK, bodies.encode_clock(rig.meter.clock.nonce, rig.board.unix_s)),
        o(orders.ASPECT_FIRMWARE, stated.firmware()),
        o(orders.ASPECT_CLEAR, stated.clear(1, 5)),
        o(orders.ASPECT_EPOCH, stated.epoch(), account_epoch=2),
        o(orders.ASPECT_RECOVER, stated.recover(NONCE)),
        o(orders.ASPECT_RETIRE, stated.retire()),
        o(orders.ASPECT_DEBT, timed(5_000_000, 1_000_000).encode(), 1),
        o(orders.ASPECT_DEBT, shared(5_000_000, 1000).encode(), 2),
        o(orders.ASPECT_LOAD, bodies.encode_load(((rig.board.unix_s, 2000), (rig.board.unix_s + 60, 0)))),
        o(orders.ASPECT_KEYS, stated.tag_keys([(2, bytes(32)), (1, b"")], rig.mac_key, 99), orders.KEYS_TAG),
    ]
    aspects = {raw[1] for raw in made}
    assert aspects == set(range(orders.ASPECT_CREDIT, orders.ASPECT_LOAD + 1)), "each aspect"
    return made


@st.composite
def changes(draw: st.DrawFn) -> tuple[int, str, int, bytes]:
    how = draw(st.sampled_from(("bit", "byte", "cut", "more", "splice", "body")))
    return draw(st.integers(0, 15)), how, draw(st.integers(0, 239)), draw(st.binary(min_size=1, max_size=30))


def changed(raw: bytes, how: str, at: int, other: bytes) -> bytes:
    """An order with something else in it."""
    at %= len(raw)
    if how == "bit":
        return raw[:at] + bytes((raw[at] ^ 1 << other[0] % 8,)) + raw[at + 1 :]
    if how == "byte":
        return raw[:at] + other[:1] + raw[at + 1 :]
    if how == "cut":
        return raw[:at]
    if how == "more":
        return raw + other
    if how == "splice":
        return raw[:at] + other + raw[at + len(other) :]
    at = min(31 + at % 60, len(raw) - 72)
    end = min(at + len(other), len(raw) - 72)
    return raw[:at] + other[: end - at] + raw[end:]


_orders: list[bytes] = []


@examples(60)
@given(st.lists(changes(), min_size=5, max_size=20), st.booleans())
def test_an_order_that_was_touched_changes_nothing(many: list[tuple[int, str, int, bytes]], tagged: bool) -> None:
    """tagged: the per-meter key was stolen, so that all but the signature looks right."""
    one = quiet()
    rig = one.rig
    if not _orders:
        _orders.extend(genuine(rig))
    for which, how, at, other in many:
        original = _orders[which]
        raw = changed(original, how, at, other)
        if raw == original:
            continue
        if tagged and len(raw) >= 103:
            raw = orders.seal(raw[:-72], raw[-72:-8], rig.mac_key)
        if raw[:-72] == original[:-72]:
            continue  # its signature is what was touched: that costs a verification, and is tried elsewhere
        try:
            code = apply.judge(rig.meter, apply.Received(raw))
        except orders.OrderError as error:
            code = error.code
        assert code == results.PENDING or code >= 16 or code == results.ALREADY, "the signature alone stops it"
        assert tagged or code != results.PENDING
    one.unchanged()


# -- what a head end may sign ------------------------------------------------------------------------------------------

amounts = st.one_of(
    st.integers(0, 100), st.integers(0, 10**9), st.sampled_from((bodies.MAX_UC, bodies.MAX_UC - 1, 1 << 62))
)


@st.composite
def statements(draw: st.DrawFn) -> tuple[int, int, bytes]:
    """(aspect, selector, body) with any numbers in it."""
    a = [draw(amounts) for _ in range(4)]
    n = [draw(st.integers(0, 255)) for _ in range(8)]
    aspect = draw(st.integers(orders.ASPECT_CREDIT, orders.ASPECT_LOAD))
    if aspect == orders.ASPECT_CREDIT:
        return aspect, 1 + n[0] % 10, struct.pack(">QQB", a[0], min(a[1], a[0]), n[1] & 0x80)
    if aspect == orders.ASPECT_SUPPLY:
        return aspect, 1 + n[0] % 31, bytes((n[1] & 1, n[2] & 1, n[3], n[4], n[5], n[6]))
    if aspect == orders.ASPECT_MODE:
        remote = n[0] % 3 == 1
        rest = (a[1], a[2] if n[1] & 1 else -a[2], n[2], n[3]) if remote else (0, 0, 0, 0)
        return aspect, 0, struct.pack(">BBQQqII", 1, n[0] % 3, a[0], *rest)
    if aspect == orders.ASPECT_CLOCK:
        return aspect, 0, struct.pack(">8sI", bytes(8), draw(st.integers(0, 0xFFFFFFFF)))
    if aspect == orders.ASPECT_DEBT:
        kind = n[0] & 1
        share = 1 + n[1] * 39 if kind else 0
        fields = (1, a[0], min(a[1], a[0]), kind, share, 0 if kind else a[2], n[2] % 3, n[3], a[3])
        return aspect, 1 + n[4] % 3, struct.pack(">BQQBHQBBQ", *fields)
    if aspect == orders.ASPECT_LIMITS:
        made = bodies.Limits(
            max(a[0], a[1]), min(a[0], a[1]), n[0], n[1], n[2], n[3], n[4], a[2], a[3], a[1], a[2], a[3]
        )
        made.settlement, made.rules, made.min_close_uc = n[5] & 1, n[6] & 3, a[0]
        return aspect, 0, made.encode()
    if aspect == orders.ASPECT_TARIFF:
        prices = tuple(min(amount, 10**12) for amount in a)
        days = ((tariff.PER_DAY, 1 + min(a[0], 10**11)),) if n[0] & 1 else ()
        return aspect, 0, tariff.Tariff(prices, ((0, n[1] % 4), (40, n[2] % 4)), n[3] % 96, charges=days).encode()
    if aspect == orders.ASPECT_CLEAR:
        return aspect, 0, stated.clear(1 + n[0], a[0] & 0xFFFFFFFF)
    return aspect, n[0], draw(st.binary(max_size=80))


@examples(40)
@given(st.lists(statements(), min_size=3, max_size=12))
def test_whatever_is_signed_is_carried_out_or_refused_whole(many: list[tuple[int, int, bytes]]) -> None:
    """The money balances, a second can pass, and a start finds what was there."""
    rig = TypedRig()
    rig.board.watts = 5000
    for aspect, selector, body in many:
        before = rig.contents()
        opens = aspect == orders.ASPECT_EPOCH
        epoch = rig.meter.account_epoch + opens
        try:
            raw = rig.seal(rig.statement(aspect, body, selector, account_epoch=epoch), bytes(64))
            order = apply.Received(raw)
            code = apply.judge(rig.meter, order)
        except orders.OrderError as error:
            code = error.code
        if code == results.PENDING:
            code = apply.decide(rig.meter, order)
        if code != results.APPLIED:
            assert rig.contents() == before
        account = rig.meter.account
        terms = account.credited_uc + account.earned_uc - account.refunded_uc - account.adjusted_uc - account.charged_uc
        assert account.balance_uc() == terms
        rig.run(20, 10)
    had = rig.meter.account.balance_uc(), rig.meter.supply.holds
    assert rig.meter.power_down()
    rig.outage(0)
    assert (rig.meter.account.balance_uc(), rig.meter.supply.holds) == had and not rig.meter.history_lost


# -- tokens and pieces -------------------------------------------------------------------------------------------------


@examples(60)
@given(st.lists(st.one_of(st.text("0123456789", min_size=20, max_size=20), st.text(max_size=30)), max_size=12))
def test_digits_that_nobody_made_credit_nothing(entries: list[str]) -> None:
    rig = quiet().rig
    before = rig.meter.account.state(), rig.meter.supply.holds, rig.meter.typed.tids.words
    for digits in entries:
        assert rig.meter.type_token(digits).amount_uc == 0
    assert (rig.meter.account.state(), rig.meter.supply.holds, rig.meter.typed.tids.words) == before
    _quiet.clear()  # the lock-out has moved, and that is durable


@examples(60)
@given(st.lists(st.one_of(st.binary(max_size=240), st.binary(max_size=40).map(lambda b: b"\1" + b)), max_size=20))
def test_pieces_of_anything_change_nothing(pieces: list[bytes]) -> None:
    one = quiet()
    for piece in pieces:
        try:
            one.rig.meter.parcels.take(0, piece)
        except ParcelError:
            continue
    one.rig.meter.parcels.clear()
    one.unchanged()


# -- flash -------------------------------------------------------------------------------------------------------------

_lived: list[Life] = []

damages = st.lists(
    st.one_of(
        st.tuples(st.just("bits"), st.integers(0, 100 * 4096 * 8 - 1), st.integers(1, 40)),
        st.tuples(st.just("blank"), st.integers(0, 99), st.integers(0, 4095)),
        st.tuples(st.just("zeros"), st.integers(0, 99), st.integers(0, 4095)),
        st.tuples(st.just("noise"), st.integers(0, 99), st.integers(1, 250)),
        st.tuples(st.just("copy"), st.integers(0, 99), st.integers(0, 99)),
    ),
    min_size=1,
    max_size=4,
)


def lived() -> Life:
    if not _lived:
        _lived.append(Life("smets2", 5, check=False))
        _lived[0].run(8 * 3600)
        while _lived[0].meter.store.failed or _lived[0].board.flash.failing:
            _lived[0].run(60)
    return _lived[0]


@examples(80)
@given(damages)
def test_flash_that_anything_has_happened_to_starts_and_is_believed_where_it_is_whole(
    many: list[tuple[str, int, int]],
) -> None:
    """Balance, holds and registers are what they were, or the meter says that its history is lost."""
    life = lived()
    board = RamBoard(life.board.flash.fork())
    data = board.flash.data
    for how, at, much in many:
        if how == "bits":
            for i in range(much):
                data[(at + i * 7919) // 8 % len(data)] ^= 1 << at % 8
            continue
        place = at * 4096
        if how == "copy":
            data[place : place + 4096] = data[much * 4096 : much * 4096 + 4096]
        elif how == "noise":
            data[place : place + 4096] = bytes((i * much + (i >> 3)) & 0xFF for i in range(4096))
        else:
            data[place + much : place + 4096] = (b"\xff" if how == "blank" else b"\0") * (4096 - much)
    board.unix_s, board.closed, board.kept_witness = life.board.unix_s, life.board.closed, life.board.kept_witness
    meter = Meter(board)
    try:
        meter.start(0)
    except PowerCut:
        raise AssertionError("nobody cut the power") from None
    if not meter.history_lost:
        assert meter.number == life.meter.number == METER
        shown, now = life.meter.committed(), meter.committed()
        assert now[1] >= shown[1] and now[5:9] == shown[5:9]
        assert meter.supply.holds == life.meter.supply.holds
        assert now[10] == now[5] + now[6] - now[7] - now[8] - now[9]
    for second in range(1, 4):
        board.pass_time(1)
        meter.step(second)
