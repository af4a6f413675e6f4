"""Logs: a line a record in both forms, and nothing in them that lets somebody in."""

import io
import json
import logging
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headend.ledger import channels
from headend.watch import logs, systemd


@pytest.fixture
def root() -> Iterator[None]:
    """Logging as it was, afterwards."""
    logger = logging.getLogger()
    before, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = before
    logger.setLevel(level)


def written(form: str, level: str = "info") -> tuple[logging.Logger, io.StringIO]:
    stream = io.StringIO()
    logs.set_up(form, level, stream)
    return logging.getLogger("openprepay.test"), stream


def test_json_lines_carry_what_was_said(root: None) -> None:
    log, stream = written(logs.JSON)
    logs.REQUEST.set("r-1")
    log.info("Meter %s: 无应答", 17, extra={"meter": 17})
    try:
        raise LookupError("token=abcdef")
    except LookupError:
        log.exception("It failed.")
    log.debug("not told")
    logs.REQUEST.set("")
    first, second = (json.loads(line) for line in stream.getvalue().splitlines())
    assert (first["level"], first["logger"], first["message"]) == ("info", "openprepay.test", "Meter 17: 无应答")
    assert (first["meter"], first["request"]) == (17, "r-1") and first["at"].endswith("Z")
    assert "LookupError" in second["error"] and "\n" in second["error"]


SECRETS = (
    "op_" + "a" * 43,
    "Bearer " + "x" * 30,
    "Basic cGVyc29uOnNlY3JldA==",
    "1234 5678 9012 3456 7890",
    "12345678901234567890",
    'passphrase="correct horse"',
    "postgresql+psycopg://openprepay:hunter2@db/openprepay",
)


@pytest.mark.parametrize("form", logs.FORMATS)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_wherever_it_stands(root: None, form: str, secret: str) -> None:
    log, stream = written(form)
    log.info("In the message: %s.", secret)
    log.info("beside it", extra={"header": secret})
    try:
        raise ValueError(f"In an error: {secret}.")
    except ValueError:
        log.exception("failed")
    told = stream.getvalue()
    assert logs.HIDDEN in told
    for part in ("aaaa", "xxxx", "cGVyc29u", "7890", "horse", "hunter2"):
        assert part not in told


@given(st.binary(min_size=32, max_size=32), st.text(max_size=20), st.text(max_size=20))
def test_no_token_of_a_channel_is_ever_written(entropy: bytes, before: str, after: str) -> None:
    token = channels.new_token(lambda n: entropy[:n])
    assert token not in logs.without_secrets(f"{before} {token} {after}")


def test_a_line_of_text_names_its_request(root: None) -> None:
    log, stream = written(logs.TEXT)
    logs.REQUEST.set("r-2")
    log.info("It was refused.")
    logs.REQUEST.set("")
    assert stream.getvalue().endswith("It was refused. [request r-2]\n")


def test_what_is_no_secret_stays() -> None:
    for text in (
        "Meter 000000000017, order 12345678, 1 800 000 000.",
        "sqlite:///var/openprepay.sqlite",
        "123456789012345678",
    ):
        assert logs.without_secrets(text) == text


def test_a_service_manager_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        systemd.tell("READY=1")
        assert listening.recv(100) == b"READY=1"
    systemd.tell("STOPPING=1")  # nobody listens any more: said to the log alone
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert systemd.watchdog_s() == 15.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_s() is None
    monkeypatch.setenv("WATCHDOG_USEC", "no")
    assert systemd.watchdog_s() is None


def test_standard_error_is_where_it_goes(root: None, capsys: pytest.CaptureFixture[str]) -> None:
    handler = logs.set_up()
    assert handler.stream is sys.stderr  # type: ignore[attr-defined]
    logging.getLogger("openprepay.test").warning("said")
    assert "WARNING openprepay.test: said" in capsys.readouterr().err
