"""The signer as a process of its own: what it answers over its socket, to whom, and what a crash leaves."""

import os
import random
import resource
import socket
import stat
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from headend.books import verifier
from headend.clock import ManualClock
from headend.keys import heads
from headend.keys import signer_wire as wire
from headend.keys.holder import KeyName
from headend.keys.sealed import KeyFileError
from headend.keys.signer import LOGGED, Signer, Stated
from headend.keys.signer_books import Caps
from headend.keys.signer_client import FIRST_PAUSE_S, LONGEST_PAUSE_S, SignerClient
from headend.keys.signer_log import SignerLog
from headend.keys.signer_server import Rate, SignerServer
from headend.keys.signer_wire import SignerAway
from headend.refusals import Refused
from meterlink.orders import ROLE_CONTROL, ROLE_CREDIT, Order
from tests.host.books import NOW_S
from tests.host.signer_rig import KEYS, SignerProcess, credit

CAP_UC = 10_000_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignerProcess]:
    """One signer for the tests that leave it as it is; each takes meters of its own."""
    with SignerProcess(tmp_path_factory.mktemp("sig") / "a", max_increase_uc=CAP_UC) as signer:
        yield signer


@pytest.fixture
def client(running: SignerProcess) -> Iterator[SignerClient]:
    made = running.client()
    yield made
    made.close()


# --- what it answers --------------------------------------------------------------------------------------------------


def test_an_order_comes_back_signed_and_stands_in_the_log(running: SignerProcess, client: SignerClient) -> None:
    (raw,) = client.sign_statements([credit(101, 5_000)])
    assert isinstance(raw, bytes)
    order = Order(raw)
    r, s = int.from_bytes(order.signature[:32], "big"), int.from_bytes(order.signature[32:], "big")
    point = b"\x04" + KEYS.public_key(KeyName(ROLE_CREDIT, 1))
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    key.verify(utils.encode_dss_signature(r, s), order.digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    assert order.tag_is_genuine(client.mac_key(101, 1))
    assert client.was_signed(order.digest[:8]) and not client.was_signed(bytes(8))
    assert client.judge_found(raw) == LOGGED
    (line,) = [line for line in running.lines() if line["meter"] == 101]
    assert line["digest"] == order.digest.hex()
    assert (line["increase_uc"], line["channel"]) == (5_000, "channel:pos-1")


def test_a_head_of_the_books_comes_back_signed(client: SignerClient) -> None:
    signed = client.sign_head(bytes(32))
    assert signed.public == KEYS.public_key(KEYS.newest(ROLE_CONTROL))
    assert verifier.verify_signature(signed.public, heads.digest_of(bytes(32)), signed.signature)
    with pytest.raises(Refused, match="digest"):
        client.sign_head(b"short")


def test_the_keys_are_told_without_a_secret(client: SignerClient) -> None:
    standing = client.standing
    assert (client.signing_epoch, client.source, client.tag_key_version, client.use) == (1, 1, 1, "production")
    assert client.closed_sources == {}
    told = {KeyName(key.role, key.version): key for key in standing.keys}
    assert sorted(told) == KEYS.names()
    for name, key in told.items():
        assert (key.point, key.fingerprint) == (KEYS.public_key(name), KEYS.fingerprint(name))
        assert (key.signs, key.revoked) == (KEYS.can_sign(name), False)


def test_a_meters_key_is_the_one_that_the_key_store_derives(client: SignerClient) -> None:
    assert client.mac_key(7, 1).mac(b"OP1R", b"x") == KEYS.mac_key(7, 1).mac(b"OP1R", b"x")
    assert client.mac_key(7, 1) is client.mac_key(7, 1)
    with pytest.raises(Refused, match=r"tag_key_version: 9 given, one of \[1\] expected"):
        client.mac_key(7, 9)


def test_a_refusal_crosses_as_it_is_and_stops_nobody_else(client: SignerClient) -> None:
    over = credit(103, CAP_UC + 1)
    refused, made = client.sign_statements([over, credit(104, 1)])
    assert isinstance(refused, Refused) and isinstance(made, bytes)
    inside = Signer(KEYS, SignerLog(None), ManualClock(NOW_S), Caps(CAP_UC)).sign([over])[0]
    assert isinstance(inside, Refused)
    assert (str(refused), refused.field, refused.value) == (str(inside), inside.field, inside.value)
    with pytest.raises(Refused, match="order: '78' given, an order"):
        client.judge_found(b"x")


def test_more_statements_than_one_message_holds(client: SignerClient) -> None:
    made = client.sign_statements([credit(5_000 + number, 1) for number in range(wire.MAX_STATEMENTS + 3)])
    assert [Order(raw).stated.meter for raw in made if isinstance(raw, bytes)] == list(range(5_000, 5_503))


def test_two_heads_at_once_share_one_log_and_one_cap(running: SignerProcess) -> None:
    """Both raise the total of the same meters: whatever comes first, no growth is counted twice or not at all."""

    def work(step_uc: int) -> None:
        client = running.client()
        for number in range(30):
            client.sign_statements([credit(300 + meter, step_uc * (number + 1)) for meter in range(3)])
        client.close()

    with ThreadPoolExecutor(2) as heads:
        for head in [heads.submit(work, step_uc) for step_uc in (100, 101)]:
            head.result()
    lines = [line for line in running.lines() if line["meter"] == 300]
    assert len(lines) == 60
    assert sum(line["increase_uc"] for line in lines) == max(line["total_uc"] for line in lines) == 101 * 30
    assert running.run("check").wait(60) == 0


# --- what is no question ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (struct.pack(">I", wire.MAX_FRAME + 1), rf"length: {wire.MAX_FRAME + 1} given, 1\.\.{wire.MAX_FRAME}"),
        (struct.pack(">I", 0), "length: 0 given"),
        (b"GET / HTTP/1.1\r\n\r\n", "length: "),
        (wire.frame({"kind": "mint"}), "a question of this protocol"),
        (wire.frame({"kind": "meterkey", "meter": "x", "version": 1}), "a question of this protocol"),
        (wire.frame(wire.Found(bytes(wire.MAX_RAW + 1))), "a question of this protocol"),
        (wire.frame({"kind": "sign", "statements": [[1]]}), "a question of this protocol"),
        (struct.pack(">I", 5000) + b"\x91" * 5000, "a question of this protocol"),
        (struct.pack(">I", 3) + b"\xff\xfe\xfd", "a question of this protocol"),
    ],
)
def test_what_is_no_question_is_named_and_ends_that_connection_alone(
    running: SignerProcess, client: SignerClient, sent: bytes, sentence: str
) -> None:
    assert client.standing
    before = len(running.lines())
    with socket.socket(socket.AF_UNIX) as conn:
        conn.connect(running.url.removeprefix("unix:"))
        conn.sendall(sent)
        answer = wire.receive(conn, 10, 10)
        assert answer is not None
        with pytest.raises(Refused, match=sentence):
            wire.read_answer(answer, wire.Standing)
        with suppress(ConnectionResetError):  # what was not read is thrown away
            assert conn.recv(1) == b""
    client.sign_statements([credit(400, before)])
    assert len(running.lines()) == before + 1


