"""`openprepay serve` and `openprepay admin` as processes: what was answered survives, signals, refusals by name."""

import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.head_end import HeadEnd, meter


@pytest.fixture
def head_end(tmp_path: Path) -> Iterator[HeadEnd]:
    with HeadEnd(tmp_path) as made:
        yield made


def pay(head_end: HeadEnd, payment_id: str, amount: str = "1.00") -> tuple[int, dict[str, object]]:
    return head_end.ask("POST", "/payments", {"payment_id": payment_id, "meter": "17", "amount": amount})


def test_a_payment_that_was_answered_survives_a_kill(head_end: HeadEnd) -> None:
    """SIGKILL directly behind the 201, again and again; the books add up after each."""
    line = head_end.start()
    assert line.startswith(f"openprepay: {head_end.url} (status page)")
    assert head_end.ask("POST", "/meters", meter(17))[0] == 201
    taken = {}
    for number in range(2):
        for part in "abc":
            status, taken[f"{number}{part}"] = pay(head_end, f"{number}{part}")
            assert status == 201
        assert head_end.end(signal.SIGKILL) == -signal.SIGKILL
        head_end.start()
        for payment_id, answer in taken.items():
            assert pay(head_end, payment_id) == (200, answer)
        total = f"{3 * (number + 1)}.00"
        assert head_end.ask("GET", "/meters/17")[1]["credit"]["sold"] == total
        assert head_end.ask("GET", "/meters/17/reconciliation")[1]["ledger"] == total


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(head_end: HeadEnd, number: signal.Signals) -> None:
    head_end.start()
    with socket.create_connection(("127.0.0.1", head_end.port)):  # an idle connection does not hold it up
        assert head_end.end(number) == 0
    assert "Traceback" not in head_end.log()
    head_end.start()
    assert head_end.ask("GET", "/ready") == (200, {"ready": True, "trouble": {}})
    assert head_end.end(number) == 0


def test_neither_token_nor_passphrase_is_in_any_log(head_end: HeadEnd) -> None:
    head_end.start("--verbose")
    head_end.ask("POST", "/meters", meter(17))
    pay(head_end, "1")
    head_end.ask("GET", f"/meters?access_token={head_end.token}")
    head_end.end(signal.SIGTERM)
    told = head_end.log()
    assert told, "it logs"
    assert head_end.token not in told
    assert head_end.environ["OPENPREPAY_KEYSTORE_PASSPHRASE"] not in told


def test_a_second_one_on_the_same_files_is_refused(head_end: HeadEnd) -> None:
    head_end.start()
    taken = head_end.command("serve")
    assert (taken.returncode, taken.stdout) == (1, "")
    assert f"http_port: {head_end.port} given, a port that is free on 127.0.0.1" in taken.stderr
    other = head_end.command("serve", OPENPREPAY_HTTP_PORT="1")
    assert other.returncode == 1
    assert "held by another signer" in other.stderr or "http_port: 1 given" in other.stderr
    assert head_end.ask("GET", "/health")[0] == 200


def test_channels_are_administered_beside_the_running_head_end(head_end: HeadEnd) -> None:
    head_end.start()
    token = head_end.run("admin", "channel", "add", "pos-2", "--scopes", "payments, read", "--max", "20").strip()
    first, head_end.token = head_end.token, token
    assert head_end.ask("GET", "/meters")[0] == 200
    head_end.token = head_end.run("admin", "channel", "token", "pos-2").strip()
    assert head_end.ask("GET", "/meters")[0] == 200
    head_end.token = token
    give_up_s = time.monotonic() + 60
    while head_end.ask("GET", "/meters")[0] != 401:  # who asked a moment ago is remembered for another
        assert time.monotonic() < give_up_s, "the old token has not ended"
        time.sleep(0.1)
    listed = head_end.run("admin", "channel", "list")
    assert [line.split()[:3] for line in listed.splitlines()] == [
        ["all", "payments", "orders"],
        ["pos-2", "payments", "read"],
    ]
    assert "max 20.00" in listed and token not in listed
    head_end.run("admin", "channel", "close", "pos-2")
    assert "closed" in head_end.run("admin", "channel", "list")
    head_end.token = first
    assert head_end.ask("GET", "/meters")[0] == 200
