"""Where keys in a security module are: a PKCS #11 URI (RFC 7512), such as

    pkcs11:token=openprepay?module-path=/usr/lib/softhsm/libsofthsm2.so&x-state=var/openprepay.keystate

`token` (its label) and `module-path` are needed; `x-state` is the file beside the module with what is no secret. The
attributes are taken on either side of the question mark. A PIN has no place in settings.
"""

from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import quote, unquote

from headend.refusals import Refused

SCHEME = "pkcs11:"
DEFAULT_STATE = "var/openprepay.keystate"

_NEEDED = ("token", "module-path")
_KNOWN = (*_NEEDED, "x-state")


class HsmUri(NamedTuple):
    """A token by its label, the library that speaks to it, and the state file."""

    token: str
    module: str
    state: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises Refused for what is missing, repeated or not known."""
        given: dict[str, str] = {}
        for part in filter(None, text.removeprefix(SCHEME).replace("?", ";").replace("&", ";").split(";")):
            name, _, value = part.partition("=")
            if name in ("pin-value", "pin-source"):
                raise Refused("keystore", name, "no PIN: it comes as the passphrase of a key file does")
            if name not in _KNOWN or name in given:
                raise Refused("keystore", name, f"each of {', '.join(_KNOWN)} once")
            given[name] = unquote(value)
        for name in _NEEDED:
            if not given.get(name):
                raise Refused("keystore", text, f"a PKCS #11 URI with {name}")
        return cls(given["token"], given["module-path"], Path(given.get("x-state") or DEFAULT_STATE))

    def __str__(self) -> str:
        parts = quote(self.token), quote(self.module), quote(str(self.state))
        return f"{SCHEME}token={parts[0]}?module-path={parts[1]}&x-state={parts[2]}"
