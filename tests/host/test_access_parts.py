"""Parts of signing in: codes, passwords, sealing, areas, callers, rates."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from headend.access import areas, passwords, totp
from headend.access.caller import Caller, NotAllowed
from headend.access.permissions import PERMISSIONS
from headend.access.roles import ROLES
from headend.access.sealing import Sealer
from headend.refusals import Refused
from headend.store.schema import meter
from headend.web.rates import Rate, Rates
from tests.host.books import METER, open_books

SECRET = b"12345678901234567890"  # of both RFCs


@pytest.mark.parametrize(
    ("counter", "code"),
    list(enumerate("755224 287082 359152 969429 338314 254676 287922 162583 399871 520489".split())),
)
def test_codes_of_rfc_4226(counter: int, code: str) -> None:
    assert totp.hotp(SECRET, counter) == code


@pytest.mark.parametrize(
    ("now_s", "code"),
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_codes_of_rfc_6238(now_s: int, code: str) -> None:
    assert totp.hotp(SECRET, now_s // totp.STEP_S, 8) == code
    assert totp.step_of(SECRET, code[2:], now_s, 0) == now_s // totp.STEP_S


def test_a_code_counts_one_step_around_and_once() -> None:
    now_s = 1_000_000_020
    step = now_s // 30
    for off, fits in ((-60, False), (-30, True), (0, True), (30, True), (60, False)):
        found = totp.step_of(SECRET, totp.hotp(SECRET, (now_s + off) // 30), now_s, 0)
        assert (found is not None) == fits
    code = totp.hotp(SECRET, step)
    assert totp.step_of(SECRET, code, now_s, step - 1) == step
    assert totp.step_of(SECRET, code, now_s, step) is None
    assert totp.step_of(SECRET, "١٢٣٤٥٦", now_s, 0) is None


def test_passwords_are_argon2id_with_the_work_that_owasp_asks_for() -> None:
    stored = passwords.make("correct horse battery", lambda length: bytes(range(length)))
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$AAECAwQFBgcICQoLDA0ODw$")
    assert passwords.fits(stored, "correct horse battery")
    assert not passwords.fits(stored, "correct horse batterY")
    assert not passwords.fits(None, "nobody has this password")
    assert not passwords.fits("", "x") and not passwords.fits("$argon2id$nonsense", "x")
    full_width = "ｃｏｒｒｅｃｔ horse battery"
    assert passwords.fits(stored, full_width), "NFKC: however a keyboard writes it"


@pytest.mark.parametrize("password", ["short", "x" * 129, "aaaaaaaaaaaaaaaa", "my name is Li.Wei!", "abababababababab"])
def test_weak_passwords_are_refused_and_never_shown(password: str) -> None:
    with pytest.raises(Refused, match="password: ") as refused:
        passwords.check(password, "li.wei")
    assert password not in str(refused.value)


def test_hashing_is_bounded() -> None:
    hasher = passwords.Hasher()
    waiting = [hasher.submit(passwords.fits, None, "x") for _ in range(passwords.AT_ONCE + passwords.WAITING)]
    with pytest.raises(passwords.Busy):
        hasher.submit(passwords.fits, None, "x")
    assert not any(one.result() for one in waiting)
    hasher.submit(passwords.fits, None, "x").result()
    hasher.close()


def test_a_sealed_secret_opens_for_its_name_and_key_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "access.key"
    sealer = Sealer.of_file(path)
    sealed = sealer.seal(SECRET, "li.wei")
    assert path.stat().st_mode & 0o777 == 0o600
    assert Sealer.of_file(path).open(sealed, "li.wei") == SECRET and SECRET not in sealed
    for other, name in ((sealer, "wang"), (Sealer(lambda: os.urandom(32)), "li.wei")):
        with pytest.raises(Refused, match="access_key"):
            other.open(sealed, name)
    path.chmod(0o640)
    with pytest.raises(Refused, match="mode 0600"):
        Sealer.of_file(path).open(sealed, "li.wei")


PARTS = st.lists(st.sampled_from(["north", "n", "north-2", "f_1", "1.2"]), max_size=4).map("/".join)


@given(prefixes=st.lists(PARTS, max_size=3), area=PARTS)
def test_the_condition_says_what_the_function_says(prefixes: list[str], area: str) -> None:
    parts = area.split("/") if area else []
    expected = any(not one or parts[: len(one.split("/"))] == one.split("/") for one in prefixes)
    assert areas.covered(prefixes, area) == expected


@pytest.mark.parametrize("area", ["north/f-1", "NORTH", ""])
def test_rows_within_areas(any_store_url: str, area: str) -> None:
    with open_books(any_store_url) as store:
        store.write(lambda conn: conn.execute(meter.update().values(area=area))).result()
        for prefixes in ((), ("north",), ("nor",), ("north/f-1",), ("north/f",), ("NORTH", "x"), ("",)):
            found = store.read(
                lambda conn, at=prefixes: list(
                    conn.execute(select(meter.c.meter).where(areas.within(meter.c.area, at))).scalars()
                )
            )
            assert found == ([METER] if areas.covered(prefixes, area) else [])


@pytest.mark.parametrize("area", ["/", "a//b", "a/", "North", "a/b/c/d/e/f/g", "x" * 41, "a b", "ä", "a\n"])
def test_areas_that_do_not_fit(area: str) -> None:
    with pytest.raises(Refused, match="area"):
        areas.check(area)


def test_a_permission_counts_where_it_is_held() -> None:
    caller = Caller("user:li", {"read": ("north", "south/f-2"), "orders": ("north",)})
    assert caller.may("read", "south/f-2/t-1") and not caller.may("read", "south") and not caller.may("read")
    caller.need("orders", "north/f-1")
    for permission, area in (("orders", "south/f-2"), ("orders", ""), ("approve", "north")):
        with pytest.raises(NotAllowed, match=permission):
            caller.need(permission, area)
    at = caller.at("orders")
    assert at.areas == ("north",) and at.sees("north/f-1") and not at.sees("northern") and not at.sees("")
    with pytest.raises(NotAllowed):
        caller.at("approve")


def test_roles_hold_what_can_be_allowed_and_keep_approving_apart() -> None:
    for name, role in ROLES.items():
        assert role.permissions <= set(PERMISSIONS) and all(role.title), name
        assert not {"approve", "users"} <= role.permissions, f"{name} could approve under names of its own making"
        assert not {"approve", "orders"} <= role.permissions, name
    assert set(PERMISSIONS) == frozenset().union(*(role.permissions for role in ROLES.values()))


def test_buckets_fill_again_and_are_bounded() -> None:
    rates = Rates({"look": Rate(2.0, 4)}, callers=2)
    assert [rates.take("a", "look", 10.0)[1] for _ in range(5)] == [0, 0, 0, 0, 1]
    assert rates.take("a", "look", 10.5) == (0, 0)
    assert rates.take("a", "look", 10.6)[1] == 1
    for caller in "bc":
        rates.take(caller, "look", 10.6)
    assert rates.take("a", "look", 10.6) == (3, 0), "forgotten, so it begins anew"
    headers = rates.headers("look", 0, 1)
    assert headers == {"RateLimit-Policy": '"look";q=4;w=2', "RateLimit": '"look";r=0;t=1', "Retry-After": "1"}
