"""Rules of access that the utility sets: whole numbers with a default and a range, kept with their history."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, insert, select

from headend import audit
from headend.access.words import RULE_SET
from headend.refusals import Refused
from headend.store.schema_access import access_rule


class Rule(NamedTuple):
    """What a rule is by default, from where to where it may be set, and what it says in English and Chinese."""

    default: int
    lowest: int
    highest: int
    text: tuple[str, str]


RULES: Mapping[str, Rule] = {
    "session_s": Rule(43_200, 600, 86_400, ("a session ends after this", "会话最长时间")),
    "idle_s": Rule(1_800, 60, 43_200, ("… and when nothing was asked in it for this long", "会话空闲时间")),
    "lock_after": Rule(5, 3, 20, ("wrong passwords in a row until a name is locked", "账号锁定前的错误次数")),
    "address_lock_after": Rule(25, 5, 1_000, ("… until an address is locked", "地址锁定前的错误次数")),
    "lock_s": Rule(900, 60, 86_400, ("a first lock-out; each further one lasts twice as long", "首次锁定时间")),
    "one_person_delay_s": Rule(
        0, 0, 2_592_000, ("0: four eyes. Else one's own proposal may be approved after this", "单人审批的等待时间")
    ),
    "overlap_s": Rule(86_400, 0, 2_592_000, ("a channel's former token counts for this long", "旧令牌有效时间")),
    "desk_payment_uc": Rule(
        10_000_000_000, 0, 2**53, ("largest single payment at a person's desk", "柜台单笔收费上限")
    ),
}
MIN_DELAY_S = 3_600  # of `one_person_delay_s`, where it is not 0: time for somebody else to notice

_NEWEST = (
    select(access_rule.c.value)
    .where(access_rule.c.name == bindparam("rule"))
    .order_by(access_rule.c.id.desc())
    .limit(1)
)
_ROW = insert(access_rule)


def get(conn: Connection, name: str) -> int:
    """What a rule says now."""
    value = conn.execute(_NEWEST, {"rule": name}).scalar_one_or_none()
    return RULES[name].default if value is None else int(value)


def put(conn: Connection, now_s: int, actor: str, name: str, value: int) -> None:
    """Set a rule; raises Refused."""
    rule = RULES.get(name)
    if rule is None:
        raise Refused("rule", name, f"one of {', '.join(RULES)}")
    if not rule.lowest <= value <= rule.highest:
        raise Refused("value", value, f"{rule.lowest}..{rule.highest}")
    if name == "one_person_delay_s" and 0 < value < MIN_DELAY_S:
        raise Refused("value", value, f"0, or at least {MIN_DELAY_S}")
    before = get(conn, name)
    conn.execute(_ROW, {"name": name, "value": value, "set_s": now_s, "set_by": actor[:80]})
    audit.record(conn, now_s, actor, RULE_SET, f"rule:{name}", {"from": before, "to": value})
