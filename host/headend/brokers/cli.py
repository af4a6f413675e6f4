"""`openprepay broker`: certificates, access lists and accounts, so that a broker lets in whom it should.

The authority's passphrase comes from OPENPREPAY_AUTHORITY_PASSPHRASE or is asked for; a password at the broker from
OPENPREPAY_BROKER_PASSWORD. docs/brokers.md tells what goes where.
"""

import argparse
import getpass
import os
from datetime import UTC, datetime
from pathlib import Path

from headend import command
from headend.brokers import authority, clients, dynsec, files, rights
from headend.brokers.authority import Authority
from headend.brokers.control import BrokerControl
from headend.brokers.kept import write
from headend.clock import SystemClock
from headend.keys import passphrase
from headend.keys.sealed import KeyFileError
from headend.links.mqtt_options import MqttOptions
from headend.refusals import Refused
from headend.settings import Settings
from headend.store import open_store

PASSPHRASE = "OPENPREPAY_AUTHORITY_PASSPHRASE"
PASSWORD = "OPENPREPAY_BROKER_PASSWORD"
CONTROL_ID = "openprepay-broker-control"


def main(argv: list[str]) -> int:
    """0: done; 1: refused, or the broker was not reached; 2: a wrong command line."""
    parser = argparse.ArgumentParser(prog="openprepay broker", description=__doc__)
    parts = parser.add_subparsers(required=True, metavar="COMMAND")
    _certificates(parts.add_parser("certificates", help="an authority, and what it signs"))
    _files(parts.add_parser("files", help="write what Mosquitto reads: configuration, access list, passwords"))
    _dynsec(parts.add_parser("dynsec", help="bring Mosquitto's dynamic security in line with the fleet, while it runs"))
    return command.run(parser, argv, lambda given: given.run(given), KeyFileError, dynsec.Refusals, OSError)


# --- certificates -----------------------------------------------------------------------------------------------------


