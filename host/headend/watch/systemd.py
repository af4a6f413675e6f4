"""sd_notify(3) and its watchdog, without a library: one datagram each, and nothing where nobody listens."""

import logging
import os
import socket

log = logging.getLogger("openprepay.systemd")


def tell(state: str) -> None:
    """Say `READY=1`, `STOPPING=1`, `WATCHDOG=1` or `STATUS=…` to whoever started us, where that wants to hear it."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as conn:
            try:
                conn.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
            except OSError as error:
                log.warning("NOTIFY_SOCKET does not take %s: %s.", state, error)


def watchdog_s() -> float | None:
    """How often to say `WATCHDOG=1`: half of what the service manager allows; None where it does not watch us."""
    limit_us, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", "")
    if not limit_us.isdecimal() or int(limit_us) == 0 or process not in ("", str(os.getpid())):
        return None
    return int(limit_us) / 2_000_000
