"""Channels: who may bring payments or give orders, with a token, scopes and a limit each.

Only the SHA-256 of a token is stored. Tokens are random and long, so a plain digest is enough and can be looked up.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, or_, select, update

from headend.access import changes
from headend.access.caller import DESK
from headend.access.permissions import ADMIN, ORDERS, PAYMENTS, READ, SCOPES
from headend.ledger import accounts
from headend.refusals import Refused
from headend.store.schema import channel
from headend.store.schema_access import channel_access, channel_use
from meterlink.bodies import MAX_UC

__all__ = ["ADMIN", "ORDERS", "PAYMENTS", "READ", "SCOPES"]

MIN_TOKEN = 32
MAX_TOKEN = 200

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,39}")


class ChannelExists(Refused):
    """The name is taken."""


def new_token(entropy: Callable[[int], bytes]) -> str:
    """A fresh token of 256 bits; it is shown once and never stored."""
    return "op_" + base64.urlsafe_b64encode(entropy(32)).decode().rstrip("=")


def add_channel(
    conn: Connection, now_s: int, name: str, token: str, scopes: tuple[str, ...], max_payment_uc: int
) -> None:
    """Add a channel and its account.

    name: 1..40 of a-z 0-9 . _ - · token: 32..200 characters · scopes: some of `SCOPES` · max_payment_uc: the largest
    single payment, 0..2^63-1. Raises Refused, ChannelExists.
    """
    if not _NAME.fullmatch(name) or name.startswith(DESK):
        expected = f"1..40 characters of a-z, 0-9, '.', '_', '-', a letter or digit first, not {DESK}…"
        raise Refused("channel", name, expected)
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN:
        raise Refused("token", f"{len(token)} characters", f"{MIN_TOKEN}..{MAX_TOKEN} characters")
    check_terms(scopes, max_payment_uc)
    if conn.execute(select(channel.c.channel).where(channel.c.channel == name)).one_or_none() is not None:
        raise ChannelExists("channel", name, "a name that is not taken")
    row = {
        "channel": name,
        "token_digest": _digest(token),
        "scopes": " ".join(scopes),
        "max_payment_uc": max_payment_uc,
        "added_s": now_s,
    }
    conn.execute(insert(channel).values(row))
    conn.execute(insert(channel_access).values(channel=name))
    accounts.open_account(conn, accounts.of_channel(name))


def check_terms(scopes: tuple[str, ...], max_payment_uc: int) -> None:
    """Raise Refused for a scope that no channel can have, or a limit out of range."""
    for scope in scopes:
        if scope not in SCOPES:
            raise Refused("scope", scope, f"one of {', '.join(SCOPES)}")
    if not 0 <= max_payment_uc <= MAX_UC:
        raise Refused("max_payment_uc", max_payment_uc, f"0..{MAX_UC}")


def authenticate(conn: Connection, now_s: int, token: str, address: str = "") -> Row[Any] | None:
    """The row of `channel` and `channel_access` that a token belongs to, or None.

    A token counts until it expires, the one before it as long as its overlap lasts, and both from `address` (as text)
    where the channel lists networks. The look-up is by digest, of which a caller can choose no part; the comparison
    that counts takes constant time.
    """
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN:
        return None
    digest = _digest(token)
    for row in conn.execute(_BY_DIGEST, {"digest": digest}):
        current = hmac.compare_digest(row.token_digest, digest)
        former = hmac.compare_digest(row.former_digest or b"", digest) and now_s < row.former_until_s
        standing = row.expires_s is None or now_s < row.expires_s
        if (current or former) and standing and _from_there(row.addresses, address):
            return row
    return None


_BY_DIGEST = (
    select(channel, *(column for column in channel_access.c if column.name != "channel"), channel_use.c.used_s)
    .join(channel_access, channel_access.c.channel == channel.c.channel)
    .outerjoin(channel_use, channel_use.c.channel == channel.c.channel)
    .where(or_(channel.c.token_digest == bindparam("digest"), channel_access.c.former_digest == bindparam("digest")))
)


def _from_there(networks: str, address: str) -> bool:
    """Whether an address lies in one of the networks; where none is listed, each does."""
    if not networks:
        return True
    try:
        given = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = given.ipv4_mapped if isinstance(given, ipaddress.IPv6Address) else None
    return any((mapped or given) in ipaddress.ip_network(network) for network in networks.split())


def replace_token(conn: Connection, name: str, token: str) -> None:
    """From now on `token` is the channel's, and the former one nobody's; raises Refused."""
    if not MIN_TOKEN <= len(token) <= MAX_TOKEN:
        raise Refused("token", f"{len(token)} characters", f"{MIN_TOKEN}..{MAX_TOKEN} characters")
    _change(conn, name, token_digest=_digest(token))
    conn.execute(_NO_FORMER, {"name": name})


def close(conn: Connection, name: str) -> None:
    """Take all scopes and the token from a channel; its payments and its account stay. Raises Refused."""
    _change(conn, name, scopes="", token_digest=b"")
    conn.execute(_NO_FORMER, {"name": name})


def list_channels(conn: Connection) -> list[Row[Any]]:
    """All `channel` rows, by name."""
    return list(conn.execute(select(channel).order_by(channel.c.channel)).all())


_NO_FORMER = update(channel_access).where(channel_access.c.channel == bindparam("name")).values(former_digest=None)


def _change(conn: Connection, name: str, **values: Any) -> None:
    if (
        name.startswith(DESK)
        or not conn.execute(update(channel).where(channel.c.channel == name).values(**values)).rowcount
    ):
        raise Refused("channel", name, "the name of a channel")
    changes.happened()


def allows(row: Row[Any], scope: str) -> bool:
    """Whether a channel's row holds a scope."""
    return scope in row.scopes.split()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
