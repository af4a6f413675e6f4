"""Who may say and hear what at a broker: one table, from which access lists and roles are made.

A client is known by a name: the common name of its certificate, or the user of its password. A meter's is its number
as `topics.meter_name` writes it, and a whole level of its topics; the envelope of each message says again who speaks.
"""

import re
from typing import NamedTuple

from headend.refusals import Refused

METER = "meter"
HEAD_END = "head-end"

PUBLISH = "publish"  # to the broker
RECEIVE = "receive"  # from the broker: what may be subscribed to is the same

OWN = "%u"  # the client's name, where a topic holds it


class Right(NamedTuple):
    """A direction, and the filter of the topics that it holds for."""

    direction: str
    topic: str


# The shard follows from the number, so a meter that used another would be heard by nobody (`topics.parse`).
RIGHTS: dict[str, tuple[Right, ...]] = {
    METER: (Right(PUBLISH, f"op/1/+/{OWN}/up/#"), Right(RECEIVE, f"op/1/+/{OWN}/dn/#")),
    HEAD_END: (Right(RECEIVE, "op/1/+/+/up/#"), Right(PUBLISH, "op/1/+/+/dn/#")),
}

_HEAD_END_NAME = re.compile(r"[a-z][a-z0-9.-]{0,39}")


def head_end_name(name: str) -> str:
    """The name of a head end, which is never that of a meter; raises Refused."""
    if not _HEAD_END_NAME.fullmatch(name):
        raise Refused("head end", name, "a letter, then up to 39 of a-z 0-9 . -")
    return name
