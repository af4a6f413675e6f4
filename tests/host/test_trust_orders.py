"""Orders on mode, latches, keys and firmware, from the desk to the firmware itself and back, over both carriers."""

from dataclasses import replace

import pytest
from sqlalchemy import update

from headend.keys.holder import KeyName, VendingName
from headend.keys.provision import decoder_key
from headend.ledger import payments
from headend.orders import statements, trust
from headend.orders.actions import Action, Deliver
from headend.refusals import Refused
from headend.store.schema import order
from headend.tokens.decoder import Decoder, NoDecoder, get, of_row, pan_of
from meterlink import reasons, reports, results, states, topics
from meterlink.orders import ASPECT_CREDIT, ASPECT_KEYS, ROLE_CONTROL, ROLE_CREDIT, Order
from tests.host.books import CHANNEL, METER
from tests.host.core_rig import Pair

CARRIERS = pytest.mark.parametrize("carrier", ["mqtt", "modbus"])


def confirmed(pair: Pair, order_id: int, seconds: int = 120) -> None:
    pair.until(lambda: pair.state(order_id) == "confirmed", seconds)


def rotated(pair: Pair) -> list[KeyName]:
    """Fresh credit and control keys beside those in force: all that are in force now."""
    for role in (ROLE_CREDIT, ROLE_CONTROL):
        pair.keys.make_signing_key(role)
    return pair.keys.names()


def pay(pair: Pair, name: str, amount_uc: int = 50_000_000) -> int:
    answer = pair.write(payments.take, CHANNEL, name, METER, amount_uc)
    return int(answer.order_id)


def no_credit(action: Action) -> Action | None:
    """The network swallows every credit order."""
    return None if isinstance(action, Deliver) and action.raw[1] == ASPECT_CREDIT else action


# --- mode, latches, firmware ------------------------------------------------------------------------------------------


@CARRIERS
def test_a_mode_order_is_confirmed_by_the_mode_that_rules(carrier: str) -> None:
    with Pair(carrier) as pair:
        made = pair.write(trust.set_mode, METER, states.MODE_POSTPAID, "desk", adjusted_uc=7_000_000)
        confirmed(pair, made)
        assert pair.unit.meter.allowance.mode == states.MODE_POSTPAID
        assert pair.unit.meter.account.adjusted_uc == 7_000_000
        again = pair.write(trust.set_mode, METER, states.MODE_LOCAL, "desk")
        confirmed(pair, again)
        assert pair.unit.meter.account.adjusted_uc == 7_000_000  # the total is stated again


def test_what_the_head_end_has_charged_never_falls_and_an_allowance_goes_with_the_remote_mode() -> None:
    with Pair() as pair:
        pair.write(trust.set_mode, METER, states.MODE_REMOTE, "desk", adjusted_uc=5_000_000, until_wh=90_000)
        with pytest.raises(Refused, match="adjusted_uc: 4999999 given, 5000000"):
            pair.write(trust.set_mode, METER, states.MODE_LOCAL, "desk", adjusted_uc=4_999_999)
        with pytest.raises(Refused, match="until_wh"):
            pair.write(trust.set_mode, METER, states.MODE_LOCAL, "desk", until_wh=1)
        with pytest.raises(Refused, match="mode: 9"):
            pair.write(trust.set_mode, METER, 9, "desk")
        with pytest.raises(Refused, match="grace_s"):
            pair.write(trust.set_mode, METER, states.MODE_REMOTE, "desk", grace_s=1 << 32)


@CARRIERS
def test_latches_are_cleared_as_far_as_the_operator_has_seen(carrier: str) -> None:
    with Pair(carrier) as pair:
        with pytest.raises(Refused, match="up_to_event"):
            pair.write(trust.clear_latches, METER, 1, "desk", up_to_event=1_000_000)
        pair.unit.meter.latch(states.LATCH_WRONG_TOKENS)
        pair.until(lambda: pair.unit.meter.latches.word != 0, 5)
        confirmed(pair, pair.write(statements.protect, METER, "desk"))  # a report that shows the events
        made = pair.write(trust.clear_latches, METER, 1 << states.LATCH_WRONG_TOKENS, "desk")
        confirmed(pair, made)
        assert pair.unit.meter.latches.word == 0
        with pytest.raises(Refused, match="latches"):
            pair.write(trust.clear_latches, METER, 0, "desk")