def _certificates(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(required=True, metavar="ACT")

    def act(name: str, text: str, run: object) -> argparse.ArgumentParser:
        made = acts.add_parser(name, help=text, description=text)
        made.set_defaults(run=run)
        made.add_argument("--folder", type=Path, default=Path("var/authority"), help="of the authority")
        return made

    made = act("init", "make an authority", _init)
    made.add_argument("--name", default="openprepay meters", help="what its certificate says")
    made = act("broker", "a certificate for a broker", _broker)
    made.add_argument("names", nargs="+", metavar="NAME", help="host names and addresses that it is reached by")
    made.add_argument("--days", type=int, default=authority.DAYS[authority.BROKER])
    made = act("head-end", "a certificate for a head end or a worker", _head_end)
    made.add_argument("name")
    made.add_argument("--days", type=int, default=authority.DAYS[rights.HEAD_END])
    made = act("meter", "certificates for meters", _meter)
    made.add_argument("meters", nargs="+", type=int, metavar="NUMBER")
    made.add_argument("--request", type=Path, help="the meter's own PKCS #10 request: its key never leaves it")
    made.add_argument("--days", type=int, default=authority.DAYS[rights.METER])
    made = act("revoke", "revoke what stands for a name; then let the broker read ca.crl again (SIGHUP)", _revoke)
    made.add_argument("kind", choices=authority.KINDS)
    made.add_argument("name")
    act("list", "list what stands", _list)


def _secret(again: bool = False) -> str:
    return passphrase.find(os.environ, PASSPHRASE, "", "the authority", again=again)


def _open(given: argparse.Namespace) -> Authority:
    return Authority.open(given.folder, _secret())


def _init(given: argparse.Namespace) -> None:
    Authority.create(given.folder, given.name, _secret(again=True), SystemClock().now_s())
    print(f"{given.folder}/ca.pem: for every broker, head end and meter; {given.folder}/ca.key: for nobody.")


def _put(given: argparse.Namespace, name: str, pair: tuple[bytes, bytes]) -> None:
    write(given.folder / f"{name}.key", pair[1], 0o600)
    write(given.folder / f"{name}.pem", pair[0], 0o644)
    print(f"{given.folder}/{name}.pem, {given.folder}/{name}.key")


def _broker(given: argparse.Namespace) -> None:
    _put(given, "broker", _open(given).broker(given.names, SystemClock().now_s(), given.days))


def _head_end(given: argparse.Namespace) -> None:
    _put(given, given.name, _open(given).head_end(given.name, SystemClock().now_s(), given.days))


def _meter(given: argparse.Namespace) -> None:
    if given.request is not None and len(given.meters) != 1:
        raise Refused("--request", str(given.request), "a single meter beside it")
    signs, now_s = _open(given), SystemClock().now_s()
    for number in given.meters:
        name = f"meter-{number:012d}"
        if given.request is None:
            _put(given, name, signs.meter(number, now_s, given.days))
            continue
        made = signs.meter_of_request(number, given.request.read_bytes(), now_s, given.days)
        write(given.folder / f"{name}.pem", made, 0o644)
        print(f"{given.folder}/{name}.pem")


def _revoke(given: argparse.Namespace) -> None:
    gone = _open(given).revoke(given.kind, given.name, SystemClock().now_s())
    print(f"{len(gone)} revoked; {given.folder}/ca.crl is for the brokers.")


def _list(given: argparse.Namespace) -> None:
    for one in _open(given).issued():
        until = datetime.fromtimestamp(one.not_after_s, UTC).date().isoformat()
        print(f"{one.kind:<9} {one.name:<40} until {until}  {one.serial}")


# --- files ------------------------------------------------------------------------------------------------------------


def _files(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_write_files)
    parser.add_argument("--out", type=Path, required=True, help="folder for mosquitto.conf, access and passwords")
    parser.add_argument("--port", type=int, default=8883)
    parser.add_argument("--host", default="", help="the address to listen on (default: all)")
    parser.add_argument("--certificates", type=Path, help="folder with broker.pem, broker.key, ca.pem and ca.crl")
    parser.add_argument("--data", type=Path, default=Path("/var/lib/mosquitto"), help="what the broker keeps itself")
    parser.add_argument("--head-end", action="append", default=[], metavar="NAME", help="once for each, workers too")
    parser.add_argument(
        "--password",
        action="append",
        default=[],
        metavar="NAME",
        help="give this client a password, printed once: for a test bench, or a line behind a tunnel",
    )


def _write_files(given: argparse.Namespace) -> None:
    secrets = {name: files.new_secret(os.urandom) for name in given.password}
    for name in secrets:
        if not dynsec.is_meter(name):
            rights.head_end_name(name)
    lines = [files.password_line(name, secret, os.urandom) for name, secret in secrets.items()]
    listener = files.Listener(given.port, given.host, given.certificates)
    files.write_all(given.out, listener, given.head_end, given.data, lines)
    print(f"{given.out}/mosquitto.conf")
    for name, secret in secrets.items():
        print(f"{name}: {secret}")


# --- dynamic security -------------------------------------------------------------------------------------------------


def _dynsec(parser: argparse.ArgumentParser) -> None:
    acts = parser.add_subparsers(required=True, metavar="ACT")
    made = acts.add_parser("sync", help="let in the meters in service and these head ends, and no other meter")
    made.set_defaults(run=_sync)
    made.add_argument("--config", type=Path, help="settings file (else OPENPREPAY_CONFIG)")
    made.add_argument("--head-end", action="append", default=[], metavar="NAME", help="once for each, workers too")
    made.add_argument("--user", default="", help=f"of the plugin's administrator; {PASSWORD} holds the password")
    made.add_argument("--dry-run", action="store_true", help="say what would be done")


def _sync(given: argparse.Namespace) -> None:
    settings = Settings.load(given.config, os.environ)
    files_of = {"ca": settings.mqtt_ca, "certificate": settings.mqtt_certificate, "key": settings.mqtt_key}
    options = MqttOptions.of_url(
        settings.mqtt_url, CONTROL_ID, session_expiry_s=0, max_packet=dynsec.MAX_ANSWER, **files_of
    )
    with open_store(settings.database, inline=True) as store:
        meters = store.read(clients.speaking)
        with BrokerControl(options, given.user, os.environ.get(PASSWORD, "")) as control:
            commands = list(dynsec.differences(meters, given.head_end, dynsec.held(control)))
            if not given.dry_run:
                dynsec.carry_out(control, commands)
        if commands and not given.dry_run:
            actor = f"system:{getpass.getuser()}"
            where = f"{options.host}:{options.port}"
            store.write(clients.changed, SystemClock().now_s(), actor, where, len(commands)).result()
    verb = "would be carried out" if given.dry_run else "carried out"
    print(f"{len(meters)} meters in service; {len(commands)} commands {verb}.")
