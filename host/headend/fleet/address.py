"""Where a Modbus meter is reached: the link, and its unit number there.

::

    serial:/dev/ttyUSB0?unit=1&baud=9600&parity=E      RS-485 (8 data bits; one stop bit, two without parity)
    socket://10.0.0.7:4001?unit=1                      RTU frames through a serial server
    tcp://10.0.0.8:502?unit=1                          Modbus TCP

`baud` (1200..115200) and `parity` (E, N, O) are for serial lines and default to 9600 and E, as Modbus over Serial Line
V1.02, 2.2 and 2.5.1, has it. `unit` is 1..247.
"""

from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from headend.refusals import Refused

SERIAL = "serial"
SOCKET = "socket"
TCP = "tcp"
KINDS = (SERIAL, SOCKET, TCP)
BAUDS = (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200)
PARITIES = ("E", "N", "O")
MAX_LENGTH = 200

_EXPECTED = "serial:/dev/NAME?unit=N, socket://HOST:PORT?unit=N or tcp://HOST:PORT?unit=N"


@dataclass(frozen=True)
class ModbusAddress:
    """A parsed address; meters of the same `link` share a bus, on which one transaction runs at a time."""

    kind: str
    path: str  # of a serial device, else ""
    host: str
    port: int  # 0 for a serial device
    unit: int
    baud: int = 9600
    parity: str = "E"

    @property
    def link(self) -> str:
        """The address without the unit."""
        if self.kind == SERIAL:
            return f"{SERIAL}:{self.path}?baud={self.baud}&parity={self.parity}"
        return f"{self.kind}://{self.host}:{self.port}"


def parse(text: str) -> ModbusAddress:
    """Read an address; raises Refused that names the part which does not fit."""
    if len(text) > MAX_LENGTH or not text.isprintable():
        raise Refused("address", text, f"at most {MAX_LENGTH} printable characters")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port or 0
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise Refused("address", text, _EXPECTED) from error
    options = dict(pairs)
    if parts.scheme not in KINDS or parts.fragment or parts.username or len(options) != len(pairs):
        raise Refused("address", text, _EXPECTED)
    unit = _number(options, "unit", range(1, 248), "1..247", None)
    if parts.scheme == SERIAL:
        if parts.netloc or not parts.path.startswith("/"):
            raise Refused("address", text, _EXPECTED)
        baud = _number(options, "baud", BAUDS, f"one of {', '.join(map(str, BAUDS))}", 9600)
        parity = options.pop("parity", "E")
        if parity not in PARITIES:
            raise Refused("address parity", parity, f"one of {', '.join(PARITIES)}")
        made = ModbusAddress(SERIAL, parts.path, "", 0, unit, baud, parity)
    else:
        if not host or not port or parts.path not in ("", "/"):
            raise Refused("address", text, _EXPECTED)
        made = ModbusAddress(parts.scheme, "", f"[{host}]" if ":" in host else host, port, unit)
    if options:
        raise Refused("address option", min(options), "unit; for a serial line also baud and parity")
    return made


def _number(options: dict[str, str], name: str, known: range | tuple[int, ...], words: str, default: int | None) -> int:
    text = options.pop(name, "" if default is None else str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and int(text) in known):
        raise Refused(f"address {name}", text, words)
    return int(text)
