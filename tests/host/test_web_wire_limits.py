"""What comes over a connection before any handler sees it: limits, garbage, and that each answer is a problem."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from headend.web import http1
from tests.host.site import API, Site

HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("site")) as made:
        yield made


def exchange(site: Site, *pieces: bytes) -> bytes:
    """What comes back until the server hangs up, or 5 s pass."""
    where = httpx.URL(site.url)
    with socket.create_connection((where.host, where.port or 80), timeout=5) as wire:
        try:
            for piece in pieces:
                wire.sendall(piece)
        except OSError:
            pass  # it hung up before it had heard all
        heard = b""
        try:
            while part := wire.recv(65_536):
                heard += part
        except (TimeoutError, ConnectionResetError):
            pass
        return heard


def refused(answer: bytes, status: int, code: str) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b"content-type: application/problem+json" in head.lower()
    told = json.loads(body)
    assert (told["status"], told["code"]) == (status, code)
    assert told["detail"].endswith(".") and told["title"]


@pytest.mark.parametrize(
    "request_",
    [
        b"what is this\r\n\r\n",
        b"GET / HTTP/9.9\r\n" + HOST + b"\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: many\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET / HTTP/1.1\r\n" + HOST + b"Bad\x00Name: x\r\n\r\n",
        bytes(range(256)),
    ],
)
def test_what_is_no_request_is_answered_with_a_problem(site: Site, request_: bytes) -> None:
    refused(exchange(site, request_), 400, "malformed")


def test_the_head_of_a_request_is_bounded(site: Site) -> None:
    """In one header or many, in the path, ended or not: it is refused before it is kept."""
    line = b"X-%d: " + 100 * b"x" + b"\r\n"
    many = b"".join(line % number for number in range(http1.HEAD_BYTES // 100))
    long = http1.HEAD_BYTES * b"x"
    for request_ in (
        b"GET / HTTP/1.1\r\n" + HOST + many + b"\r\n",
        b"GET / HTTP/1.1\r\n" + HOST + b"X: " + long + b"\r\n\r\n",
        b"GET /" + long + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    ):
        refused(exchange(site, request_), 431, "head_too_large")
    endless = (64 * 1024 * b"x" for _ in range(64))
    heard = exchange(site, b"GET / HTTP/1.1\r\n" + HOST + b"X: ", *endless)
    assert not heard or heard.startswith(b"HTTP/1.1 431 "), "it was cut off, whether or not we heard why"


def test_a_head_below_the_limit_is_taken_however_it_is_cut(site: Site) -> None:
    request_ = b"GET " + API.encode() + b"/health HTTP/1.1\r\n" + HOST + b"X: " + 12_000 * b"x" + b"\r\n"
    whole = request_ + b"Connection: close\r\n\r\n"
    assert exchange(site, whole).startswith(b"HTTP/1.1 200 ")
    assert exchange(site, *(whole[at : at + 1000] for at in range(0, len(whole), 1000))).startswith(b"HTTP/1.1 200 ")


def test_many_requests_on_one_connection_do_not_add_up(site: Site) -> None:
    one = b"GET " + API.encode() + b"/health HTTP/1.1\r\n" + HOST + b"X: " + 4_000 * b"x" + b"\r\n"
    answer = exchange(site, *(10 * [one + b"\r\n"]), one + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == 11


def test_beyond_its_connections_a_server_says_so_and_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECTIONS", 4)
    with Site(tmp_path) as site:

        async def scene() -> None:
            where = httpx.URL(site.url)
            held = [await asyncio.open_connection(where.host, where.port) for _ in range(4)]
            await asyncio.sleep(0.2)
            reader, writer = await asyncio.open_connection(where.host, where.port)
            writer.write(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
            refused(await asyncio.wait_for(reader.read(), 5), 503, "too_many_connections")
            for _, held_writer in held:
                held_writer.close()
            writer.close()

        asyncio.run(scene())
        with httpx.Client(base_url=site.url, trust_env=False, transport=httpx.HTTPTransport(retries=5)) as client:
            deadline = 50
            while client.get(f"{API}/health").status_code != 200 and deadline:
                deadline -= 1
            assert deadline
