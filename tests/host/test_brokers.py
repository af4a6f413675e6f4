"""Who may speak at a real Mosquitto, with what this project gives it, and Mosquitto's own clients as peers."""

import itertools
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st

from headend.brokers import authority, dynsec, files, kept, rights
from headend.brokers.authority import Authority
from headend.brokers.control import BrokerControl
from headend.links.mqtt_options import MqttOptions
from headend.refusals import Refused
from meterlink import topics
from tests import needs
from tests.brokers import Broker

NOW_S = int(time.time())
_NUMBERS = itertools.count()
PASSPHRASE = "a long passphrase of nobody"
PLUGIN = "mosquitto_dynamic_security.so"
METER, OTHER = 260100000001, 260100000002
HEAD = "head-end-1"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("authority")
    signs = Authority.create(folder, "a utility", PASSPHRASE, NOW_S)
    put(folder, "broker", signs.broker(["localhost", "127.0.0.1"], NOW_S))
    put(folder, HEAD, signs.head_end(HEAD, NOW_S))
    for number in (METER, OTHER):
        put(folder, str(number), signs.meter(number, NOW_S))
    return signs


def put(folder: Path, name: str, pair: tuple[bytes, bytes]) -> None:
    (folder / f"{name}.pem").write_bytes(pair[0])
    kept.write(folder / f"{name}.key", pair[1], 0o600)