@CARRIERS
def test_an_image_that_is_older_than_the_one_that_runs_is_refused_with_proof(carrier: str) -> None:
    with Pair(carrier) as pair:
        old = pair.write(trust.set_firmware, METER, (0, 0, 1), 1, 90_000, bytes(range(32)), "desk")
        pair.until(lambda: pair.state(old) == "refused", 120)
        proof = reports.Report(pair.order(old).evidence, pair.keys.mac_key(METER, 1))
        assert (proof.kind, proof.result) == (reports.KIND_RECEIPT, results.DOWNGRADE)
        assert proof.digest == pair.order(old).digest
        new = pair.write(trust.set_firmware, METER, (9, 0, 0), 1, 90_000, bytes(range(32)), "desk")
        confirmed(pair, new)


# --- signing keys -----------------------------------------------------------------------------------------------------


@CARRIERS
def test_signing_keys_travel_apart_and_rule_what_signs_from_then_on(carrier: str) -> None:
    with Pair(carrier) as pair:
        before = pay(pair, "before")
        names = rotated(pair)
        during = pay(pair, "during")  # signed with the key that the meter holds, although a newer one is there
        confirmed(pair, during)
        made = pair.write(trust.set_signing_keys, METER, pair.keys_stated(names), "desk")
        confirmed(pair, made)
        assert (pair.trust().credit_key_version, pair.trust().control_key_version) == (2, 2)
        after = pay(pair, "after")
        confirmed(pair, after)
        versions = [Order(pair.order(one).signed).stated.key_version for one in (during, after)]
        assert versions == [1, 2]
        assert pair.state(before) in ("confirmed", "superseded")
        assert pair.unit.meter.account.totals(1)[0] == 150_000_000


@CARRIERS
def test_an_order_whose_body_got_lost_on_the_way_brings_it_again(carrier: str) -> None:
    with Pair(carrier) as pair:
        whole: list[Deliver] = []

        def strip(action: Action) -> Action:
            if not isinstance(action, Deliver) or action.raw[1] != ASPECT_KEYS or whole:
                return action
            whole.append(action)
            return replace(action, parcels=())

        pair.on_the_way = strip
        made = pair.write(trust.set_signing_keys, METER, pair.keys_stated(rotated(pair)), "desk")
        confirmed(pair, made)
        assert len(whole[0].parcels) == 2
        assert any("body_missing" in note for _, _, note in pair.history(made))


@CARRIERS
def test_a_key_that_is_dropped_takes_no_money_with_it(carrier: str) -> None:
    """What was signed with it and did not arrive is stated anew when the meter has proved that it dropped the key."""
    with Pair(carrier) as pair:
        pair.on_the_way = no_credit
        stuck = pay(pair, "stuck")
        pair.until(lambda: pair.state(stuck) == "sent", 30)
        names = [name for name in rotated(pair) if name.role not in (ROLE_CREDIT, ROLE_CONTROL) or name.version == 2]
        for role in (ROLE_CREDIT, ROLE_CONTROL):
            pair.keys.retire(KeyName(role, 1))
        confirmed(pair, pair.write(trust.set_signing_keys, METER, pair.keys_stated(names), "desk"))
        pair.on_the_way = lambda action: action
        pair.until(lambda: pair.unit.meter.account.totals(1)[0] == 50_000_000, 1200)
        confirmed(pair, stuck, 1200)


@CARRIERS
def test_an_order_under_a_key_that_the_meter_does_not_hold_yet_waits_for_it(carrier: str) -> None:
    """After a theft: the stolen key is destroyed at once, the meters hear of the next one when they can."""
    with Pair(carrier) as pair:
        names = [name for name in rotated(pair) if name != KeyName(ROLE_CREDIT, 1)]
        pair.keys.retire(KeyName(ROLE_CREDIT, 1))
        early = pay(pair, "early")
        pair.until(lambda: any("unknown_key" in note for _, _, note in pair.history(early)), 300)
        assert pair.state(early) not in ("refused", "failed")
        confirmed(pair, pair.write(trust.set_signing_keys, METER, pair.keys_stated(names), "desk"), 300)
        confirmed(pair, early, 300)


# --- per-meter keys ---------------------------------------------------------------------------------------------------


def give_tag_key(pair: Pair) -> int:
    version = pair.keys.make_tag_key()
    key = pair.keys.meter_key(METER, version)
    return int(pair.write(trust.set_tag_key, METER, version, key, pair.keys.mac_key, "desk"))


