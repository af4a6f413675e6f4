"""People sign in and out: what is answered, what ends a session, what bounds guessing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from headend.access import people, rules, sessions, totp
from headend.access.sealing import Sealer
from headend.store import READS
from headend.store.schema_access import login, session
from headend.store.schema_audit import audit
from tests.host.people_rig import PASSWORD, add_person, session_of
from tests.host.site import API, Site, problem

OTHER = "another horse, other battery"
KEY = bytes(range(32))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with Site(tmp_path, sealer=Sealer(lambda: KEY)) as made:
        add_person(made.store, "li.wei", ("dispatcher", "north"), ("viewer", ""))
        yield made


def sign_in(site: Site, password: str = PASSWORD, user: str = "li.wei", **more: Any) -> httpx.Response:
    return site.client(None).post(f"{API}/session", json={"user": user, "password": password, **more})


def actions(site: Site) -> list[tuple[str, str, str]]:
    columns = audit.c.actor, audit.c.action, audit.c.subject
    return site.store.read(lambda conn: [tuple(row) for row in conn.execute(select(*columns).order_by(audit.c.id))])


def test_a_session_from_its_first_request_to_its_last(site: Site) -> None:
    begun = sign_in(site)
    assert begun.status_code == 200 and begun.json()["token"].startswith("ops_")
    assert begun.json()["ends"]["s"] - site.clock.now_s() == 12 * 3600
    client = site.client(begun.json()["token"])
    me = client.get(f"{API}/me").json()
    held = {one["permission"]: one["areas"] for one in me["permissions"]}
    assert held == {"freeze": ["north"], "orders": ["north"], "read": ["", "north"]}
    assert [one["this"] for one in me["sessions"]] == [True]
    assert client.get(f"{API}/meters").status_code == 200
    problem(client.post(f"{API}/meters", json={}), 403, "out_of_scope")
    assert client.post(f"{API}/session/end", json={}).status_code == 200
    problem(client.get(f"{API}/me"), 401, "unauthorized")
    assert ("user:li.wei", "sign_in", "user:li.wei") in actions(site)
    assert ("user:li.wei", "sign_out", "user:li.wei") in actions(site)


def test_neither_password_nor_token_is_kept(site: Site) -> None:
    token = sign_in(site).json()["token"]
    site.store.write(lambda conn: None).result()
    files = site.stored()
    assert token.encode() not in files and PASSWORD.encode() not in files


def test_whoever_is_unknown_is_answered_as_whoever_is_wrong(site: Site) -> None:
    site.store.write(people.change, site.clock.now_s(), "system", "li.wei", "active", "zh").result()
    add_person(site.store, "closed.one")
    site.store.write(people.change, site.clock.now_s(), "system", "closed.one", "closed", "zh").result()
    answers = [
        sign_in(site, "wrong"),
        sign_in(site, "wrong", "nobody"),
        sign_in(site, PASSWORD, "closed.one"),
        sign_in(site, PASSWORD, "no such\nname"),
    ]
    bodies = [problem(answer, 401, "not_signed_in") for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    recorded = [subject for _, action, subject in actions(site) if action == "sign_in_failed"]
    assert recorded == ["user:li.wei", "user:(unknown)", "user:closed.one", "user:(unknown)"]


@pytest.mark.parametrize("user", ["li.wei", "nobody"])
def test_five_wrong_passwords_lock_a_name_for_longer_each_time(site: Site, user: str) -> None:
    """Also a name that nobody has; the right password does not help then."""
    for lock_s in (900, 1800):
        for _ in range(5):
            problem(sign_in(site, "wrong", user), 401, "not_signed_in")
        locked = sign_in(site, PASSWORD, user)
        problem(locked, 429, "too_many_attempts")
        assert locked.headers["retry-after"] == str(lock_s)
        site.clock.advance(lock_s - 1)
        problem(sign_in(site, PASSWORD, user), 429, "too_many_attempts")
        site.clock.advance(1)
    if user == "li.wei":
        assert sign_in(site).status_code == 200
        assert [sign_in(site, "wrong").status_code for _ in range(5)] == [401] * 5, "it began anew"


def test_an_address_that_guesses_many_names_is_locked(site: Site) -> None:
    site.store.write(rules.put, site.clock.now_s(), "system", "address_lock_after", 6).result()
    for number in range(6):
        problem(sign_in(site, "wrong", f"name{number}"), 401, "not_signed_in")
    problem(sign_in(site), 429, "too_many_attempts")


def test_a_success_between_guesses_does_not_free_the_address(site: Site) -> None:
    site.store.write(rules.put, site.clock.now_s(), "system", "address_lock_after", 5).result()
    statuses = []
    for number in range(8):
        statuses.append(sign_in(site, "wrong", f"name{number}").status_code)
        sign_in(site)
    assert statuses == [401] * 5 + [429] * 3 or statuses == [401] * 4 + [429] * 4, statuses


def test_an_administrator_unlocks(site: Site) -> None:
    add_person(site.store, "admin", ("administrator", ""))
    client = site.client(session_of(site.store, "admin"))
    for _ in range(5):
        sign_in(site, "wrong")
    assert client.get(f"{API}/users/li.wei").json()["locked_until"]["s"] == site.clock.now_s() + 900
    assert client.post(f"{API}/users/li.wei/unlock").status_code == 200
    assert sign_in(site).status_code == 200


def test_sessions_end_by_themselves(site: Site) -> None:
    idle, busy = (site.client(sign_in(site).json()["token"]) for _ in range(2))

    def use(every_s: int, times: int) -> None:
        for _ in range(times):
            assert busy.get(f"{API}/me").status_code == 200
            site.store.write(lambda conn: None, lane=READS).result()  # that it was used is written down by then
            site.clock.advance(every_s)

    use(60, 30)
    problem(idle.get(f"{API}/me"), 401, "unauthorized")
    use(1790, 22)
    use(60, 4)
    site.clock.advance(43_200 - 1_800 - 22 * 1_790 - 4 * 60)
    problem(busy.get(f"{API}/me"), 401, "unauthorized")  # 12 hours after it began, however busy it was


def test_a_second_factor_is_asked_for_and_each_code_counts_once(site: Site) -> None:
    client = site.client(sign_in(site).json()["token"])
    secret = client.post(f"{API}/me/second-factor").json()
    assert secret["uri"].startswith("otpauth://totp/openprepay:li.wei?secret=" + secret["secret"])
    raw = _from_base32(secret["secret"])
    problem(client.put(f"{API}/me/second-factor", json={"code": "000000"}), 422, "refused")
    assert sign_in(site).status_code == 200, "not on before a code was seen"
    now_s = site.clock.now_s()
    assert client.put(f"{API}/me/second-factor", json={"code": _code(raw, now_s)}).status_code == 200
    problem(sign_in(site), 401, "code_wanted")
    problem(sign_in(site, "wrong"), 401, "not_signed_in")
    problem(sign_in(site, code=_code(raw, now_s)), 401, "not_signed_in")  # used to turn it on
    assert sign_in(site, code=_code(raw, now_s + 30)).status_code == 200
    problem(sign_in(site, code=_code(raw, now_s + 30)), 401, "not_signed_in")
    stored = site.store.read(lambda conn: conn.execute(select(login.c.totp_secret)).scalar())
    assert raw not in stored
    problem(client.post(f"{API}/me/second-factor/off", json={"password": "wrong"}), 422, "refused")
    assert client.post(f"{API}/me/second-factor/off", json={"password": PASSWORD}).status_code == 200
    assert sign_in(site).status_code == 200


def _from_base32(text: str) -> bytes:
    import base64

    return base64.b32decode(text + "=" * (-len(text) % 8))


def _code(secret: bytes, now_s: int) -> str:
    return totp.hotp(secret, now_s // totp.STEP_S)


def test_a_new_password_ends_the_other_sessions(site: Site) -> None:
    mine, other = (site.client(sign_in(site).json()["token"]) for _ in range(2))
    change = {"old_password": PASSWORD, "new_password": OTHER}
    problem(mine.put(f"{API}/me/password", json={**change, "old_password": "wrong"}), 422, "refused")
    problem(mine.put(f"{API}/me/password", json={**change, "new_password": "short"}), 422, "refused")
    problem(mine.put(f"{API}/me/password", json={**change, "new_password": PASSWORD}), 422, "refused")
    assert mine.put(f"{API}/me/password", json=change).status_code == 200
    problem(other.get(f"{API}/me"), 401, "unauthorized")
    assert mine.get(f"{API}/me").status_code == 200
    problem(sign_in(site), 401, "not_signed_in")
    assert sign_in(site, OTHER).status_code == 200


def test_guesses_at_the_old_password_are_bounded_too(site: Site) -> None:
    mine = site.client(sign_in(site).json()["token"])
    change = {"old_password": "wrong", "new_password": OTHER}
    assert [mine.put(f"{API}/me/password", json=change).status_code for _ in range(6)] == [422] * 5 + [429]


def test_a_password_from_somebody_else_has_to_be_changed_first(site: Site) -> None:
    add_person(site.store, "admin", ("administrator", ""))
    admin = site.client(session_of(site.store, "admin"))
    old = site.client(sign_in(site).json()["token"])
    fresh = admin.post(f"{API}/users/li.wei/reset").json()["password"]
    problem(old.get(f"{API}/me"), 401, "unauthorized")
    begun = sign_in(site, fresh).json()
    assert begun["must_change"]
    client = site.client(begun["token"])
    problem(client.get(f"{API}/meters"), 403, "out_of_scope")
    assert client.put(f"{API}/me/password", json={"old_password": fresh, "new_password": OTHER}).status_code == 200
    assert client.get(f"{API}/meters").status_code == 200


def test_one_person_has_a_bounded_number_of_sessions(site: Site) -> None:
    tokens = [session_of(site.store, "li.wei") for _ in range(sessions.MOST + 2)]
    found = [site.client(token).get(f"{API}/me").status_code for token in tokens]
    assert found == [401] * 2 + [200] * sessions.MOST
    assert site.store.read(lambda conn: len(conn.execute(select(session.c.id)).all())) == sessions.MOST


# --- by a browser -----------------------------------------------------------------------------------------------------


def browser(site: Site) -> httpx.Client:
    return site.client(None, headers={"Accept": "text/html"}, follow_redirects=False)


def test_the_page_by_a_form_and_a_cookie(site: Site) -> None:
    client = browser(site)
    asked = client.get("/")
    assert (asked.status_code, asked.headers["location"]) == (303, "/sign-in")
    form = client.get("/sign-in?lang=zh")
    # Under "no-referrer" browsers send a form with "Origin: null" (Fetch 3.2), which `same_site` refuses.
    assert form.headers["referrer-policy"] == "same-origin"
    assert form.status_code == 200 and "登录" in form.text and "script" not in form.text
    assert "form-action 'self'" in form.headers["content-security-policy"]
    ours = {"Origin": site.url}
    wrong = client.post("/sign-in?lang=zh", data={"user": "li.wei", "password": "x"}, headers=ours)
    assert wrong.status_code == 401 and "用户名、密码或验证码不正确" in wrong.text and 'role="alert"' in wrong.text
    entered = client.post("/sign-in", data={"user": "li.wei", "password": PASSWORD, "code": ""}, headers=ours)
    assert (entered.status_code, entered.headers["location"]) == (303, "/")
    cookie = entered.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and cookie.startswith("openprepay-session=ops_")
    board = client.get("/?lang=en")
    assert board.status_code == 200 and "Signed in as li.wei" in board.text
    assert 'action="/sign-out?lang=en"' in board.text
    assert "form-action 'self'" in board.headers["content-security-policy"]
    assert client.get(f"{API}/me").json()["user"] == "li.wei"
    left = client.post("/sign-out?lang=en", headers=ours)
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in?lang=en")
    assert client.get("/").status_code == 303


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}]
)
def test_another_site_cannot_act_through_a_browser(site: Site, headers: dict[str, str]) -> None:
    client = browser(site)
    client.cookies.set("openprepay-session", session_of(site.store, "li.wei"))
    problem(client.post(f"{API}/session/end", json={}, headers=headers), 403, "cross_site")
    assert client.post("/sign-in", data={"user": "li.wei", "password": PASSWORD}, headers=headers).status_code == 403
    assert client.post("/sign-out", headers=headers).status_code == 403
    assert client.get(f"{API}/me", headers=headers).status_code == 200
    assert client.post(f"{API}/session/end", json={}, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200


def test_behind_tls_the_cookie_is_bound_to_this_host(tmp_path: Path) -> None:
    with Site(tmp_path, behind_tls=True) as site:
        add_person(site.store, "li.wei")
        answer = sign_in(site, cookie=True)
        assert answer.json()["token"] is None
        cookie = answer.headers["set-cookie"]
        assert cookie.startswith("__Host-openprepay-session=") and "; Secure" in cookie and "Path=/;" in cookie
        for number in range(4):
            said = {"X-Forwarded-For": f"198.51.100.{number}, 203.0.113.9"}
            site.client(None).post(f"{API}/session", json={"user": "li.wei", "password": "x"}, headers=said)
        subjects = {row[2] for row in _failures(site)}
        assert subjects and site.store.read(_addresses) == {"127.0.0.1", "203.0.113.9"}


def _failures(site: Site) -> list[tuple[str, str, str]]:
    return [row for row in actions(site) if row[1] == "sign_in_failed"]


def _addresses(conn: Any) -> set[str]:
    import json

    found = conn.execute(select(audit.c.detail).where(audit.c.action.in_(["sign_in", "sign_in_failed"]))).scalars()
    return {json.loads(text)["address"] for text in found}