def test_clients_that_say_nothing_or_half_a_word_keep_nobody_waiting(
    running: SignerProcess, client: SignerClient
) -> None:
    conns = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for number, conn in enumerate(conns):
        conn.connect(running.url.removeprefix("unix:"))
        conn.sendall(b"\0\0\1\0xyz"[:number])
    assert isinstance(client.sign_statements([credit(401, 1)])[0], bytes)
    for conn in conns:
        conn.close()


# --- who may connect --------------------------------------------------------------------------------------------------


def serve(path: Path, uids: set[int], rate: int = 1000) -> SignerServer:
    """A server in a thread of this process."""
    server = SignerServer(path, Signer(KEYS, SignerLog(None), ManualClock(NOW_S), Caps(CAP_UC)), KEYS, uids, rate)
    server.open()
    threading.Thread(target=server.serve, daemon=True).start()
    return server


def test_only_listed_users_are_served(tmp_path: Path) -> None:
    """The kernel says who we are; the list holds somebody else."""
    folder = tmp_path / "s"
    folder.mkdir(mode=0o711)
    server = serve(folder / "k", {os.getuid() + 1})
    try:
        with pytest.raises(SignerAway, match=f"The signer does not work for user {os.getuid()}"):
            SignerClient(f"unix:{folder}/k").sign_statements([credit(1, 1)])
        assert stat.S_IMODE((folder / "k").stat().st_mode) == 0o666
    finally:
        server.stop()
        server.close()


