"""Codes of an authenticator: TOTP (RFC 6238) over HOTP (RFC 4226) with SHA-1, 6 digits, 30 s, as every app knows it."""

import base64
import hashlib
import hmac
from urllib.parse import quote

STEP_S = 30
DIGITS = 6
SECRET_LENGTH = 20  # bytes, the length of a SHA-1 (RFC 4226 section 4, R6)
AROUND = 1  # steps before and after now that count: clocks differ (RFC 6238 section 5.2)


def hotp(secret: bytes, counter: int, digits: int = DIGITS) -> str:
    """The code of a counter (RFC 4226 section 5.3)."""
    mac = hmac.digest(secret, counter.to_bytes(8, "big"), hashlib.sha1)
    offset = mac[-1] & 0xF
    truncated = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{truncated % 10**digits:0{digits}d}"


def step_of(secret: bytes, code: str, now_s: int, used_step: int) -> int | None:
    """The step whose code this is, if it is near now and later than the last that was used; else None."""
    now = now_s // STEP_S
    found = None
    for step in range(now - AROUND, now + AROUND + 1):
        if hmac.compare_digest(hotp(secret, step).encode(), code.encode()) and step > used_step:
            found = step
    return found


def base32(secret: bytes) -> str:
    """The secret as a person types it into an app."""
    return base64.b32encode(secret).decode().rstrip("=")


def uri(secret: bytes, name: str) -> str:
    """What the QR code for an app says (otpauth key URI format)."""
    return f"otpauth://totp/openprepay:{quote(name)}?secret={base32(secret)}&issuer=openprepay"