class Clients:
    """Mosquitto's own clients with certificates of a folder."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.broker = broker
        self.folder = folder

    def options(self, name: str, ca: Path | None = None) -> list[str]:
        where = [
            "-i",
            f"{name or 'nobody'}-{next(_NUMBERS)}",
            "-h",
            "localhost",
            "-p",
            str(self.broker.port),
            "--cafile",
            str(ca or self.folder / "ca.pem"),
        ]
        if name:
            where += ["--cert", str(self.folder / f"{name}.pem"), "--key", str(self.folder / f"{name}.key")]
        return where

    def says(self, name: str, topic: str, text: str = "hello", ca: Path | None = None) -> int:
        """Exit code of a publication at QoS 1."""
        program = needs.program("mosquitto_pub")
        words = [program, *self.options(name, ca), "-q", "1", "-t", topic, "-m", text]
        return subprocess.run(words, capture_output=True, timeout=30, check=False).returncode

    def hears(self, name: str, topic: str, *said: tuple[str, str, str]) -> list[str]:
        """What `name`, subscribed to `topic`, hears of what others say, (who, where, what), until "end"."""
        program = needs.program("mosquitto_sub")
        words = ["stdbuf", "-oL", program, *self.options(name), "-q", "1", "-t", topic, "-v", "-W", "20", "-d"]
        heard: list[str] = []
        ready = threading.Event()
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:

            def read() -> None:
                assert child.stdout is not None
                for line in child.stdout:
                    if line.startswith("Subscribed"):
                        heard.append("refused" if "128" in line else "granted")
                        ready.set()
                    elif line.startswith("op/"):
                        heard.append(line.strip())
                        if line.endswith("end\n"):
                            break
                ready.set()
                child.terminate()

            reader = threading.Thread(target=read)
            reader.start()
            ready.wait(20)
            for who, where, what in said:
                self.says(who, where, what)
            reader.join(25 if said else 0.5)
            child.terminate()
            reader.join(5)
        return heard


@pytest.fixture
def clients(made: Authority, tmp_path: Path) -> Iterator[Clients]:
    """A broker with the written files; what a test adds to `made` stays."""
    with Written(tmp_path, made) as broker:
        yield Clients(broker, made.folder)


class Written(Broker):
    """A broker whose configuration is the one that `files` writes."""

    def __init__(self, folder: Path, signs: Authority, passwords: tuple[str, ...] = (), tls: bool = True) -> None:
        super().__init__(folder)
        listener = files.Listener(self.port, "127.0.0.1", signs.folder if tls else None)
        data = folder / "data"
        data.mkdir()
        files.write_all(folder, listener, [HEAD], data, passwords)
        user = ["user root"] if os.geteuid() == 0 else []
        conf = folder / "mosquitto.conf"
        conf.write_text("\n".join([*user, "log_dest stderr", "log_type all", conf.read_text()]))


def up(number: int, what: str = topics.UP_REPORT) -> str:
    return topics.up(number, what)


def down(number: int) -> str:
    return topics.down(number, topics.DN_ORDER)


def test_a_meter_speaks_for_itself_alone(clients: Clients) -> None:
    me, other = str(METER), str(OTHER)
    heard = clients.hears(
        HEAD,
        "op/1/+/+/up/#",
        (me, up(METER), "mine"),
        (me, up(OTHER), "another's"),
        (me, down(METER), "an order"),
        (me, "op/2/00/x", "elsewhere"),
        (other, up(OTHER), "end"),
    )
    assert heard == ["granted", f"{up(METER)} mine", f"{up(OTHER)} end"]


def test_a_meter_hears_what_is_for_it_alone(clients: Clients) -> None:
    me = str(METER)
    said = ((HEAD, down(OTHER), "another's"), (HEAD, down(METER), "mine"), (HEAD, down(METER), "end"))
    assert clients.hears(me, down(METER), *said) == ["granted", f"{down(METER)} mine", f"{down(METER)} end"]
    # Mosquitto grants a filter that is wider than the list, and delivers by the list.
    heard = clients.hears(
        me, "op/1/#", (str(OTHER), up(OTHER), "x"), (HEAD, down(OTHER), "x"), (HEAD, down(METER), "end")
    )
    assert heard[1:] == [f"{down(METER)} end"]


def test_a_head_end_speaks_down_alone(clients: Clients) -> None:
    heard = clients.hears(HEAD, "op/1/+/+/up/#", (HEAD, up(METER), "forged"), (str(METER), up(METER), "end"))
    assert heard == ["granted", f"{up(METER)} end"]


def test_nobody_comes_in_without_a_certificate_of_ours(clients: Clients, tmp_path: Path) -> None:
    assert clients.says("", up(METER)) != 0
    stranger = Authority.create(tmp_path / "other", "another utility", PASSPHRASE, NOW_S)
    put(clients.folder, "stranger", stranger.meter(METER, NOW_S))
    assert clients.says("stranger", up(METER)) != 0
    put(clients.folder, "expired", Authority.open(clients.folder, PASSPHRASE).meter(METER, NOW_S - 2 * 86_400, 1))
    assert clients.says("expired", up(METER)) != 0
    assert clients.says(str(METER), up(METER)) == 0


def test_what_is_revoked_stays_out(made: Authority, tmp_path: Path) -> None:
    put(made.folder, "lost", made.meter(777, NOW_S))
    with Written(tmp_path / "one", made) as broker:
        assert Clients(broker, made.folder).says("lost", up(777)) == 0
    assert [one.name for one in made.revoke(rights.METER, topics.meter_name(777), NOW_S)] == [topics.meter_name(777)]
    assert topics.meter_name(777) not in [one.name for one in made.issued()]
    with Written(tmp_path / "two", made) as broker:
        clients = Clients(broker, made.folder)
        assert clients.says("lost", up(777)) != 0
        assert clients.says(str(METER), up(METER)) == 0
    with pytest.raises(Refused, match="a certificate that stands"):
        made.revoke(rights.METER, topics.meter_name(777), NOW_S)


def test_passwords_where_there_are_no_certificates(made: Authority, tmp_path: Path) -> None:
    name, secret = topics.meter_name(METER), files.new_secret(os.urandom)
    with Written(tmp_path, made, (files.password_line(name, secret, os.urandom),), tls=False) as broker:
        program = needs.program("mosquitto_pub")
        base = [program, "-i", "one", "-h", "127.0.0.1", "-p", str(broker.port), "-t", up(METER), "-m", "x", "-q", "1"]
        for words, fits in (
            (["-u", name, "-P", secret], True),
            (["-u", name, "-P", secret + "x"], False),
            (["-u", HEAD, "-P", secret], False),
            ([], False),
        ):
            done = subprocess.run([*base, *words], capture_output=True, timeout=30, check=False)
            assert (done.returncode == 0) == fits, done.stderr


def test_dynamic_security_follows_the_fleet_while_the_broker_runs(made: Authority, tmp_path: Path) -> None:
    plugin = needs.file(next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), PLUGIN), "Mosquitto's plugin")
    held = tmp_path / "dynamic-security.json"
    program = needs.program("mosquitto_ctrl")
    subprocess.run([program, "dynsec", "init", str(held), "admin", "secret"], check=True, capture_output=True)
    tls = ["require_certificate false", "use_identity_as_username false"]
    conf = [f"plugin {plugin}", f"plugin_opt_config_file {held}", *tls]
    with Broker(tmp_path / "broker", extra=conf[:2]) as broker:
        options = MqttOptions("127.0.0.1", broker.port, "control", session_expiry_s=0, max_packet=dynsec.MAX_ANSWER)
        with BrokerControl(options, "admin", "secret") as control:
            assert dynsec.held(control).clients == {"admin"}
            todo = list(dynsec.differences([METER, OTHER], [HEAD], dynsec.held(control)))
            assert dynsec.carry_out(control, todo) == len(todo) == 6
            now = dynsec.held(control)
            assert now.clients == {"admin", HEAD, str(METER), str(OTHER)}
            assert list(dynsec.differences([METER, OTHER], [HEAD], now)) == [], "nothing is done twice"
            gone = list(dynsec.differences([METER], [HEAD], now))
            assert [one["command"] for one in gone] == ["deleteClient", "deleteRole"]
            dynsec.carry_out(control, gone)
            assert str(OTHER) not in dynsec.held(control).clients
            dynsec.carry_out(control, dynsec.differences([METER, OTHER], [HEAD], dynsec.held(control)))
            assert dynsec.held(control) == now
            with pytest.raises(dynsec.Refusals, match=f"createClient {METER}"):
                dynsec.carry_out(control, [todo[-1], {"command": "createClient", "username": str(METER)}])
            many = list(dynsec.differences(range(1, 131), [], dynsec.held(control)))
            assert dynsec.carry_out(control, many) == len(many)
            assert len(dynsec.held(control).clients) == 2 + 130
        with pytest.raises(ConnectionRefusedError), BrokerControl(options, "admin", "wrong"):
            pass


def test_dynamic_security_confines_a_meter_to_itself(made: Authority, tmp_path: Path) -> None:
    """With certificates, and a meter that comes and goes while the broker runs."""
    plugin = needs.file(next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), PLUGIN), "Mosquitto's plugin")
    held = tmp_path / "dynamic-security.json"
    subprocess.run(
        [needs.program("mosquitto_ctrl"), "dynsec", "init", str(held), "admin", "secret"],
        check=True,
        capture_output=True,
    )
    put(made.folder, "admin", made.head_end("admin", NOW_S))
    extra = [f"plugin {plugin}", f"plugin_opt_config_file {held}", "require_certificate true"]
    extra += [f"cafile {made.folder}/ca.pem", f"certfile {made.folder}/broker.pem", f"keyfile {made.folder}/broker.key"]
    with Broker(tmp_path / "broker", extra=[*extra, "use_identity_as_username true"]) as broker:
        clients = Clients(broker, made.folder)
        files_of = {"ca": "ca.pem", "certificate": "admin.pem", "key": "admin.key"}
        options = MqttOptions.of_url(
            f"mqtts://localhost:{broker.port}",
            "control",
            session_expiry_s=0,
            max_packet=dynsec.MAX_ANSWER,
            **{name: str(made.folder / file) for name, file in files_of.items()},
        )
        with BrokerControl(options) as control:
            dynsec.carry_out(control, dynsec.differences([METER, OTHER], [HEAD], dynsec.held(control)))
            me, other = str(METER), str(OTHER)
            put(made.folder, "unknown", made.meter(999, NOW_S))
            said = (
                ("unknown", up(999), "hello"),
                (me, up(METER), "mine"),
                (me, up(OTHER), "another's"),
                (other, up(OTHER), "end"),
            )
            assert clients.hears(HEAD, "op/1/+/+/up/#", *said)[1:] == [f"{up(METER)} mine", f"{up(OTHER)} end"]
            assert clients.hears(me, down(OTHER)) == ["refused"]
            dynsec.carry_out(control, dynsec.differences([OTHER], [HEAD], dynsec.held(control)))
            late = ((me, up(METER), "out of service"), (other, up(OTHER), "end"))
            assert clients.hears(HEAD, "op/1/+/+/up/#", *late)[1:] == [f"{up(OTHER)} end"]
            assert clients.hears(me, down(METER)) == ["refused"]


# --- the authority ----------------------------------------------------------------------------------------------------


def test_a_request_of_a_meter_gets_the_number_that_was_ordered(made: Authority) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "000000000999")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    raw = request.public_bytes(serialization.Encoding.PEM)
    given_ = x509.load_pem_x509_certificate(made.meter_of_request(METER, raw, NOW_S))
    assert given_.subject.rfc4514_string() == f"CN={METER}"
    assert given_.public_key() == key.public_key()
    ca = x509.load_pem_x509_certificate((made.folder / "ca.pem").read_bytes())
    given_.verify_directly_issued_by(ca)
    assert given_.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


@pytest.mark.parametrize("raw", [b"", b"-----BEGIN CERTIFICATE REQUEST-----\nx\n-----END CERTIFICATE REQUEST-----\n"])
def test_what_is_no_request_is_named(made: Authority, raw: bytes) -> None:
    before = made.issued()
    with pytest.raises(Refused, match="request"):
        made.meter_of_request(METER, raw, NOW_S)
    assert made.issued() == before


def test_a_key_that_is_dear_on_a_meter_is_refused(made: Authority) -> None:
    key = rsa.generate_private_key(65537, 2048)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    with pytest.raises(Refused, match="a key on P-256"):
        made.meter_of_request(METER, request.public_bytes(serialization.Encoding.PEM), NOW_S)


def test_the_authority_opens_for_its_passphrase_alone_and_is_made_once(made: Authority) -> None:
    assert (made.folder / "ca.key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match="passphrase"):
        Authority.open(made.folder, "another passphrase")
    with pytest.raises(Refused, match="this holds one"):
        Authority.create(made.folder, "again", PASSPHRASE, NOW_S)
    with pytest.raises(Refused, match="at least 12 characters"):
        Authority.create(made.folder / "x", "short", "short", NOW_S)
    for wrong in (0, 10**14):
        with pytest.raises(Refused, match="meter"):
            made.meter(wrong, NOW_S)
    with pytest.raises(Refused, match="head end"):
        made.head_end("260100000001", NOW_S)


def test_a_line_that_power_cut_in_two_is_left_out_and_overwritten(tmp_path: Path) -> None:
    signs = Authority.create(tmp_path, "a utility", PASSPHRASE, NOW_S)
    signs.meter(1, NOW_S)
    log = tmp_path / "issued.jsonl"
    whole = log.read_bytes()
    log.write_bytes(whole + b'{"serial": "12')
    assert len(signs.issued()) == 1
    signs.meter(2, NOW_S)
    assert [one.name for one in signs.issued()] == [topics.meter_name(1), topics.meter_name(2)]
    assert log.read_bytes().startswith(whole)


# --- differences ------------------------------------------------------------------------------------------------------


class Plugin:
    """What the plugin would hold, by its manual; the tests above hold it against the real one."""

    def __init__(self) -> None:
        self.clients = {"admin"}
        self.roles: set[str] = {"admin"}

    def obey(self, command: dynsec.Command) -> None:
        name = command.get("username", "")
        match command["command"]:
            case "createRole":
                assert command["rolename"] not in self.roles
                self.roles.add(command["rolename"])
            case "createClient":
                assert name not in self.clients and command["roles"][0]["rolename"] in self.roles
                self.clients.add(name)
            case "deleteClient":
                self.clients.remove(name)
            case "deleteRole":
                self.roles.remove(command["rolename"])


@given(st.lists(st.tuples(st.sets(st.integers(1, 12)), st.sets(st.sampled_from(["a", "b-1"]))), max_size=6))
def test_whatever_was_wanted_before_the_broker_lets_in_what_is_wanted_now(
    steps: list[tuple[set[int], set[str]]],
) -> None:
    plugin = Plugin()
    for meters, heads in steps:
        found = dynsec.Held(frozenset(plugin.clients), frozenset(plugin.roles))
        for command in dynsec.differences(sorted(meters), sorted(heads), found):
            plugin.obey(command)
        let_in = {name for name in plugin.clients if dynsec.is_meter(name)}
        assert let_in == {topics.meter_name(number) for number in meters}
        assert heads | {"admin"} <= plugin.clients
        found = dynsec.Held(frozenset(plugin.clients), frozenset(plugin.roles))
        assert list(dynsec.differences(sorted(meters), sorted(heads), found)) == []


def test_kinds_of_certificates_have_a_validity() -> None:
    assert authority.DAYS.keys() == set(authority.KINDS)