def test_the_socket_is_closed_to_others(running: SignerProcess, tmp_path: Path) -> None:
    path = Path(running.url.removeprefix("unix:"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    tmp_path.chmod(0o755)
    with pytest.raises(Refused, match=r"mode 0755 of .* given, mode 0700 expected"):
        serve(tmp_path / "k", {os.getuid()})
    tmp_path.chmod(0o777)
    with pytest.raises(Refused, match=r"mode 0777 of .* given, mode 0755 or less expected"):
        serve(tmp_path / "k", {os.getuid(), os.getuid() + 1})


def test_meter_keys_are_given_at_a_bounded_rate(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = serve(tmp_path / "k", {os.getuid()}, rate=5)
    client = SignerClient(f"unix:{tmp_path}/k")
    try:
        for meter in range(1, 6):
            client.mac_key(meter, 1)
        with pytest.raises(SignerAway, match="More meter keys were asked for"):
            client.mac_key(6, 1)
        client.mac_key(5, 1)  # remembered
        assert isinstance(client.sign_statements([credit(6, 1)])[0], bytes)
    finally:
        client.close()
        server.stop()
        server.close()


def test_the_rate_comes_back_with_time() -> None:
    now = [0.0]
    rate = Rate(60, lambda: now[0])
    assert [rate.take() for _ in range(61)] == [True] * 60 + [False]
    now[0] = 2.0
    assert [rate.take() for _ in range(3)] == [True, True, False]
    now[0] = 10_000.0
    assert [rate.take() for _ in range(61)] == [True] * 60 + [False]


def test_who_waits_its_turn_gets_one() -> None:
    rate = Rate(6_000)
    while rate.take():
        pass
    assert rate.take(60.0)


# --- starting and stopping --------------------------------------------------------------------------------------------


def test_sigterm_ends_it_in_order_and_the_client_comes_back_by_itself(tmp_path: Path) -> None:
    signer = SignerProcess(tmp_path / "a").start()
    client = signer.client()
    first = client.sign_statements([credit(1, 1_000)])
    assert signer.stop() == 0
    assert not Path(signer.url.removeprefix("unix:")).exists()
    with signer:
        assert client.sign_statements([credit(1, 1_000)]) == first
    assert [line["increase_uc"] for line in signer.lines()] == [1_000, 0]


def test_two_of_them_do_not_share_a_log_or_a_socket(running: SignerProcess, tmp_path: Path) -> None:
    for change, sentence in (
        ({"OPENPREPAY_SIGNER": f"unix:{tmp_path}/other"}, "is held by another signer"),
        ({"OPENPREPAY_SIGNER_LOG": str(tmp_path / "other")}, "a path at which no other signer answers"),
    ):
        process = running.run(**change)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (1, "")
        assert sentence in err and err.count("\n") == 1


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "n"))
        notified.settimeout(60)
        signer = SignerProcess(tmp_path / "a").start(NOTIFY_SOCKET=str(tmp_path / "n"))
        assert notified.recv(64) == b"READY=1"
        signer.stop()
        assert notified.recv(64) == b"STOPPING=1"


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"OPENPREPAY_SIGNER": "inside"}, "signer: 'inside' given, unix:PATH"),
        ({"OPENPREPAY_SIGNER": "unix:/" + "x" * 107}, "at most 107 bytes"),
        ({"OPENPREPAY_SIGNER_UIDS": "no-such-user"}, "signer_uids: 'no-such-user' given, a user of this machine"),
        ({"OPENPREPAY_MAX_DAY_UC": "-1"}, "OPENPREPAY_MAX_DAY_UC: -1 given"),
        ({"OPENPREPAY_KEYSTORE_PASSPHRASE": "another than that"}, "The passphrase is wrong"),
        ({"OPENPREPAY_SIGNER_LOG": "/no/such/log"}, "/no/such/log cannot be opened: No such file or directory"),
    ],
)
def test_what_keeps_it_from_starting_is_one_sentence(
    running: SignerProcess, tmp_path: Path, environ: dict[str, str], sentence: str
) -> None:
    other = {"OPENPREPAY_SIGNER": f"unix:{tmp_path}/other", "OPENPREPAY_SIGNER_LOG": str(tmp_path / "log")}
    process = running.run(**{**other, **environ})
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.count("\n")) == (1, "", 1)
    assert sentence in err


