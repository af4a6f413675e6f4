"""People for tests: added with roles, with a password of their own or with a session already begun."""

import os
from functools import cache

from sqlalchemy import Connection, update

from headend.access import passwords, people, sessions
from headend.store import Store
from headend.store.schema_access import login
from tests.host.books import NOW_S

PASSWORD = "correct horse 电池 staple"
SYSTEM = "system"


@cache
def password_hash() -> str:
    """Of `PASSWORD`; the work is done once a run."""
    return passwords.make(PASSWORD, os.urandom)


def add(conn: Connection, name: str, *roles: tuple[str, str], by: str = SYSTEM, now_s: int = NOW_S) -> None:
    """A person with roles (role, area), whose password is `PASSWORD` and need not be changed."""
    people.add(conn, now_s, by, name, password_hash())
    conn.execute(update(login).where(login.c.login == name).values(must_change=0))
    for role, area in roles:
        people.grant(conn, now_s, by, name, role, area)


def add_person(store: Store, name: str, *roles: tuple[str, str], by: str = SYSTEM) -> None:
    store.write(lambda conn: add(conn, name, *roles, by=by)).result()


def session_of(store: Store, name: str, now_s: int = NOW_S) -> str:
    """The token of a session that begins now."""
    token = sessions.new_token(os.urandom)
    store.write(sessions.begin, now_s, name, token, "192.0.2.1").result()
    return token
