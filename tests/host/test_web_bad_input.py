"""Bad input over HTTP: each is refused by name, and nothing changes."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from headend.store import CommitFailed, Overloaded
from headend.web import incoming, operations
from tests.host import books
from tests.host.site import API, Site, problem

PAY = {"payment_id": "1", "meter": "17", "amount": "25.00"}
TARIFF = {"prices": ["0.52", "0.31"], "slots": [{"start": "00:00", "rate": 1}, {"start": "08:00", "rate": 0}]}
LIMITS = {"alarm": "10", "alarm2": "5", "trip_delay_s": 900, "dwell_s": 60, "spread_s": 300, "stable_s": 10}
METER = {
    "meter": "18",
    "carrier": "modbus",
    "address": "tcp://127.0.0.1:502?unit=1",
    "tariff": TARIFF,
    "limits": LIMITS,
}

PAYMENTS, METERS = "/payments", "/meters"
STOP, START = "/meters/17/disconnect", "/meters/17/connect"

# method, path, body, status, code, field, what the sentence says
TABLE: list[tuple[str, str, Any, int, str, str | None, str]] = [
    ("POST", PAYMENTS, b"", 400, "malformed", None, "not JSON"),
    ("POST", PAYMENTS, b"{", 400, "malformed", None, "not JSON"),
    ("POST", PAYMENTS, b"\xff\xfe", 400, "malformed", None, "not JSON"),
    ("POST", PAYMENTS, b'{"amount":"\\ud800"}', 400, "malformed", None, "not JSON"),
    ("POST", PAYMENTS, b"[" * 16_000, 400, "malformed", None, "nested too deeply"),
    ("POST", PAYMENTS, b"null", 422, "refused", "body", "an object expected"),
    ("POST", PAYMENTS, [PAY], 422, "refused", "body", "an object expected"),
    ("POST", PAYMENTS, {}, 422, "refused", "payment_id", "payment_id is missing"),
    ("POST", PAYMENTS, {**PAY, "note": "x"}, 422, "refused", "note", "not a field that is known"),
    ("POST", PAYMENTS, {**PAY, "amount": 25}, 422, "refused", "amount", "amount: 25 given, text expected"),
    ("POST", PAYMENTS, {**PAY, "amount": 25.0}, 422, "refused", "amount", "amount: 25.0 given"),
    ("POST", PAYMENTS, {**PAY, "amount": None}, 422, "refused", "amount", "amount: None given"),
    ("POST", PAYMENTS, {**PAY, "amount": "25,00"}, 422, "refused", "amount", "'25,00' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "-1"}, 422, "refused", "amount", "'-1' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "+1"}, 422, "refused", "amount", "'+1' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "1e3"}, 422, "refused", "amount", "'1e3' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "1."}, 422, "refused", "amount", "'1.' given"),
    ("POST", PAYMENTS, {**PAY, "amount": ".5"}, 422, "refused", "amount", "'.5' given"),
    ("POST", PAYMENTS, {**PAY, "amount": " 1"}, 422, "refused", "amount", "' 1' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "1\n"}, 422, "refused", "amount", "given"),
    ("POST", PAYMENTS, {**PAY, "amount": "١"}, 422, "refused", "amount", "given"),
    ("POST", PAYMENTS, {**PAY, "amount": "NaN"}, 422, "refused", "amount", "'NaN' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "0.0000001"}, 422, "refused", "amount", "'0.0000001' given"),
    ("POST", PAYMENTS, {**PAY, "amount": "0"}, 422, "refused", "amount", "'0' given, more than 0 expected"),
    ("POST", PAYMENTS, {**PAY, "amount": "1000.01"}, 422, "refused", "amount", "at most 1000.00, the channel's limit"),
    ("POST", PAYMENTS, {**PAY, "amount": "9" * 13}, 422, "refused", "amount", "at most"),
    ("POST", PAYMENTS, {**PAY, "amount": "9" * 5000}, 422, "refused", "amount", "given"),
    ("POST", PAYMENTS, {**PAY, "meter": 17}, 422, "refused", "meter", "meter: 17 given, text expected"),
    ("POST", PAYMENTS, {**PAY, "meter": "0"}, 422, "refused", "meter", "'0' given, a meter's number"),
    ("POST", PAYMENTS, {**PAY, "meter": "17\n"}, 422, "refused", "meter", "given"),
    ("POST", PAYMENTS, {**PAY, "meter": "1" * 15}, 422, "refused", "meter", "given"),
    ("POST", PAYMENTS, {**PAY, "meter": "18"}, 404, "unknown_meter", "meter", "18 given"),
    ("POST", PAYMENTS, {**PAY, "payment_id": ""}, 422, "refused", "payment_id", "'' given"),
    ("POST", PAYMENTS, {**PAY, "payment_id": "x" * 65}, 422, "refused", "payment_id", "given"),
    ("POST", PAYMENTS, {**PAY, "payment_id": " x"}, 422, "refused", "payment_id", "' x' given"),
    ("POST", PAYMENTS, {**PAY, "payment_id": "é"}, 422, "refused", "payment_id", "'é' given"),
    ("POST", PAYMENTS, {**PAY, "payment_id": "a\x00b"}, 422, "refused", "payment_id", "\\x00"),
    ("GET", "/payments/none", None, 404, "unknown_payment", "payment_id", "'none' given"),
    ("GET", "/meters/x", None, 422, "refused", "meter", "'x' given"),
    ("GET", "/meters/-1", None, 422, "refused", "meter", "'-1' given"),
    ("GET", "/meters/18", None, 404, "unknown_meter", "meter", "18 given"),
    ("GET", "/meters?limit=0", None, 422, "refused", "limit", "'0' given"),
    ("GET", "/meters?limit=many", None, 422, "refused", "limit", "'many' given"),
    ("GET", "/meters?limit=5&limit=6", None, 422, "refused", "limit", "given twice"),
    ("GET", "/meters?colour=red", None, 422, "refused", "colour", "not a field"),
    ("GET", "/meters?after=x", None, 422, "refused", "after", "'x' given"),
    ("GET", "/meters?limit=%FF", None, 400, "malformed", None, "query"),
    ("GET", "/meters?limit", None, 400, "malformed", None, "query"),
    ("GET", "/meters?" + "&".join(f"a{n}=1" for n in range(40)), None, 400, "malformed", None, "query"),
    ("GET", "/meters/18/orders", None, 404, "unknown_meter", "meter", "18 given"),
    ("GET", "/meters/18/intervals", None, 404, "unknown_meter", "meter", "18 given"),
    ("GET", "/meters/18/readings", None, 404, "unknown_meter", "meter", "18 given"),
    ("GET", "/meters/17/readings?day=2026-02-29", None, 422, "refused", "day", "a day such as 2026-11-22"),
    ("GET", "/meters/17/readings?after=7", None, 422, "refused", "after", "'7' given"),
    ("GET", "/meters/17/intervals?after=-1", None, 422, "refused", "after", "'-1' given"),
    ("GET", "/meters/17/intervals?limit=2001", None, 422, "refused", "limit", "'2001' given"),
    ("GET", "/meters/18/reconciliation", None, 404, "unknown_meter", "meter", "18 given"),
    ("GET", "/orders/1", None, 404, "unknown_order", "order", "1 given"),
    ("GET", "/orders/x", None, 404, "unknown_order", "order", "'x' given"),
    ("GET", "/orders/99999999999999999999", None, 404, "unknown_order", "order", "given"),
    ("POST", STOP, {}, 422, "refused", "reason", "reason is missing"),
    ("POST", STOP, {"reason": "protection"}, 422, "refused", "reason", "protection"),
    ("POST", STOP, {"reason": "arrears", "valid_s": 901}, 422, "refused", "valid_s", "901 given"),
    ("POST", STOP, {"reason": "arrears", "delay_s": 65535}, 422, "refused", "delay_s", "65535 given"),
    ("POST", STOP, {"reason": "arrears", "delay_s": -1}, 422, "refused", "delay_s", "-1 given"),
    ("POST", STOP, {"reason": "arrears", "delay_s": True}, 422, "refused", "delay_s", "True given"),
    ("POST", STOP, {"reason": "arrears", "note": "x" * 201}, 422, "refused", "note", "given"),
    ("POST", STOP, {"reason": "arrears", "note": "a\nb"}, 422, "refused", "note", "printable"),
    ("POST", "/meters/18/disconnect", {"reason": "arrears"}, 404, "unknown_meter", "meter", "18 given"),
    ("POST", START, {"reason": "arrears"}, 422, "refused", "close", "close is missing"),
    ("POST", START, {"reason": "arrears", "close": "now"}, 422, "refused", "close", "now"),
    ("POST", "/meters/18/connect", {"reason": "arrears", "close": "permit"}, 404, "unknown_meter", "meter", "18"),
    ("PUT", "/meters/17/tariff", {"prices": []}, 422, "refused", "prices", "given"),
    ("PUT", "/meters/17/tariff", {"prices": ["1"] * 5}, 422, "refused", "prices", "given"),
    ("PUT", "/meters/17/tariff", {"prices": ["x"]}, 422, "refused", "prices[0]", "'x' given"),
    ("PUT", "/meters/17/tariff", {"prices": ["1000000.01"]}, 422, "refused", None, "price: 1000000010000 given"),
    (
        "PUT",
        "/meters/17/tariff",
        {**TARIFF, "slots": [{"start": "06:10", "rate": 0}]},
        422,
        "refused",
        "slots[0].start",
        "",
    ),
    (
        "PUT",
        "/meters/17/tariff",
        {**TARIFF, "slots": [{"start": "06:00", "rate": 0}]},
        422,
        "refused",
        None,
        "slot start",
    ),
    (
        "PUT",
        "/meters/17/tariff",
        {**TARIFF, "slots": [{"start": "00:00", "rate": 2}]},
        422,
        "refused",
        None,
        "slot rate",
    ),
    ("PUT", "/meters/17/tariff", {**TARIFF, "slots": [{}]}, 422, "refused", "slots[0].start", "is missing"),
    ("PUT", "/meters/17/tariff", {**TARIFF, "utc_offset_minutes": 7}, 422, "refused", "utc_offset_minutes", "7 given"),
    ("PUT", "/meters/18/tariff", TARIFF, 404, "unknown_meter", "meter", "18 given"),
    ("PUT", "/meters/17/limits", {**LIMITS, "alarm2": "11"}, 422, "refused", "alarm2", "'11' given, at most 10"),
    ("PUT", "/meters/17/limits", {**LIMITS, "dwell_s": 65535}, 422, "refused", "dwell_s", "65535 given"),
    ("PUT", "/meters/18/limits", LIMITS, 404, "unknown_meter", "meter", "18 given"),
    ("POST", METERS, {**METER, "meter": "17"}, 409, "meter_exists", "meter", "17 given"),
    ("POST", METERS, {**METER, "carrier": "dove"}, 422, "refused", "carrier", "dove"),
    ("POST", METERS, {**METER, "address": ""}, 422, "refused", "address", "'' given"),
    ("POST", METERS, {**METER, "address": "tcp://127.0.0.1:502"}, 422, "refused", "address unit", "1..247"),
    ("POST", METERS, {**METER, "interval_minutes": 7}, 422, "refused", "interval_minutes", "7 given, a divisor of 60"),
    ("POST", METERS, {**METER, "label": "a\tb"}, 422, "refused", "label", "printable"),
    ("DELETE", "/meters/17", None, 405, "method_not_allowed", None, "GET"),
    ("PATCH", PAYMENTS, PAY, 405, "method_not_allowed", None, "POST"),
    ("GET", "/", None, 404, "no_such_path", None, "nothing at this path"),
    ("POST", "/meters/17/explode", {}, 404, "no_such_path", None, "nothing at this path"),
    ("GET", "/meters/", None, 404, "no_such_path", None, "nothing at this path"),
    ("GET", "/meters/17/../17", None, 404, "no_such_path", None, ""),
    ("GET", "/nowhere%0Athere", None, 404, "no_such_path", None, "nothing at this path"),
    ("GET", "/payments/a%0Ab", None, 404, "unknown_payment", "payment_id", "given"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.mark.parametrize(("method", "path", "body", "status", "code", "field", "words"), TABLE)
def test_it_is_refused_by_name_and_nothing_changes(
    site: Site, method: str, path: str, body: Any, status: int, code: str, field: str | None, words: str
) -> None:
    before, woken = books.dump(site.store), site.woken
    client = site.client()
    if isinstance(body, bytes):
        response = client.request(method, API + path, content=body, headers={"Content-Type": "application/json"})
    elif ".." in path:
        response = client.request(method, f"{site.url}{API}{path.replace('..', '%2E%2E')}")
    else:
        response = client.request(method, API + path, json=body)
    refusal = problem(response, status, code)
    assert refusal.get("field") == field
    assert words in refusal["detail"]
    assert len(response.content) < 1000, "what was sent is not sent back"
    assert books.dump(site.store) == before
    assert site.woken == woken


TAG = '"0123456789abcdef"'
CALENDAR = {"time_zone": "Asia/Shanghai", "rules": [], "why": "none"}


@pytest.mark.parametrize("tags", ["", "abc", TAG[1:], f"*, {TAG}", f"{TAG} {TAG}", '"\xe9"'])
def test_a_condition_that_is_none_is_refused(site: Site, tags: str) -> None:
    headers = {"If-Match": tags.encode("latin-1")}
    response = site.client().put(f"{API}/calendar", json=CALENDAR, headers=headers)
    assert problem(response, 400, "malformed")["field"] == "If-Match"


@pytest.mark.parametrize("tags", [TAG, f"W/{TAG}", f'"", {TAG},', f"{TAG}\t,W/{TAG}"])
def test_a_condition_may_name_several_states(site: Site, tags: str) -> None:
    headers = {"If-Match": tags}
    problem(site.client().put(f"{API}/calendar", json=CALENDAR, headers=headers), 412, "changed_meanwhile")


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_only_json_is_read(site: Site, kind: str) -> None:
    headers = {"Content-Type": kind} if kind else {}
    response = site.client().post(f"{API}/payments", content=b'{"payment_id":"1"}', headers=headers)
    assert problem(response, 415, "not_json")["field"] == "Content-Type"


def test_json_with_a_charset_is_json(site: Site) -> None:
    response = site.client().post(
        f"{API}/payments", content=b"{}", headers={"Content-Type": "Application/JSON; charset=utf-8"}
    )
    problem(response, 422, "refused")


def test_a_body_beyond_the_limit_is_not_read(site: Site) -> None:
    before = books.dump(site.store)
    client, json = site.client(), {"Content-Type": "application/json"}
    largest = b'{"payment_id":"' + b"x" * (operations.MAX_BODY - 17) + b'"}'
    problem(client.post(f"{API}/payments", content=largest, headers=json), 422, "refused")
    problem(client.post(f"{API}/payments", content=largest + b" ", headers=json), 413, "too_large")

    def chunks() -> Iterator[bytes]:
        for _ in range(operations.MAX_BODY // 1024 + 2):
            yield b" " * 1024

    problem(site.client().post(f"{API}/payments", content=chunks(), headers=json), 413, "too_large")
    assert books.dump(site.store) == before


def test_a_body_that_does_not_come_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(incoming, "BODY_S", 0.2)
    token = site.client().headers["authorization"]
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=30) as line:
        head = (
            f"POST {API}/payments HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\nContent-Type: application/json\r\n"
        )
        line.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        assert line.recv(100).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "raw",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /api/v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
        b"POST /api/v1/payments HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_not_http_neither_crashes_nor_changes_anything(site: Site, raw: bytes) -> None:
    before = books.dump(site.store)
    with socket.create_connection(("127.0.0.1", int(site.url.rpartition(":")[2])), timeout=30) as line:
        line.settimeout(5)
        try:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            line.recv(100)
        except OSError:
            pass  # it closed the connection
    assert site.client(None).get(f"{API}/health").status_code == 200
    assert books.dump(site.store) == before


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (CommitFailed("disk full: /secret/path"), 503, "not_stored"),
        (Overloaded("10000 writes wait in lane money; try again later."), 503, "overloaded"),
        (ZeroDivisionError("secret"), 500, "failed"),
    ],
)
def test_trouble_of_our_own_is_no_fault_of_the_caller(
    site: Site, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, code: str
) -> None:
    async def fails(*_: Any, **__: Any) -> Any:
        raise error

    before = books.dump(site.store)
    monkeypatch.setattr(site.desk, "write", fails)
    response = site.client().post(f"{API}/payments", json=PAY)
    problem(response, status, code)
    assert ("retry-after" in response.headers) == (status == 503)
    assert "secret" not in response.text
    assert books.dump(site.store) == before


def test_the_loop_answers_while_the_store_is_busy(site: Site) -> None:
    """A write that takes long holds up neither reads nor what needs no store."""
    gate = threading.Event()
    held = site.store.write(lambda conn: gate.wait(60))
    with ThreadPoolExecutor(1) as threads:
        paid = threads.submit(site.client().post, f"{API}/payments", json={**PAY, "payment_id": "while-busy"})
        for path in ("/health", "/meters", "/meters/17"):
            assert site.client().get(API + path).status_code == 200
        assert not held.done() and not paid.done(), "all that was answered while the writer was held"
        gate.set()
        assert paid.result(30).status_code == 201
