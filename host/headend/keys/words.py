"""Names of keys as people type and read them: `credit`, `tag`, `vending/123457`."""

from headend.keys.base import ONLINE_ROLES
from headend.keys.holder import KeyName, Name, VendingName
from headend.refusals import Refused
from meterlink import names
from meterlink.orders import ROLE_ROOT

TAG = "tag"
VENDING = "vending/"

ROLES = {names.of(names.ROLE, role): role for role in (ROLE_ROOT, *ONLINE_ROLES)}
KINDS = f"{', '.join(ROLES)}, {TAG} or {VENDING}SGC"


def parse(kind: str, version: int) -> Name:
    """The key of a kind and version (of a vending key: its KRN). Raises Refused."""
    if kind in ROLES:
        return KeyName(ROLES[kind], version)
    if kind == TAG:
        return version
    return VendingName(sgc(kind), version)


def sgc(kind: str) -> int:
    """The supply group code of `vending/SGC`. Raises Refused for any other word."""
    code = kind.removeprefix(VENDING)
    if not kind.startswith(VENDING) or not code.isascii() or not code.isdigit() or len(code) > 6:
        raise Refused("key", kind, KINDS)
    return int(code)


def show(name: Name) -> str:
    """`credit 2`, `tag 1`, `vending/123457 1`."""
    if isinstance(name, VendingName):
        return f"{VENDING}{name.sgc:06d} {name.krn}"
    if isinstance(name, KeyName):
        return f"{names.of(names.ROLE, name.role)} {name.version}"
    return f"{TAG} {name}"