# --- crashes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_instant_the_log_holds_all_that_left(tmp_path: Path, seed: int) -> None:
    """A head end signs batch after batch and asks again for what it did not get; the signer is killed three times."""
    chance = random.Random(seed)
    left: dict[tuple[int, int], bytes] = {}
    statements = [credit(1 + number % 7, 10 * (1 + number), id=number) for number in range(600)]
    pending = list(statements)
    with SignerProcess(tmp_path / "a") as signer:
        client = signer.client(monotonic=iter(range(0, 10**9, 60)).__next__)  # no pause is long for it
        for _ in range(3):
            assert signer.process is not None
            killer = threading.Timer(chance.uniform(0.0, 0.05), signer.process.kill)
            killer.start()
            while pending:
                batch = pending[: chance.randint(1, 40)]
                try:
                    made = client.sign_statements(batch)
                except SignerAway:
                    break
                _keep(left, batch, made)
                del pending[: len(batch)]
            killer.join()
            signer.kill()
            SignerLog(signer.log).close()  # cuts off a torn last line, as the next start does
            assert {Order(raw).digest.hex() for raw in left.values()} <= {line["digest"] for line in signer.lines()}
            signer.start()
        _keep(left, pending, client.sign_statements(pending))
        _keep(left, statements, client.sign_statements(statements))
        client.close()
    stated: dict[tuple[int, int], set[str]] = {}
    increase_uc: Counter[int] = Counter()
    for line in signer.lines():
        stated.setdefault((line["meter"], line["total_uc"]), set()).add(line["digest"])
        increase_uc[line["meter"]] += line["increase_uc"]
    assert len(stated) == len(left) == 600 and all(len(digests) == 1 for digests in stated.values())
    assert increase_uc == {
        meter: max(one.total_uc for one in statements if one.meter == meter) for meter in range(1, 8)
    }


def _keep(left: dict[tuple[int, int], bytes], batch: list[Stated], made: list[bytes | Refused]) -> None:
    """Note what left; what left before has to be the same."""
    for one, raw in zip(batch, made, strict=True):
        assert isinstance(raw, bytes)
        assert left.setdefault((one.meter, one.total_uc), raw) == raw


def test_a_log_that_cannot_be_written_lets_nothing_out_and_says_so(tmp_path: Path) -> None:
    """The file may not grow any more: the write fails as on a full disk."""
    with SignerProcess(tmp_path / "a") as signer:
        client = signer.client()
        client.sign_statements([credit(1, 1)])
        assert signer.process is not None
        limit = (signer.log.stat().st_size, resource.RLIM_INFINITY)
        resource.prlimit(signer.process.pid, resource.RLIMIT_FSIZE, limit)
        with pytest.raises(KeyFileError, match="cannot be written"):
            client.sign_statements([credit(2, 1)])
        with pytest.raises(KeyFileError, match="has to be started again"):
            client.sign_statements([credit(3, 1)])
        assert len(signer.lines()) == 1
        client.close()


# --- away -------------------------------------------------------------------------------------------------------------


def test_while_it_is_away_it_is_tried_at_growing_pauses(tmp_path: Path) -> None:
    """Somebody listens there and hangs up each time: that is how often it was tried, and when."""
    now, tried = [0.0], []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "k"))
        listening.listen()
        client = SignerClient(f"unix:{tmp_path}/k", monotonic=lambda: now[0])
        assert client.trouble == ""

        def hang_up() -> None:
            while True:
                conn, _ = listening.accept()
                tried.append(now[0])
                conn.close()
                if now[0] > 200:
                    return

        thread = threading.Thread(target=hang_up)
        thread.start()
        while thread.is_alive() and now[0] < 300:
            with pytest.raises(SignerAway, match="/k does not answer: "):
                client.mac_key(1, 1)
            assert client.trouble
            now[0] += FIRST_PAUSE_S
        thread.join(10)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    assert pauses[:8] == [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_PAUSE_S]
    assert set(pauses[8:]) == {LONGEST_PAUSE_S}


def test_one_that_listens_and_never_answers_is_away_in_bounded_time(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "k"))
        listening.listen()
        client = SignerClient(f"unix:{tmp_path}/k", patience_s=0.05)
        with pytest.raises(SignerAway, match="no answer in time"):
            client.sign_statements([credit(1, 1)])


def test_a_closed_client_says_so(client: SignerClient) -> None:
    assert client.standing
    client.close()
    with pytest.raises(SignerAway, match="was closed"):
        client.sign_statements([credit(1, 1)])
