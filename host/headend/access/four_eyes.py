"""Four eyes: who approves must be a person, another one than the author, and neither may have made the other.

An account's makers are whoever created it, granted it a role, or gave it a password, and their makers in turn. Without
that, who manages people would approve under a name of his own making.
"""

from collections.abc import Iterator

from sqlalchemy import Connection, bindparam, select

from headend.access import rules
from headend.access.caller import CHANNEL, DESK, USER
from headend.refusals import Refused
from headend.store.schema_access import channel_access, login, role_grant

_LOGIN = select(login.c.created_by, login.c.reset_by).where(login.c.login == bindparam("who"))
_GRANTS = select(role_grant.c.granted_by).where(role_grant.c.login == bindparam("who")).distinct()
_CHANNEL = select(channel_access.c.created_by, channel_access.c.token_by).where(
    channel_access.c.channel == bindparam("who")
)


class SamePerson(Refused):
    """The approver is the author, or made the author's account, or the other way round."""


def refuse_same(conn: Connection, author: str, approver: str, *, waited_s: int = 0) -> None:
    """Raise SamePerson unless `approver` may approve what `author` proposed; both are actors.

    `waited_s`: since it was proposed. Where the utility has one person (the rule `one_person_delay_s` is not 0), a
    person may approve his own after that time. A channel never approves.
    """
    first, second = _person(author), _person(approver)
    if not second.startswith(USER):
        raise SamePerson("approver", approver, "a person")
    related = first == second or first in makers(conn, second) or second in makers(conn, first)
    if not related:
        return
    delay_s = rules.get(conn, "one_person_delay_s")
    if delay_s and waited_s >= delay_s:
        return
    what = "somebody else than the author" if first == second else "nobody who made the author's account, or by him"
    raise SamePerson("approver", approver, what)


def makers(conn: Connection, actor: str) -> frozenset[str]:
    """Every person and channel by whom this actor came to what it may do, directly or not.

    Who has the machine itself (`system`) makes the first account; that makes nobody anybody's hand.
    """
    found: set[str] = set()
    todo = [actor]
    while todo:
        for maker in _made_by(conn, todo.pop()):
            if maker not in found and maker.startswith((USER, CHANNEL)):
                found.add(maker)
                todo.append(maker)
    return frozenset(found)


def _made_by(conn: Connection, actor: str) -> Iterator[str]:
    if actor.startswith(USER):
        who = {"who": actor.removeprefix(USER)}
        for row in conn.execute(_LOGIN, who):
            yield from filter(None, row)
        yield from conn.execute(_GRANTS, who).scalars()
    elif actor.startswith(CHANNEL):
        for row in conn.execute(_CHANNEL, {"who": actor.removeprefix(CHANNEL)}):
            yield from filter(None, row)


def _person(actor: str) -> str:
    """The person behind a desk."""
    at_desk = CHANNEL + DESK
    return USER + actor.removeprefix(at_desk) if actor.startswith(at_desk) else actor
