"""Orders under every kind of delivery: whatever is shuffled, dropped, repeated or delayed, and wherever the power
fails, the meter ends where the last statements want it; and what it refuses leaves no trace.

Orders are signed by `cryptography`, so the meter's own arithmetic is not its own judge.
"""

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meter.core import Meter
from meter.inbox import FAILED_S
from meter.tids import UNKNOWN
from meterlink import bodies, bodies_root, orders, results, states, stating, tariff
from tests.firmware import ramboard
from tests.firmware.ramboard import LIMITS, METER, Rig

SECRETS = {role: ec.derive_private_key(seed, ec.SECP256R1()) for role, seed in ramboard._SEEDS.items()}
FOREVER_S = 0xFFFFFFFF


def examples(count: int) -> settings:
    """So many of them, however slow this machine is."""
    return settings(max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class SignedRig(Rig):
    """Its orders are signed by `cryptography`, deterministically."""

    def seal(self, statement: orders.Statement | bytes, signature: bytes | None = None) -> bytes:
        raw = statement if isinstance(statement, bytes) else statement.encode()
        if signature is None:
            how = ec.ECDSA(utils.Prehashed(hashes.SHA256()), deterministic_signing=True)
            r, s = utils.decode_dss_signature(SECRETS[raw[10]].sign(orders.digest(raw), how))
            signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
        return orders.seal(raw, signature, self.mac_key)


def test_the_keys_of_the_rig_are_those_of_cryptography() -> None:
    for role, secret in SECRETS.items():
        numbers = secret.public_key().public_numbers()
        assert ramboard.KEYS[role] == numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")


# -- deliveries --------------------------------------------------------------------------------------------------------

amounts = st.integers(1, 50_000_000)


@st.composite
def histories(draw: st.DrawFn) -> list[list[tuple]]:
    """For each subject its statements, oldest first, as (kind, …) for `make`."""
    found: list[list[tuple]] = []
    for source in range(1, draw(st.integers(1, 4)) + 1):
        credited = refunded = 0
        sales: list[tuple[int, int]] = []
        series = []
        for amount in draw(st.lists(amounts, min_size=1, max_size=5)):
            credited += amount
            sales.append((credited, amount))
            refunded = min(credited, refunded + draw(st.sampled_from((0, 0, 0, 1, 1000))))
            series.append(("credit", source, credited, refunded, tuple(sales[-4:])))
        found.append(series)
    for reason in draw(st.lists(st.sampled_from((1, 2, 5)), unique=True, max_size=3)):
        actions = draw(st.lists(st.booleans(), min_size=1, max_size=4))
        found.append([("supply", reason, on) for on in actions])
    prices = draw(st.lists(st.integers(0, 10_000_000), max_size=3))
    found.append([("tariff", price) for price in prices])
    delays = draw(st.lists(st.integers(0, 120), max_size=3))
    found.append([("limits", delay_s) for delay_s in delays])
    return [series for series in found if series]


def make(rig: Rig, what: tuple, version: int) -> bytes:
    if what[0] == "credit":
        return rig.credit(what[2], what[3], source=what[1], sales=what[4])
    if what[0] == "supply":
        if what[2]:
            return rig.hold(what[1], version=version, not_after_s=FOREVER_S)
        return rig.release(what[1], version=version)
    if what[0] == "tariff":
        return rig.order(orders.ASPECT_TARIFF, tariff.Tariff((what[1],)).encode(), version=version)
    limits = bodies.decode_limits(LIMITS.encode())
    limits.trip_delay_s = what[1]
    return rig.order(orders.ASPECT_LIMITS, limits.encode(), version=version)


def signed(rig: Rig, history: list[list[tuple]]) -> list[list[bytes]]:
    """The orders of a history; all subjects share one version counter, as at a head end."""
    return [[make(rig, what, 10 * number + place + 1) for place, what in enumerate(series)]
            for number, series in enumerate(history)]  # fmt: skip


def end_state(rig: Rig) -> tuple:
    """What the statements want, and where the supply has come to; not what it went through."""
    m = rig.meter
    held = {}
    for aspect in (orders.ASPECT_SUPPLY, orders.ASPECT_TARIFF, orders.ASPECT_LIMITS):
        for selector in range(32 if aspect == orders.ASPECT_SUPPLY else 1):
            held[aspect, selector] = m.held_order(aspect, selector)
    for source, _, _ in m.account.sources:
        held[orders.ASPECT_CREDIT, source] = m.held_order(orders.ASPECT_CREDIT, source)
    return (
        held,
        sorted(m.account.sources),
        m.account.balance_uc(),
        m.supply.holds,
        m.supply.causes,
        m.supply.control,
        rig.board.closed,
        m.pricing.active.encode(),
        m.supply.limits.encode(),
    )


@examples(60)
@given(histories(), st.data())
def test_deliveries_in_any_way_end_in_the_same_state(history: list[list[tuple]], data: st.DataObject) -> None:
    """OP-ORD-19"""
    rig = SignedRig()
    made = signed(rig, history)
    last = [series[-1] for series in made]
    # Drops: any of the earlier ones. Repeats: any. Shuffled: all.
    chosen = data.draw(st.lists(st.sampled_from([raw for series in made for raw in series]), max_size=25))
    schedule = data.draw(st.permutations(chosen + last))
    seen = {series[0][1]: 0 for series in history if series[0][0] == "credit"}
    for raw in schedule:
        carrier = data.draw(st.integers(0, 3))
        code = rig.give(raw, carrier)
        assert code in (results.APPLIED, results.ALREADY, results.OLD_VERSION)
        order = orders.Order(raw)
        if order.stated.aspect == orders.ASPECT_CREDIT:
            source = order.stated.selector
            seen[source] = max(seen[source], bodies.decode_credit(order.stated.body)[0])
            assert rig.meter.account.totals(source)[0] == seen[source]
        assert rig.meter.account.credited_uc == sum(seen.values())
        pause_s = data.draw(st.sampled_from((0, 0, 1, 7, 100)))
        if pause_s == 7:
            rig.outage(3)
        rig.run(pause_s, 20)
        rig.balances()
    rig.run(400, 1)
    plain = SignedRig()
    for raw in last:
        assert plain.give(raw) == results.APPLIED
    plain.run(400, 1)
    assert end_state(rig) == end_state(plain)
    wanted = rig.meter.supply.holds == 0 and rig.meter.account.balance_uc() > 0
    assert rig.board.closed == wanted == (rig.meter.supply.control == states.CONTROL_CONNECTED)


# -- refusals ----------------------------------------------------------------------------------------------------------


def rig_with_history() -> SignedRig:
    rig = SignedRig(credit_uc=10_000_000)
    assert rig.give(rig.hold(1, version=7)) == results.APPLIED
    rig.run(5)
    while rig.meter.take_receipt():
        pass
    return rig


RIG = rig_with_history()  # never changed: that is what these tests are about


def refused(raw: bytes) -> int:
    RIG.meter.mono_s += FAILED_S  # verifications in vain are limited by time
    before = RIG.contents()
    code = RIG.give(raw, Meter.CARRIER_MQTT)
    assert not RIG.meter.verifying, "it was judged"
    assert code >= results.BAD_LENGTH or code == results.ALREADY
    assert RIG.contents() == before
    return code


@examples(300)
@given(st.binary(max_size=300))
def test_noise_is_refused(raw: bytes) -> None:
    assert refused(raw) in (results.BAD_LENGTH, results.BAD_FORMAT, results.UNKNOWN_ASPECT)


SAMPLES = (
    RIG.credit(20_000_000, 1, source=1, sales=((15_000_000, 5_000_000), (20_000_000, 5_000_000))),
    RIG.release(1, version=8),
    RIG.hold(2, version=9, not_after_s=FOREVER_S),
    RIG.order(orders.ASPECT_TARIFF, tariff.Tariff((1, 2), ((0, 0), (40, 1))).encode(), version=10),
    RIG.order(orders.ASPECT_LIMITS, LIMITS.encode(), version=11),
    RIG.order(orders.ASPECT_CLOCK, bodies.encode_clock(RIG.meter.clock.nonce, RIG.board.unix_s + 9), version=12),
    RIG.order(orders.ASPECT_MODE, stating.mode(states.MODE_REMOTE, 5, 1000, 77, 10, 10), version=13),
    RIG.order(
        orders.ASPECT_KEYS,
        stating.tag_keys([1], (2, bytes(32)), RIG.mac_key, METER, 1, 14),
        orders.KEYS_TAG,
        version=14,
    ),
    RIG.order(orders.ASPECT_FIRMWARE, stating.firmware((9, 0, 0), 9, 100, bytes(32)), version=15),
    RIG.order(orders.ASPECT_CLEAR, stating.clear(stating.ALL_LATCHES, 99), version=16),
    RIG.order(orders.ASPECT_EPOCH, stating.epoch(bodies_root.EPOCH_TENANT, 0), account_epoch=2),
    RIG.order(orders.ASPECT_RETIRE, stating.retire(bodies_root.EPOCH_EXCHANGED)),
    RIG.apart(orders.ASPECT_KEYS, stating.signing_keys([(role, 1, ramboard.KEYS[role]) for role in (1, 2, 3)]))[0],
)


def lost_rig() -> SignedRig:
    rig = SignedRig(credit_uc=10_000_000)
    image = rig.board.flash.snapshot()
    assert rig.give(rig.credit(20_000_000)) == results.APPLIED
    rig.board.flash.restore(image)
    rig.outage()
    return rig


LOST = lost_rig()  # never changed either
RECOVERY = LOST.order(
    orders.ASPECT_RECOVER,
    stating.recover(bodies_root.Recovered(LOST.meter.clock.nonce, 0, 0, 5, 0, 77, 0, ((1, 20_000_000, 3),))),
    version=9,
)


@examples(100)
@given(st.data())
def test_one_flipped_bit_of_a_recovery_is_refused(data: st.DataObject) -> None:
    LOST.meter.mono_s += FAILED_S
    bit = data.draw(st.integers(0, 8 * len(RECOVERY) - 1))
    changed = bytearray(RECOVERY)
    changed[bit >> 3] ^= 1 << (bit & 7)
    if data.draw(st.booleans()):
        changed = bytearray(orders.seal(bytes(changed[:-72]), bytes(changed[-72:-8]), LOST.mac_key))
    before = LOST.contents()
    if bytes(changed) != RECOVERY:
        assert LOST.give(bytes(changed)) >= results.BAD_LENGTH
        assert not LOST.meter.verifying
    assert LOST.contents() == before and LOST.meter.history_lost


@examples(300)
@given(st.sampled_from(SAMPLES), st.data())
def test_one_flipped_bit_is_refused(raw: bytes, data: st.DataObject) -> None:
    """OP-ORD-10"""
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    changed = bytearray(raw)
    changed[bit >> 3] ^= 1 << (bit & 7)
    refused(bytes(changed))


@examples(60)
@given(st.sampled_from(SAMPLES), st.data())
def test_one_flipped_bit_under_a_genuine_tag_is_refused(raw: bytes, data: st.DataObject) -> None:
    """OP-ORD-10: whoever holds the per-meter key, and no signing key, cannot order anything."""
    bit = data.draw(st.integers(0, 8 * (len(raw) - 8) - 1))
    changed = bytearray(raw[:-8])
    changed[bit >> 3] ^= 1 << (bit & 7)
    refused(orders.seal(bytes(changed[:-64]), bytes(changed[-64:]), RIG.mac_key))


FIELDS = {
    "meter": (st.integers(1, orders.MAX_METER).filter(lambda n: n != METER), {results.WRONG_METER}),
    "account_epoch": (st.integers(2, 0xFFFF), {results.WRONG_EPOCH}),
    "signing_epoch": (st.integers(18, 0xFFFF), {results.VERSION_JUMP}),
    "version": (st.integers(1, 7), {results.OLD_VERSION, results.CONFLICT}),
    "not_after_s": (st.integers(1, ramboard.START_S), {results.EXPIRED}),
    "role": (st.just(orders.ROLE_CREDIT), {results.WRONG_ROLE}),
    "key_version": (st.integers(2, 255), {results.UNKNOWN_KEY}),
    "tag_key_version": (st.integers(2, 255), {results.UNKNOWN_KEY}),
}


@examples(100)
@given(st.sampled_from(sorted(FIELDS)), st.data())
def test_a_field_that_is_not_for_this_meter_is_named(name: str, data: st.DataObject) -> None:
    values, expected = FIELDS[name]
    fields = {"version": 8, name: data.draw(values)}
    version = fields.pop("version")
    assert refused(RIG.release(1, version=version, **fields)) in expected


# -- accounts ----------------------------------------------------------------------------------------------------------

ATTRIBUTES = (123_456, 2, 1, 3, 255, 1)  # of the decoder key; key revision 3
TIDS = st.integers(6_000_000, 6_000_003)
EPOCHS = st.integers(1, 3)
SOURCES = st.integers(1, 3)


class Books:
    """What the meter's account must come to, kept in the simplest way."""

    def __init__(self) -> None:
        self.epoch = 1
        self.open: dict[int, int] = {}
        self.closed: dict[int, int] = {}
        self.rest = 0
        self.typed: set[int] = set()

    def opened(self, epoch: int) -> int:
        if epoch < self.epoch:
            return results.WRONG_EPOCH
        if epoch == self.epoch:
            return results.ALREADY
        self.epoch, self.open, self.closed, self.rest = epoch, {}, {}, 0
        return results.APPLIED

    def credited(self, epoch: int, source: int, total: int, closed: bool, replaced: int | None) -> int:
        if epoch != self.epoch:
            return results.WRONG_EPOCH
        if source in self.closed and source not in self.open:
            return results.ALREADY if total <= self.closed[source] else results.SOURCE_CLOSED
        if total <= self.open.get(source, -1) and not closed:
            return results.ALREADY
        if replaced in self.typed:
            return results.ALREADY_TYPED
        final = max(total, self.open.get(source, 0))
        if closed:
            self.open.pop(source, None)
            self.closed[source] = final
            self.rest += final
        else:
            self.open[source] = final
        return results.APPLIED

    def recovered(self, epoch: int, sources: dict[int, int]) -> None:
        """What is stated is all that counts; what was closed stays closed, but for what is stated as open."""
        if epoch != self.epoch:
            self.closed = {}
        self.epoch, self.open, self.rest = epoch, dict(sources), 0

    def sum(self) -> int:
        return sum(self.open.values()) + self.rest


@st.composite
def account_works(draw: st.DrawFn) -> list[tuple]:
    kind = st.one_of(
        st.tuples(st.just("credit"), EPOCHS, SOURCES, st.integers(0, 9), st.booleans(), st.none() | TIDS),
        st.tuples(st.just("epoch"), EPOCHS),
        st.tuples(st.just("typed"), TIDS),
        st.tuples(st.just("outage")),
        st.tuples(st.just("lost"), st.integers(0, 1), st.dictionaries(SOURCES, st.integers(0, 9), max_size=3)),
    )
    return draw(st.lists(kind, max_size=25))


@examples(150)
@given(account_works())
def test_no_unit_is_lost_or_doubled_whatever_comes_in_whatever_order(works: list[tuple]) -> None:
    """Sources that close, tenants that change, tokens that orders replace, a history that is lost and recovered."""
    rig = SignedRig(commission=False)
    rig.meter.provision(rig.record(decoder=(bytes(range(16)), ATTRIBUTES)))
    books = Books()
    for work in works:
        if work[0] == "credit":
            _, epoch, source, total, closed, tid = work
            replaced = () if tid is None else ((3, tid),)
            body = bodies.encode_credit(total, 0, [], closed, replaced)
            raw = rig.order(orders.ASPECT_CREDIT, body, source, account_epoch=epoch)
            assert rig.give(raw) == books.credited(epoch, source, total, closed, tid), work
        elif work[0] == "epoch":
            body = stating.epoch(bodies_root.EPOCH_TENANT, 0)
            assert rig.give(rig.order(orders.ASPECT_EPOCH, body, account_epoch=work[1])) == books.opened(work[1])
        elif work[0] == "typed":
            before = rig.meter.typed.state()
            if rig.meter.typed.state_of(3, work[1]) == UNKNOWN:
                rig.meter.typed.tids.add(work[1], 0)
                assert rig.meter.commit(rig.meter.typed.items(before), True)
                books.typed.add(work[1])
        elif work[0] == "outage":
            rig.outage(5)
        else:
            lose_and_recover(rig, books, books.epoch + work[1], work[2])
        rig.run(1)
        assert rig.meter.account_epoch == books.epoch and rig.meter.account.credited_uc == books.sum(), work


def lose_and_recover(rig: SignedRig, books: Books, epoch: int, sources: dict[int, int]) -> None:
    rig.board.kept_witness += 1000
    rig.outage()
    assert rig.meter.history_lost
    state = tuple((source, total, 0) for source, total in sources.items())
    nonce = rig.meter.clock.nonce
    registers = rig.meter.energy.import_wh, rig.meter.energy.export_wh
    body = stating.recover(bodies_root.Recovered(nonce, 0, 0, 0, 0, *registers, state))
    # Issued before any token was: those that are remembered stay as they are.
    raw = rig.order(orders.ASPECT_RECOVER, body, account_epoch=epoch, issued_s=1)
    assert rig.give(raw) == results.APPLIED
    books.recovered(epoch, sources)