@CARRIERS
def test_a_per_meter_key_changes_without_a_gap(carrier: str) -> None:
    with Pair(carrier) as pair:
        old_key = pair.keys.mac_key(METER, 1)
        made = give_tag_key(pair)
        assert (pair.trust().tag_key_version, pair.trust().next_tag_key_version) == (1, 2)
        confirmed(pair, made)
        assert pair.order(made).evidence[8] == 2
        held = pair.trust()
        assert (held.tag_key_version, held.next_tag_key_version, held.old_tag_key_version) == (2, None, 1)
        assert pair.keys.meter_key(METER, 2) not in pair.order(made).body
        confirmed(pair, pay(pair, "under the new key"))
        assert pair.engine.counts["other_key"] == pair.engine.counts["forged"] == 0

        late = reports.pack_will(METER, 0, old_key)
        pair.engine.up(METER, "state", late, "mqtt")
        wills = pair.engine.counts["will"] + pair.engine.counts["will_late"]
        assert wills == 1  # left with the broker before the change

        dropped = pair.write(trust.drop_old_tag_key, METER, pair.keys.mac_key, "desk")
        confirmed(pair, dropped)
        assert pair.trust().old_tag_key_version is None
        pair.engine.up(METER, "state", late, "mqtt")
        assert pair.engine.counts["forged"] == 1
        with pytest.raises(Refused, match="old tag key"):
            pair.write(trust.drop_old_tag_key, METER, pair.keys.mac_key, "desk")


def test_one_change_of_the_per_meter_key_at_a_time() -> None:
    with Pair() as pair:
        pair.on_the_way = lambda action: None if isinstance(action, Deliver) else action
        give_tag_key(pair)
        with pytest.raises(Refused, match="under way"):
            give_tag_key(pair)
        with pytest.raises(Refused, match="under way"):
            held = Decoder(pan_of(METER), 123_457)
            pair.write(trust.set_decoder, METER, bytes(16), held, pair.keys.mac_key, "desk")


def test_an_order_signed_before_the_old_per_meter_key_was_dropped_is_signed_anew() -> None:
    with Pair() as pair:
        pair.on_the_way = no_credit
        stuck = pay(pair, "stuck")
        pair.until(lambda: pair.state(stuck) == "sent", 30)
        confirmed(pair, give_tag_key(pair), 300)
        confirmed(pair, pair.write(trust.drop_old_tag_key, METER, pair.keys.mac_key, "desk"), 300)
        pair.on_the_way = lambda action: action
        confirmed(pair, stuck, 1200)
        assert pair.unit.meter.account.totals(1)[0] == 50_000_000


@CARRIERS
def test_a_decoder_key_comes_by_order_and_is_known_once_it_is_proved(carrier: str) -> None:
    first = Decoder(pan_of(METER), 123_457)
    second = replace(first, supply_group=123_458, tariff_index=9, key_revision=2, key_expiry=200, base_date=2035)
    with Pair(carrier, first) as pair:
        pair.keys.add_vending_key(VendingName(123_458, 2))
        key = decoder_key(pair.keys, second)
        with pytest.raises(Refused, match="pan"):
            other = replace(second, pan=pan_of(METER + 1))
            pair.write(trust.set_decoder, METER, key, other, pair.keys.mac_key, "desk")
        made = pair.write(trust.set_decoder, METER, key, second, pair.keys.mac_key, "desk")
        assert pair.store.read(lambda conn: of_row(get(conn, METER))) == first
        confirmed(pair, made)
        assert pair.store.read(lambda conn: of_row(get(conn, METER))) == second
        typed = pair.unit.meter.typed
        assert (typed.key, typed.attributes) == (key, second.on_meter())
        assert key not in pair.order(made).body


def test_a_meter_without_a_decoder_key_gets_none_by_order() -> None:
    with Pair() as pair, pytest.raises(NoDecoder):
        held = Decoder(pan_of(METER), 123_457)
        pair.write(trust.set_decoder, METER, bytes(16), held, pair.keys.mac_key, "desk")


# --- refusals ---------------------------------------------------------------------------------------------------------


@CARRIERS
def test_a_refusal_whose_receipt_got_lost_is_proved_by_asking_for_it(carrier: str) -> None:
    with Pair(carrier) as pair:
        bad = pair.write(statements.release, METER, reasons.HOLD_LEGAL, "desk")
        pair.write(lambda conn, now_s: conn.execute(update(order).where(order.c.id == bad).values(account_epoch=9)))
        lost = iter([topics.UP_RECEIPT])
        pair.heard = lambda what: what != topics.UP_RECEIPT or next(lost, None) is None
        pair.until(lambda: pair.state(bad) == "refused", 300)
        row = pair.order(bad)
        proof = reports.Report(row.evidence, pair.keys.mac_key(METER, 1))
        assert (proof.kind, proof.result, proof.digest) == (reports.KIND_RECEIPT, results.WRONG_EPOCH, row.digest)
        assert proof.nonce != reports.NO_NONCE  # it answers our question
        assert row.result == results.WRONG_EPOCH and row.evidence_time_s == proof.time_s
