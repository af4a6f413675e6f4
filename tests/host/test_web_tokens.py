"""Typed tokens over HTTP: sold, reprinted, taken back; help and engineering; on a real server with the real signer."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from headend.keys.signer_lines import TokenLine
from headend.keys.signer_tokens import KeyChangeWanted, TokenWanted
from headend.keys.signer_wire import SignerAway
from headend.ledger import accounts, balances
from headend.orders import statements
from headend.store.schema import decoder, token
from headend.tokens import making
from meterlink import batches, events, reasons, records, topics
from meterlink.provision import CURRENCY_ENERGY
from meterlink.sts import token as typed
from tests.host import books
from tests.host.books import METER, NOW_S
from tests.host.site import API, ONE, Site, problem
from tests.host.token_rig import GROUP, HELD, vending_keys
from tests.pki import NOBODY

SELL = {"payment_id": "slip-1", "amount": "12.5"}
TOKENS = f"{API}/meters/{METER}/tokens"
HELP = f"{API}/meters/{METER}/help-token"
ENGINEERING = f"{API}/meters/{METER}/engineering-tokens"
DECODER = f"{API}/meters/{METER}/decoder"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, currency=CURRENCY_ENERGY) as made:
        for name in vending_keys().vending_names():
            made.keys.add_vending_key(name, bytes([name.krn]) * 20)
        assert made.client().put(DECODER, json={"supply_group": GROUP}).status_code == 200
        yield made


def read(site: Site, digits: str) -> typed.Token:
    """What the meter would read."""
    (row,) = site.store.read(lambda conn: conn.execute(select(decoder).where(decoder.c.meter == METER)).all())
    wanted = HELD.attributes()
    wanted.krn = row.key_revision
    from meterlink.sts import dkga04

    return typed.decode(dkga04.derive(bytes([row.key_revision]) * 20, wanted), digits)


def balance_uc(site: Site) -> int:
    return site.store.read(balances.balance_uc, accounts.of_meter(METER, 1))


# --- selling ----------------------------------------------------------------------------------------------------------


def test_a_token_is_sold_once_and_repeated_with_the_same_digits(site: Site) -> None:
    client = site.client()
    first = client.post(TOKENS, json=SELL)
    assert (first.status_code, first.headers["Location"]) == (201, f"{API}/tokens/1")
    sold = first.json()
    assert (sold["kind"], sold["state"], sold["energy"], sold["waits"]) == ("credit", "vended", "12.50", None)
    made = read(site, sold["digits"])
    assert (made.token_class, made.subclass, made.register) == (0, 0, 125)
    site.clock.advance(600)
    again = client.post(TOKENS, json=SELL)
    assert (again.status_code, again.json()["digits"]) == (200, sold["digits"])
    assert balance_uc(site) == 12_500_000
    payment = client.get(f"{API}/payments/slip-1").json()
    assert (payment["amount"], payment["order"], payment["on_meter"]) == ("12.50", None, False)


def test_a_sale_under_an_id_of_another_is_a_conflict(site: Site) -> None:
    client = site.client()
    client.post(TOKENS, json=SELL)
    before = books.dump(site.store)
    problem(client.post(TOKENS, json={**SELL, "amount": "12.6"}), 409, "payment_conflict")
    wire = {"payment_id": "slip-1", "meter": str(METER), "amount": "12.5"}
    problem(client.post(f"{API}/payments", json=wire), 409, "payment_conflict")
    assert books.dump(site.store) == before


@pytest.mark.parametrize(
    ("amount", "expected"),
    [
        ("12.55", "12.5 kWh or 12.6 kWh"),
        ("0.05", "0.1 kWh"),
        ("1000.1", "at most 1000.00, the channel's limit"),
        ("0", "more than 0"),
    ],
)
def test_an_amount_that_no_token_is_worth_is_refused_with_those_beside_it(
    site: Site, amount: str, expected: str
) -> None:
    before = books.dump(site.store)
    body = problem(site.client().post(TOKENS, json={**SELL, "amount": amount}), 422, "refused")
    assert (body["field"], body["expected"]) == ("amount", expected)
    assert books.dump(site.store) == before


def test_books_in_a_currency_sell_no_token(tmp_path: Path) -> None:
    with Site(tmp_path) as made:
        assert made.client().put(DECODER, json={"supply_group": GROUP}).status_code == 200
        body = problem(made.client().post(TOKENS, json=SELL), 422, "refused")
        assert "kWh" in body["detail"]


def test_a_meter_whose_key_is_not_known_gets_none(site: Site) -> None:
    site.store.write(lambda conn: conn.execute(decoder.delete())).result()
    assert "decoder key" in problem(site.client().post(TOKENS, json=SELL), 422, "refused")["detail"]


class Away:
    """A signer that does not answer."""

    def make_token(self, wanted: TokenWanted) -> str:
        raise SignerAway("The signer does not answer.")

    def make_key_change(self, wanted: KeyChangeWanted) -> list[str]:
        raise SignerAway("The signer does not answer.")

    def made_tokens(self, pan: str, from_s: int) -> list[TokenLine]:
        raise SignerAway("The signer does not answer.")


def test_while_the_signer_is_away_the_payment_is_taken_and_the_digits_come_later(site: Site) -> None:
    signer, site.desk.maker = site.desk.maker, Away()
    client = site.client()
    first = client.post(TOKENS, json=SELL)
    assert first.status_code == 202
    assert (first.json()["state"], first.json()["digits"]) == ("reserved", None)
    assert first.json()["waits"] == "The signer does not answer."
    assert balance_uc(site) == 12_500_000
    assert client.post(TOKENS, json=SELL).status_code == 202
    site.desk.maker = signer
    later = client.post(TOKENS, json=SELL)
    assert later.status_code == 200 and len(later.json()["digits"]) == 20


def test_the_dispatcher_makes_what_was_left_reserved(site: Site) -> None:
    site.desk.maker = Away()
    client = site.client()
    client.post(TOKENS, json=SELL)
    site.run(2 * making.AGAIN_S)
    assert client.get(f"{API}/tokens/1").json()["state"] == "vended"


def test_a_batch_takes_each_line_by_itself(site: Site) -> None:
    client = site.client()
    lines = [{"payment_id": f"b{n}", "meter": str(METER), "amount": "1.5"} for n in range(3)]
    lines.insert(1, {"payment_id": "bad", "meter": "18", "amount": "1.5"})
    lines.insert(3, {"payment_id": "odd", "meter": str(METER), "amount": "1.55"})
    first = client.post(f"{API}/tokens/batch", json={"lines": lines})
    assert first.status_code == 200
    results = first.json()["results"]
    assert [one["payment_id"] for one in results] == ["b0", "bad", "b1", "odd", "b2"]
    assert [one["problem"] and one["problem"]["code"] for one in results] == [
        None, "unknown_meter", None, "refused", None,
    ]  # fmt: skip
    digits = [one["token"]["digits"] for one in results if one["token"]]
    assert len(set(digits)) == 3
    assert len({read(site, one).tid for one in digits}) == 3
    again = client.post(f"{API}/tokens/batch", json={"lines": lines}).json()["results"]
    assert [one["token"] and one["token"]["digits"] for one in again] == [
        one["token"] and one["token"]["digits"] for one in results
    ]
    assert balance_uc(site) == 4_500_000


# --- seeing again, and taking back ------------------------------------------------------------------------------------


def test_a_reprint_gives_the_same_digits_and_stands_in_the_history(site: Site) -> None:
    client = site.client()
    digits = client.post(TOKENS, json=SELL).json()["digits"]
    printed = client.get(f"{API}/tokens/1").json()
    assert printed["digits"] == digits
    assert [(one["event"], one["actor"]) for one in printed["history"]] == [
        ("reserve", "channel:all"), ("make", "alone"), ("reprint", "channel:all"),
    ]  # fmt: skip


@pytest.mark.parametrize("path", ["1", "2", "x", "99999999999999999"])
def test_tokens_of_another_channel_are_not_seen(site: Site, path: str) -> None:
    site.client().post(TOKENS, json=SELL)
    other = site.client(ONE["payments"])
    problem(other.get(f"{API}/tokens/{path}"), 404, "unknown_token")
    problem(other.post(f"{API}/tokens/{path}/void", json={}), 404, "unknown_token")
    problem(other.post(f"{API}/tokens/{path}/replace", json={}), 404, "unknown_token")


def test_who_reads_sees_no_digits(site: Site) -> None:
    digits = site.client().post(TOKENS, json=SELL).json()["digits"]
    listed = site.client(ONE["read"]).get(TOKENS)
    assert (listed.status_code, [one["token"] for one in listed.json()["tokens"]]) == (200, [1])
    assert digits not in listed.text


def test_a_void_is_pending_and_the_payment_stands_until_the_meter_has_proved_it(site: Site) -> None:
    client = site.client()
    client.post(TOKENS, json=SELL)
    voided = client.post(f"{API}/tokens/1/void", json={"note": "wrong meter"})
    assert (voided.status_code, voided.json()["state"]) == (202, "voiding")
    assert client.post(f"{API}/tokens/1/void", json={}).json()["state"] == "voiding"
    assert balance_uc(site) == 12_500_000
    problem(client.post(f"{API}/tokens/1/replace", json={}), 422, "refused")
    site.born()
    site.run(30)
    assert client.get(f"{API}/tokens/1").json()["state"] == "void"
    assert balance_uc(site) == 0
    assert "wrong meter" in [one["note"] for one in client.get(f"{API}/tokens/1").json()["history"]]


def test_a_replaced_token_is_on_the_meter_as_a_payment_is(site: Site) -> None:
    client = site.client()
    client.post(TOKENS, json=SELL)
    assert client.post(f"{API}/tokens/1/replace", json={"note": "slip lost"}).json()["state"] == "replacing"
    site.born()
    site.run(30)
    assert client.get(f"{API}/tokens/1").json()["state"] == "replaced"
    assert client.get(f"{API}/payments/slip-1").json()["on_meter"] is True
    assert balance_uc(site) == 12_500_000


# --- help and engineering ---------------------------------------------------------------------------------------------


def helped(site: Site, **body: Any) -> httpx.Response:
    return site.client().post(HELP, json={"request_id": "h1", "reason": "the modem is broken", **body})


def test_an_allowance_takes_an_account_that_covers_it(site: Site) -> None:
    problem(helped(site, kind="allowance", energy="5"), 422, "refused")
    site.client().post(TOKENS, json=SELL)
    problem(helped(site, kind="allowance", energy="12.6"), 422, "refused")
    made = helped(site, kind="allowance", energy="12.5")
    assert made.status_code == 201
    seen = read(site, made.json()["digits"])
    assert (seen.token_class, seen.subclass, seen.register) == (2, 11, 0x1000 | 125)
    again = helped(site, kind="allowance", energy="12.5")
    assert (again.status_code, again.json()["digits"]) == (200, made.json()["digits"])
    problem(helped(site, kind="allowance", energy="1"), 409, "request_conflict")
    assert "modem" in made.json()["history"][0]["note"]


def test_a_release_follows_what_we_want(site: Site) -> None:
    problem(helped(site, kind="release"), 422, "refused")
    site.store.write(statements.stop, site.clock.now_s(), METER, reasons.HOLD_ARREARS, "operator:ann").result()
    problem(helped(site, kind="release"), 422, "refused")
    site.store.write(statements.release, site.clock.now_s(), METER, reasons.HOLD_ARREARS, "operator:ann").result()
    made = helped(site, kind="release")
    assert made.status_code == 201
    assert read(site, made.json()["digits"]).register == 0


def engineer(site: Site, **body: Any) -> httpx.Response:
    return site.client().post(ENGINEERING, json={"request_id": "e1", "reason": "site visit 17", **body})


@pytest.mark.parametrize(
    ("body", "subclass", "register"),
    [
        ({"kind": "clear_credit"}, 1, 0xFFFF),
        ({"kind": "clear_tamper"}, 5, 0),
        ({"kind": "max_power", "power_w": 6000}, 0, 6000),
        ({"kind": "max_power", "power_w": 0}, 0, 0),
    ],
)
def test_a_technicians_token(site: Site, body: dict[str, Any], subclass: int, register: int) -> None:
    made = engineer(site, **body)
    assert made.status_code == 201
    (one,) = made.json()["tokens"]
    seen = read(site, one["digits"])
    assert (seen.token_class, seen.subclass, seen.register, one["kind"]) == (2, subclass, register, body["kind"])
    problem(engineer(site, kind="max_power", power_w=17), 409, "request_conflict")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "max_power", "power_w": 20_001}, "power_w"),
        ({"kind": "clear_tamper", "power_w": 1}, "power_w"),
        ({"kind": "key_change"}, "key"),
        ({"kind": "clear_tamper", "key": {"supply_group": 1}}, "key"),
        ({"kind": "key_change", "key": {"supply_group": GROUP}}, "key"),
        ({"kind": "key_change", "key": {"supply_group": GROUP, "pan": "600727000000000009"}}, "pan"),
    ],
)
def test_an_engineering_token_that_cannot_be(site: Site, body: dict[str, Any], field: str) -> None:
    assert problem(engineer(site, **body), 422, "refused")["field"] == field


def test_a_key_change_lists_what_would_be_lost_and_moves_on_to_the_new_key(site: Site) -> None:
    client = site.client()
    client.post(TOKENS, json=SELL)
    new = {"kind": "key_change", "key": {"supply_group": GROUP, "key_revision": 2}}
    listed = problem(engineer(site, **new), 409, "unused_tokens")
    assert "12.5 kWh would be lost (1)" in listed["detail"]
    made = engineer(site, **new, lose_unused=True)
    assert made.status_code == 201
    sections = made.json()["tokens"]
    assert [one["kind"] for one in sections] == [f"key_change_{number}" for number in range(1, 5)]
    assert engineer(site, **new).json()["tokens"] == sections, "the same request again gives the same tokens"
    after = client.post(TOKENS, json={**SELL, "payment_id": "slip-2"}).json()
    assert after["key_revision"] == 2 and read(site, after["digits"]).register == 125
    tids = site.store.read(lambda conn: conn.execute(select(token.c.tid)).scalars().all())
    assert len(set(tids)) == 3, "two sales, and one for the change"


def test_a_key_change_without_its_vending_key_changes_nothing(site: Site) -> None:
    new = {"kind": "key_change", "key": {"supply_group": GROUP, "key_revision": 3}}
    problem(engineer(site, **new), 503, "not_made")
    sold = site.client().post(TOKENS, json=SELL).json()
    assert (sold["key_revision"], sold["state"]) == (1, "vended")


def test_a_meter_may_be_added_with_its_decoder_key(site: Site) -> None:
    body = {
        "meter": "123456789012",
        "carrier": "mqtt",
        "tariff": {"prices": ["1.00"]},
        "limits": {"alarm": "5", "alarm2": "2", "trip_delay_s": 0, "dwell_s": 1, "spread_s": 0, "stable_s": 0},
        "decoder": {"supply_group": GROUP},
    }
    client = site.client()
    assert client.post(f"{API}/meters", json=body).status_code == 201
    assert client.post(f"{API}/meters/123456789012/tokens", json=SELL).status_code == 201
    held = client.put(f"{API}/meters/123456789012/decoder", json={"supply_group": GROUP}).json()
    assert held["pan"] == "000001234567890128"
    problem(client.put(f"{API}/meters/123456789012/decoder", json={"supply_group": 1}), 422, "refused")


def test_no_digits_in_any_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = site.client()
    digits = [client.post(TOKENS, json={**SELL, "payment_id": str(n)}).json()["digits"] for n in range(3)]
    client.get(f"{API}/tokens/1")
    client.post(f"{API}/tokens/1/void", json={})
    assert caplog.text and not any(one in caplog.text for one in digits)


# --- the status page --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("language", "unvended", "waits"),
    [("en", "token that nobody sold", "Sold, token not made"), ("zh", "输入了未售出的令牌", "已售令牌未生成")],
)
def test_the_board_tells_of_tokens_that_nobody_sold_and_that_are_not_made(
    site: Site, language: str, unvended: str, waits: str
) -> None:

    def board() -> str:
        auth = ("read-only", ONE["read"])
        return httpx.get(site.url, params={"lang": language}, auth=auth, trust_env=False, verify=NOBODY).text

    site.desk.maker = Away()
    site.client().post(TOKENS, json=SELL)
    page = board()
    assert unvended not in page and waits not in page
    site.clock.advance(600)
    record = records.pack_event(1, NOW_S, events.TOKEN_TYPED, 1, 0, 4_711, 0)
    site.up(topics.UP_EVENTS, site.born().batch_of(record, 1, kind=batches.KIND_EVENTS))
    page = board()
    assert unvended in page and "4711" in page and waits in page and "12.50" in page
