"""Keys in a token of SoftHSM: what only a security module can do, and can do wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headend.clock import ManualClock
from headend.keys.holder import KeyName, VendingName
from headend.keys.hsm_uri import DEFAULT_STATE, HsmUri
from headend.keys.place import Place
from headend.keys.sealed import KeyFileError
from headend.keys.signer import Signer
from headend.keys.signer_books import Caps
from headend.keys.signer_log import SignerLog
from headend.ledger import payments
from headend.orders import signing
from headend.refusals import Refused
from meterlink import ecdsa
from meterlink.orders import ROLE_CREDIT, Order
from tests.host.books import CHANNEL, METER, NOW_S, open_books
from tests.host.keyplaces import MODULE, KeyPlace, load_anew


def objects(place: KeyPlace) -> dict[str, Any]:
    """What is in the token, by label; found past our own code."""
    import pkcs11

    load_anew()
    with pkcs11.lib(MODULE).get_token(token_label=place.uri.token).open(user_pin=place.secret) as session:
        return {item[pkcs11.Attribute.LABEL]: facts(item) for item in session.get_objects()}


def facts(item: Any) -> dict[str, Any]:
    from pkcs11 import Attribute, exceptions

    found = {name: item[getattr(Attribute, name)] for name in ("SENSITIVE", "EXTRACTABLE", "PRIVATE", "TOKEN", "CLASS")}
    with pytest.raises(exceptions.AttributeSensitive):
        item[Attribute.VALUE]
    return found


def test_no_key_can_be_taken_out_of_the_token(token_place: KeyPlace) -> None:
    token_place.make()
    with token_place.change() as keeper:
        keeper.add_vending_key(VendingName(42, 3), bytes(range(20)))
        keeper.make_tag_key(bytes(range(32)))
    found = objects(token_place)
    assert sorted(found) == [
        "openprepay/control/1",
        "openprepay/credit/1",
        "openprepay/master/1",
        "openprepay/master/2",
        "openprepay/state",
        "openprepay/vending/000042/3",
    ]
    for held in found.values():
        assert (held["SENSITIVE"], held["EXTRACTABLE"], held["PRIVATE"], held["TOKEN"]) == (True, False, True, True)


def test_what_is_retired_is_gone_from_the_token(token_place: KeyPlace) -> None:
    token_place.make()
    with token_place.change() as keeper:
        keeper.make_signing_key(ROLE_CREDIT)
        keeper.make_tag_key()
        keeper.retire(KeyName(ROLE_CREDIT, 1))
        keeper.retire(1)
    assert {"openprepay/credit/1", "openprepay/master/1"}.isdisjoint(objects(token_place))
    assert {"openprepay/credit/2", "openprepay/master/2"} <= objects(token_place).keys()


def test_a_first_making_that_fails_leaves_an_empty_token(token_place: KeyPlace) -> None:
    with (
        pytest.raises(RuntimeError, match="no root key"),
        token_place.place.creating(token_place.secret, 1, 1),
    ):
        raise RuntimeError("no root key")
    assert objects(token_place) == {} and not token_place.file.exists()
    assert token_place.make().names()


def test_a_token_with_keys_is_not_filled_again(token_place: KeyPlace) -> None:
    """Also where its state file was lost: its keys may be the only ones that meters know."""
    token_place.make()
    token_place.file.unlink()
    with pytest.raises(KeyFileError, match=r"holds keys already \(openprepay/control/1\); they are not overwritten"):
        token_place.make()
    assert "openprepay/credit/1" in objects(token_place)


CHANGED: dict[str, Callable[[dict[str, Any]], None]] = {
    "an older epoch": lambda held: held["state"].update(signing_epoch=1),
    "another source": lambda held: held["state"].update(source=9),
    "bench keys as production keys": lambda held: held["state"].update(use="production"),
    "a foreign public key": lambda held: held["state"]["public"][0].__setitem__(2, held["state"]["public"][1][2]),
    "a revoked key in force": lambda held: held["state"].update(revoked=[]),
    "a new field": lambda held: held["state"].update(note="x"),
    "no MAC": lambda held: held.update(mac=""),
}


@pytest.mark.parametrize("what", CHANGED)
def test_a_changed_state_is_refused(token_place: KeyPlace, what: str) -> None:
    token_place.make(use="bench")
    with token_place.change() as keeper:
        keeper.open_epoch()
        keeper.make_signing_key(ROLE_CREDIT)
        keeper.retire(KeyName(ROLE_CREDIT, 1))
    held = json.loads(token_place.file.read_text())
    before = json.dumps(held)
    CHANGED[what](held)
    assert json.dumps(held) != before
    token_place.file.write_text(json.dumps(held))
    with pytest.raises(KeyFileError, match="was changed, or it is another token's"):
        token_place.open()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not a state file"),
        ("[]", "is not a state file"),
        ('{"format": "openprepay-keystate-9", "state": {}, "mac": ""}', "openprepay-keystate-1 was expected"),
    ],
)
def test_what_is_no_state_file_is_named_so(token_place: KeyPlace, text: str, sentence: str) -> None:
    token_place.make()
    token_place.file.write_text(text)
    with pytest.raises(KeyFileError, match=sentence):
        token_place.open()


def test_a_key_that_is_missing_from_the_token_is_named(token_place: KeyPlace) -> None:
    import pkcs11

    token_place.make()
    load_anew()
    with (
        pkcs11.lib(MODULE)
        .get_token(token_label=token_place.uri.token)
        .open(rw=True, user_pin=token_place.secret) as session
    ):
        session.get_key(label="openprepay/master/1").destroy()
    with pytest.raises(KeyFileError, match="does not hold openprepay/master/1"):
        token_place.open()


def test_a_wrong_pin_a_wrong_token_and_a_wrong_module_are_sentences(token_place: KeyPlace) -> None:
    token_place.make()
    load_anew()
    for pin, sentence in (
        ("000000", "is wrong"),
        ("1", "is wrong"),
    ):
        with pytest.raises(KeyFileError, match=f"The PIN of the token {token_place.uri.token} {sentence}") as told:
            token_place.place.open(pin)
        assert pin not in str(told.value).replace(token_place.uri.token, "")
    with pytest.raises(KeyFileError, match=f"There is no token nobody in {MODULE}"):
        Place(str(token_place.uri._replace(token="nobody"))).open(token_place.secret)
    with pytest.raises(KeyFileError, match=r"The PKCS #11 module /no/such\.so cannot be loaded: .*No such file"):
        Place(str(token_place.uri._replace(module="/no/such.so"))).open(token_place.secret)
    with pytest.raises(KeyFileError, match=r"gone cannot be read"):
        Place(str(token_place.uri._replace(state=Path("/gone")))).open(token_place.secret)


@pytest.mark.parametrize(
    ("text", "token", "module", "state"),
    [
        ("pkcs11:token=openprepay?module-path=/lib/x.so", "openprepay", "/lib/x.so", DEFAULT_STATE),
        ("pkcs11:token=openprepay;module-path=/lib/x.so", "openprepay", "/lib/x.so", DEFAULT_STATE),
        ("pkcs11:token=My%20token?module-path=/x.so&x-state=/srv/k%3Bs", "My token", "/x.so", "/srv/k;s"),
    ],
)
def test_a_uri_is_read_and_written(text: str, token: str, module: str, state: str) -> None:
    uri = HsmUri.parse(text)
    assert uri == (token, module, Path(state))
    assert HsmUri.parse(str(uri)) == uri


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("pkcs11:", "a PKCS #11 URI with token"),
        ("pkcs11:token=a", "a PKCS #11 URI with module-path"),
        ("pkcs11:token=?module-path=/x.so", "a PKCS #11 URI with token"),
        ("pkcs11:token=a;token=b?module-path=/x.so", "each of token, module-path, x-state once"),
        ("pkcs11:token=a;slot=1?module-path=/x.so", "each of token, module-path, x-state once"),
        ("pkcs11:token=a?module-path=/x.so&pin-value=1234", "no PIN"),
    ],
)
def test_a_uri_that_cannot_be_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(Refused, match=sentence) as told:
        HsmUri.parse(text)
    assert "1234" not in str(told.value)


def test_an_order_that_the_token_signed_verifies_as_a_meter_would(token_place: KeyPlace, tmp_path: Path) -> None:
    """Signed again, as after a crash, it may have another signature; it is the same order, and counts once."""
    keys = token_place.make()
    log = SignerLog(tmp_path / "signed.log")
    signer = Signer(keys, log, ManualClock(NOW_S), Caps(10_000_000))
    with open_books() as store:
        store.write(payments.take, NOW_S, CHANNEL, "p1", METER, 10_000_000).result()
        (row,) = store.read(signing.unsigned, NOW_S, 10)
        first, again = (Order(signer.sign_statement(row)) for _ in range(2))
    for made in (first, again):
        assert made.tag_is_genuine(keys.mac_key(METER, 1))
        assert ecdsa.verify(keys.public_key(KeyName(ROLE_CREDIT, 1)), made.digest, made.signature)
    assert first.digest == again.digest and log.totals == {(METER, 1, 1): 10_000_000}
