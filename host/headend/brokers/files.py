"""What Mosquitto reads: its configuration, the access list, and passwords where a line has no client certificates.

One access list serves any number of meters, since it speaks of a client's own name (mosquitto.conf(5), `pattern`). The
files are written whole and by rename; Mosquitto reads access list, passwords and revocations again at SIGHUP.
"""

import base64
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from headend.brokers import rights
from headend.brokers.kept import write
from headend.refusals import Refused

_VERB = {rights.PUBLISH: "write", rights.RECEIVE: "read"}

# Of mosquitto_passwd: PBKDF2 with SHA-512. As few rounds as there, since what it guards is random and 32 bytes long,
# and a broker checks it for each of a whole town's meters that come back at once.
_ROUNDS = 101
_SALT = 12
_SECRET = 32

# Lines that hold whoever connects. What they bound, docs/brokers.md tells.
_LIMITS = (
    "per_listener_settings false",
    "allow_anonymous false",
    "allow_zero_length_clientid false",
    "persistent_client_expiration 14d",
    "max_inflight_messages 2000",
    "max_queued_messages 100000",
    "max_queued_bytes 67108864",
    "max_packet_size 16384",
    "max_keepalive 600",
    "set_tcp_nodelay true",
)


@dataclass(frozen=True)
class Listener:
    """Where the broker listens, and whom it lets in: by certificate, or by name and password without TLS."""

    port: int
    host: str = ""  # "": all addresses
    certificates: Path | None = None  # the folder with broker.pem, broker.key, ca.pem and ca.crl as the broker sees it


def access_list(head_ends: Sequence[str]) -> str:
    """The access list, with these head ends beside any number of meters."""
    lines = [f"pattern {_VERB[right.direction]} {right.topic}" for right in rights.RIGHTS[rights.METER]]
    for name in head_ends:
        lines += ["", f"user {rights.head_end_name(name)}"]
        lines += [f"topic {_VERB[right.direction]} {right.topic}" for right in rights.RIGHTS[rights.HEAD_END]]
    return "\n".join([*lines, ""])


def configuration(listener: Listener, folder: Path, data: Path, *, passwords: bool) -> str:
    """The configuration. `folder`: where its files are, as the broker sees it · `data`: what it keeps itself."""
    if listener.certificates is None and not passwords:
        raise Refused("listener", listener.port, "certificates or passwords: nobody comes in without either")
    lines = [f"listener {listener.port} {listener.host}".rstrip(), *_LIMITS]
    if listener.certificates is not None:
        files = {"cafile": "ca.pem", "certfile": "broker.pem", "keyfile": "broker.key", "crlfile": "ca.crl"}
        lines += [f"{name} {listener.certificates / file}" for name, file in files.items()]
        lines += ["require_certificate true", "use_identity_as_username true", "tls_version tlsv1.2"]
    if passwords:
        lines.append(f"password_file {folder / 'passwords'}")
    lines.append(f"acl_file {folder / 'access'}")
    lines += ["persistence true", f"persistence_location {data}/", "autosave_interval 60"]
    return "\n".join([*lines, ""])


def password_line(name: str, secret: str, entropy: Callable[[int], bytes]) -> str:
    """A line of the password file, as mosquitto_passwd writes it (its format 7)."""
    salt = entropy(_SALT)
    digest = hashlib.pbkdf2_hmac("sha512", secret.encode(), salt, _ROUNDS)
    words = [base64.b64encode(part).decode() for part in (salt, digest)]
    return f"{name}:$7${_ROUNDS}${words[0]}${words[1]}"


def new_secret(entropy: Callable[[int], bytes]) -> str:
    """A password that nobody has to remember."""
    return base64.urlsafe_b64encode(entropy(_SECRET)).decode().rstrip("=")


def write_all(
    folder: Path, listener: Listener, head_ends: Sequence[str], data: Path, passwords: Sequence[str] = ()
) -> None:
    """Write `mosquitto.conf`, `access` and, where there are any, `passwords` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    conf = configuration(listener, folder.resolve(), data, passwords=bool(passwords))
    write(folder / "access", access_list(head_ends).encode(), 0o640)
    if passwords:
        write(folder / "passwords", "\n".join([*passwords, ""]).encode(), 0o640)
    write(folder / "mosquitto.conf", conf.encode(), 0o644)
