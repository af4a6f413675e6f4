"""Channels as people manage them: area, networks, expiry, and tokens that change without a gap.

A rotation gives a fresh token at once and lets the former count for an overlap, so that a partner changes over when he
can. Whoever saw a token made may not approve what is done with it (`four_eyes`).
"""

import ipaddress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, select, update

from headend import audit
from headend.access import areas, changes, rules
from headend.access.caller import CHANNEL, DESK
from headend.access.words import CHANNEL_ADDED, CHANNEL_CHANGED, CHANNEL_CLOSED, CHANNEL_TOKEN
from headend.ledger import channels
from headend.refusals import Refused
from headend.store.schema import channel
from headend.store.schema_access import channel_access, channel_use

MAX_NETWORKS = 8

_COLUMNS: tuple[Any, ...] = (
    channel,
    *(column for column in channel_access.c if column.name != "channel"),
    channel_use.c.used_s,
)
_JOINED = channel.join(channel_access).outerjoin(channel_use, channel_use.c.channel == channel.c.channel)
_OF = select(*_COLUMNS).select_from(_JOINED).where(channel.c.channel == bindparam("of"))
_PAGE = (
    select(*_COLUMNS)
    .select_from(_JOINED)
    .where(channel.c.channel > bindparam("after"))
    .order_by(channel.c.channel)
    .limit(bindparam("most"))
)
_TERMS = (
    update(channel_access)
    .where(channel_access.c.channel == bindparam("of"))
    .values(
        area=bindparam("to_area"),
        expires_s=bindparam("to_expires_s"),
        addresses=bindparam("to_addresses"),
        version=channel_access.c.version + 1,
    )
)
_LIMITS = (
    update(channel)
    .where(channel.c.channel == bindparam("of"))
    .values(scopes=bindparam("to_scopes"), max_payment_uc=bindparam("to_max_uc"))
)
_MADE_BY = (
    update(channel_access)
    .where(channel_access.c.channel == bindparam("of"))
    .values(created_by=bindparam("by"), token_by=bindparam("by"))
)
_ROTATE = (
    update(channel_access)
    .where(channel_access.c.channel == bindparam("of"))
    .values(
        former_digest=bindparam("former"),
        former_until_s=bindparam("until"),
        token_by=bindparam("by"),
        version=channel_access.c.version + 1,
    )
)
_USED = update(channel_use).where(channel_use.c.channel == bindparam("of")).values(used_s=bindparam("now"))
_FIRST_USE = insert(channel_use)


@dataclass(frozen=True)
class Terms:
    """What a channel may do: scopes and the largest single payment, in `area`, until `expires_s`, from `networks`."""

    scopes: tuple[str, ...]
    max_payment_uc: int
    area: str = ""
    expires_s: int | None = None
    networks: tuple[str, ...] = ()


class UnknownChannel(Refused):
    """There is no such channel."""


def add(conn: Connection, now_s: int, actor: str, name: str, token: str, terms: Terms) -> Row[Any]:
    """Add a channel; raises Refused, ChannelExists."""
    _check(now_s, terms)
    channels.add_channel(conn, now_s, name, token, terms.scopes, terms.max_payment_uc)
    conn.execute(_TERMS, _values(name, terms))
    conn.execute(_MADE_BY, {"of": name, "by": actor})
    audit.record(conn, now_s, actor, CHANNEL_ADDED, CHANNEL + name, _told(terms))
    return get(conn, name)


def get(conn: Connection, name: str) -> Row[Any]:
    """A channel's row with its terms and `used_s`; raises Refused."""
    row = conn.execute(_OF, {"of": name}).one_or_none()
    if row is None:
        raise UnknownChannel("channel", name, "the name of a channel")
    return row


def page(conn: Connection, after: str, limit: int) -> list[Row[Any]]:
    """Channels by name, above `after`."""
    return list(conn.execute(_PAGE, {"after": after, "most": limit}))


def change(conn: Connection, now_s: int, actor: str, name: str, terms: Terms) -> Row[Any]:
    """Set what a channel may do; raises Refused. A desk keeps its scope: roles say who may use it."""
    row = get(conn, name)
    if name.startswith(DESK) and (terms.scopes != tuple(row.scopes.split()) or terms.networks or terms.expires_s):
        raise Refused("channel", name, "a channel with a token; of a desk only the limit is set")
    _check(now_s, terms)
    channels.check_terms(terms.scopes, terms.max_payment_uc)
    scopes = " ".join(terms.scopes)
    conn.execute(_LIMITS, {"of": name, "to_scopes": scopes, "to_max_uc": terms.max_payment_uc})
    conn.execute(_TERMS, _values(name, terms))
    audit.record(conn, now_s, actor, CHANNEL_CHANGED, CHANNEL + name, _told(terms))
    changes.happened()
    return get(conn, name)


def rotate(conn: Connection, now_s: int, actor: str, name: str, token: str, overlap_s: int | None = None) -> Row[Any]:
    """Give a channel a fresh token; the former counts for `overlap_s` more, by default as the rule says."""
    before = get(conn, name)
    if overlap_s is None:
        overlap_s = rules.get(conn, "overlap_s")
    channels.replace_token(conn, name, token)
    former = before.token_digest if overlap_s and before.token_digest else None
    conn.execute(_ROTATE, {"of": name, "former": former, "until": now_s + overlap_s, "by": actor})
    audit.record(conn, now_s, actor, CHANNEL_TOKEN, CHANNEL + name, {"overlap_s": overlap_s})
    return get(conn, name)


def close(conn: Connection, now_s: int, actor: str, name: str) -> Row[Any]:
    """End a channel's tokens and scopes; its payments and its account stay."""
    channels.close(conn, name)
    audit.record(conn, now_s, actor, CHANNEL_CLOSED, CHANNEL + name)
    return get(conn, name)


def used(conn: Connection, now_s: int, name: str) -> None:
    """The channel's token was shown."""
    values = {"of": name, "now": now_s}
    if not conn.execute(_USED, values).rowcount:
        conn.execute(_FIRST_USE, {"channel": name, "used_s": now_s})


def _check(now_s: int, terms: Terms) -> None:
    areas.check(terms.area)
    if terms.expires_s is not None and terms.expires_s <= now_s:
        raise Refused("expires_s", terms.expires_s, f"a time to come, after {now_s}")
    if len(terms.networks) > MAX_NETWORKS:
        raise Refused("networks", f"{len(terms.networks)} of them", f"at most {MAX_NETWORKS}")
    for network in terms.networks:
        try:
            ipaddress.ip_network(network)
        except ValueError:
            raise Refused("networks", network, "a network such as 192.0.2.0/24 or 2001:db8::/32") from None


def _values(name: str, terms: Terms) -> dict[str, Any]:
    networks = " ".join(terms.networks)
    return {"of": name, "to_area": terms.area, "to_expires_s": terms.expires_s, "to_addresses": networks}


def _told(terms: Terms) -> dict[str, int | str | None]:
    return {
        "scopes": " ".join(terms.scopes),
        "max_payment_uc": terms.max_payment_uc,
        "area": terms.area,
        "expires_s": terms.expires_s,
        "networks": " ".join(terms.networks),
    }
