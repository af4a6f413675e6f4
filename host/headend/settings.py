"""Settings: a TOML file, overruled by the environment.

Each setting is a field of `Settings`; in the file it is a key of that name, in the environment OPENPREPAY_ and its name
in capitals. The file is named by OPENPREPAY_CONFIG or handed in. Secrets are no settings: the passphrase of the key
store comes from its own variable, a file or a prompt (`headend.keys.passphrase`).
"""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from headend.keys.signer_books import Caps
from headend.refusals import Refused
from headend.watch import logs
from meterlink.bodies import MAX_UC

PREFIX = "OPENPREPAY_"
INSIDE = "inside"  # of the setting `signer`
CONFIG = PREFIX + "CONFIG"

# Variables of the same prefix that are not settings.
_OTHERS = {CONFIG, PREFIX + "KEYSTORE_PASSPHRASE", PREFIX + "ROOT_PASSPHRASE", PREFIX + "NO_SKIP"} | {
    PREFIX + name
    for name in ("AUTHORITY_PASSPHRASE", "BROKER_PASSWORD")  # of openprepay broker
}


class BadSettings(Exception):
    """The settings cannot be used; the text names the file or variable, the setting, its value and what is expected."""


@dataclass(frozen=True)
class Settings:
    """Everything that an operator can set, with its default. Relative paths start where the program does."""

    database: str = "sqlite:///var/openprepay.sqlite"  # where everything is kept (docs/store.md)
    retention: str = ""  # days that old rows are kept, such as questions=14 findings=0 (docs/store.md); "": as built in
    keystore: str = "var/openprepay.keys"  # or pkcs11:token=…?module-path=… (see docs/keys.md)
    passphrase_file: str = ""  # "": from the environment or a prompt
    persons_key: str = "var/openprepay.persons"  # what personal data is sealed under (docs/registry.md)
    signer: str = INSIDE  # or unix:PATH, the socket of a signer in a process of its own
    # What the signer reads, wherever it runs (see docs/signer.md).
    signer_log: str = "var/openprepay.signed"  # what was signed, on disk before a signature leaves
    signer_uids: str = ""  # users beside its own that may connect to its socket: names or numbers, comma-separated
    max_increase_uc: int = 10_000_000_000  # the most that one credit order may add …
    max_meter_day_uc: int = 50_000_000_000  # … and all of one meter, in a day of UTC
    max_channel_day_uc: int = 10_000_000_000_000  # … of one channel
    max_day_uc: int = 100_000_000_000_000  # … and in all
    max_token_day_wh: int = 500_000  # typed tokens of one meter
    max_token_month_wh: int = 2_000_000  # … and in a month
    max_meter_keys_per_minute: int = 60_000  # keys that the head end may have to verify reports with
    currency: int = 156  # ISO 4217 numeric, 0: accounts in kWh; fixed once the database exists
    http_host: str = "127.0.0.1"  # where HTTP answers: this machine alone, unless http_beyond_loopback
    http_port: int = 8470  # of the API and the pages
    http_beyond_loopback: bool = False  # answer on an address that other machines reach; put TLS in front then
    http_behind_tls: bool = False  # a proxy on this machine speaks TLS for us, and says in X-Forwarded-For who asks
    access_key: str = "var/openprepay.access"  # seals second factors; made at first use, mode 0600
    page_without_token: bool = False  # show the status page to any browser on this machine
    heads_folder: str = "var/heads"  # where the signed head of each day is written (docs/books.md); "": nowhere
    log_format: str = logs.TEXT  # text, or json: one object a line
    log_level: str = "info"  # debug, info, warning or error
    mqtt_url: str = ""  # mqtt://HOST:PORT or mqtts://HOST:PORT; "": no MQTT link
    mqtt_version: str = "5"  # 3.1.1 for a broker that knows nothing newer
    mqtt_client_id: str = "openprepay-head-end"  # one for each head end at the broker
    mqtt_ca: str = ""  # PEM files, for mqtts
    mqtt_certificate: str = ""  # the head end's own, where the broker asks for one
    mqtt_key: str = ""  # its private key, mode 0600
    firmware_keys: str = ""  # PEM file, the vendor's public keys: only images signed by one of them are taken in
    firmware_bus_records_per_s: int = 20  # records of images on one bus, at most (docs/update.md)
    firmware_mqtt_messages_per_s: int = 200  # … and messages of 7 records on the broker
    # What `openprepay worker` reads besides (docs/workers.md).
    roles: str = "collect,dispatch,sign,seal,bill,api"  # what a worker is there for; --roles overrules it
    worker_port: int = 0  # where a worker answers /health, /ready and /metrics, on 127.0.0.1; 0: nowhere
    serial_lines: bool = False  # this machine has the serial lines that addresses of meters name

    def caps(self) -> Caps:
        """What the signer holds orders and tokens to."""
        return Caps(
            self.max_increase_uc,
            self.max_meter_day_uc,
            self.max_channel_day_uc,
            self.max_day_uc,
            self.max_token_day_wh,
            self.max_token_month_wh,
        )

    @classmethod
    def load(cls, path: Path | None, environ: Mapping[str, str]) -> Self:
        """Read the file (`path`, else OPENPREPAY_CONFIG, else none), then the environment; raises BadSettings."""
        if path is None and environ.get(CONFIG):
            path = Path(environ[CONFIG])
        given: dict[str, tuple[str, Any]] = {}
        if path is not None:
            given.update({name: (f"{path}: {name}", value) for name, value in _read(path).items()})
        for variable, text in environ.items():
            if variable.startswith(PREFIX) and variable not in _OTHERS:
                given[variable.removeprefix(PREFIX).lower()] = (variable, text)
        kinds = {field.name: type(field.default) for field in fields(cls)}
        values: dict[str, Any] = {}
        for name, (place, value) in given.items():
            if name not in kinds:
                raise BadSettings(f"{place} is not a setting; expected one of {', '.join(kinds)}.")
            values[name] = _convert(place, value, kinds[name])
            if name in _RULES:
                words, fits = _RULES[name]
                if not fits(values[name]):
                    raise BadSettings(f"{place}: {values[name]!r} given, {words} expected.")
        return cls(**values)


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise BadSettings(f"{path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadSettings(f"{path} is not TOML: {error}.") from error


def _convert(place: str, value: Any, kind: type) -> Any:
    """A value of the setting's kind; a whole number may be written as text, as in the environment."""
    if kind is int and isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            raise BadSettings(f"{place}: {value!r} given, a whole number expected.") from None
    if kind is bool and isinstance(value, str):
        value = _YES_NO.get(value.lower(), value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BadSettings(f"{place}: {value!r} given, {_KINDS[kind]} expected.")
    return value


_KINDS = {int: "a whole number", str: "text", bool: "true or false"}
_YES_NO = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def expected(name: str) -> str:
    """What is expected of a setting, in words."""
    return _RULES[name][0] if name in _RULES else _KINDS[type(getattr(Settings, name))]


def _is_database(url: str) -> bool:
    return url.startswith(("sqlite:", "postgresql+psycopg:"))


def _is_retention(text: str) -> bool:
    from headend.store import retention  # loads the tables

    try:
        retention.days(text)
    except Refused:
        return False
    return True


def _are_roles(text: str) -> bool:
    from headend.workers import roles  # loads the tables

    try:
        return bool(roles.of_text(text))
    except Refused:
        return False


def _is_mqtt(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return not url or (parts.scheme in ("mqtt", "mqtts") and bool(parts.hostname) and parts.port != 0)
    except ValueError:
        return False


# Setting -> (what is expected, whether a value fits).
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "database": (
        "a URL such as sqlite:///var/openprepay.sqlite or postgresql+psycopg://user@host/name",
        _is_database,
    ),
    "access_key": ("the path of a file", bool),
    "retention": ("such as questions=14 findings=0 (docs/store.md)", _is_retention),
    "keystore": ("the path of a file, or pkcs11:token=…", bool),
    "persons_key": ("the path of a file", bool),
    "signer_log": ("the path of a file", bool),
    "signer": ("inside or unix:PATH", lambda value: value == INSIDE or value.startswith("unix:")),
    "max_increase_uc": (f"1..{MAX_UC}", lambda value: 1 <= value <= MAX_UC),
    **{f"max_{name}": (f"0..{MAX_UC}", lambda value: 0 <= value <= MAX_UC) for name in Caps._fields[1:]},
    "max_meter_keys_per_minute": ("1..10000000", lambda value: 1 <= value <= 10_000_000),
    "currency": ("an ISO 4217 number 1..999, or 0 for accounts in kWh", lambda value: 0 <= value <= 999),
    "http_host": ("a host name or address", bool),
    "http_port": ("1..65535", lambda value: 1 <= value <= 65535),
    "firmware_bus_records_per_s": ("1..1000", lambda value: 1 <= value <= 1000),
    "firmware_mqtt_messages_per_s": ("1..10000", lambda value: 1 <= value <= 10_000),
    "roles": ("some of collect, dispatch, sign, seal, bill, api; collect and dispatch together", _are_roles),
    "worker_port": ("0..65535", lambda value: 0 <= value <= 65535),
    "log_format": (" or ".join(logs.FORMATS), lambda value: value in logs.FORMATS),
    "log_level": (", ".join(logs.LEVELS), lambda value: value in logs.LEVELS),
    "mqtt_url": ("mqtt://HOST:PORT, mqtts://HOST:PORT or nothing", _is_mqtt),
    "mqtt_version": ("5 or 3.1.1", lambda value: value in ("5", "3.1.1")),
    "mqtt_client_id": ("1..64 characters", lambda value: 1 <= len(value) <= 64),
}
