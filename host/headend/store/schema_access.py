"""Who may do what: people, grants, sessions, tokens of channels, requests that are repeated (`headend.access`).

No password and no token stands here, only what they are compared with.
"""

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from headend.store.columns import RowId, metadata

# A person who signs in. Never deleted: what somebody did stays somebody's.
login = Table(
    "login",
    metadata,
    Column("login", String(40), primary_key=True),
    Column("state", String(12), nullable=False),  # active | closed
    Column("language", String(2), nullable=False, server_default="en"),
    Column("password_hash", String(200), nullable=False),  # argon2id, with its parameters
    Column("must_change", Integer, nullable=False, server_default="1"),  # the password is one that somebody else knows
    Column("password_s", BigInteger, nullable=False),
    Column("totp_secret", LargeBinary),  # sealed (access.sealing); none: no second factor
    Column("totp_pending", LargeBinary),  # sealed; enrolled and not confirmed yet
    Column("totp_step", BigInteger, nullable=False, server_default="0"),  # of the last code that was used
    Column("created_s", BigInteger, nullable=False),
    Column("created_by", String(80), nullable=False),
    Column("reset_by", String(80)),  # who last gave this person a password, or took the second factor away
    Column("seen_s", BigInteger),  # last signed in
    Column("version", Integer, nullable=False, server_default="1"),  # raised by each change that a person makes
)

# What a person may do, and where. A grant ends, its row stays: who gave it counts for four eyes ever after.
role_grant = Table(
    "role_grant",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("login", ForeignKey("login.login"), nullable=False),
    Column("role", String(20), nullable=False),  # access.roles.ROLES
    Column("area", String(120), nullable=False, server_default=""),  # this one and all below it; "": everything
    Column("granted_s", BigInteger, nullable=False),
    Column("granted_by", String(80), nullable=False),
    Column("ended_s", BigInteger),
    Column("ended_by", String(80)),
    Index("ix_role_grant_login", "login"),
    Index(
        "uq_role_grant_standing",
        "login",
        "role",
        "area",
        unique=True,
        sqlite_where=text("ended_s is null"),
        postgresql_where=text("ended_s is null"),
    ),
)

# A session of a person. It ends at `ends_s`, or when nothing was asked in it for a while.
session = Table(
    "session",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("digest", LargeBinary, nullable=False),  # SHA-256 of its token
    Column("login", ForeignKey("login.login"), nullable=False),
    Column("made_s", BigInteger, nullable=False),
    Column("used_s", BigInteger, nullable=False),  # to the minute
    Column("ends_s", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    UniqueConstraint("digest"),
    Index("ix_session_login", "login"),
    Index("ix_session_ends_s", "ends_s"),
)

# Wrong passwords, by name (known or not) and by address.
sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    Column("subject", String(80), primary_key=True),  # "name:<SHA-256 of it>", "address:192.0.2.7"
    Column("failed", Integer, nullable=False),  # since the last success or lock-out
    Column("locks", Integer, nullable=False),
    Column("locked_until_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
    Index("ix_sign_in_failure_changed_s", "changed_s"),
)

# Beside each row of `channel`: where and until when its token counts, and who made it.
channel_access = Table(
    "channel_access",
    metadata,
    Column("channel", ForeignKey("channel.channel"), primary_key=True),
    Column("area", String(120), nullable=False, server_default=""),
    Column("expires_s", BigInteger),
    Column("former_digest", LargeBinary),  # the token before this one counts until
    Column("former_until_s", BigInteger, nullable=False, server_default="0"),
    Column("addresses", String(400), nullable=False, server_default=""),  # networks, space separated; "": any
    Column("created_by", String(80), nullable=False, server_default="system"),
    Column("token_by", String(80), nullable=False, server_default="system"),  # who last saw a fresh token
    Column("version", Integer, nullable=False, server_default="1"),
)

channel_use = Table(
    "channel_use",
    metadata,
    Column("channel", ForeignKey("channel.channel"), primary_key=True),
    Column("used_s", BigInteger, nullable=False),  # its token, last; to the minute
)

# Rules of access that the utility sets, with their history: the newest of a name counts.
access_rule = Table(
    "access_rule",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("name", String(40), nullable=False),  # access.rules.RULES
    Column("value", BigInteger, nullable=False),
    Column("set_s", BigInteger, nullable=False),
    Column("set_by", String(80), nullable=False),
    Index("ix_access_rule_name", "name", "id"),
)

# Answers to requests with an Idempotency-Key, kept for a day.
kept_answer = Table(
    "kept_answer",
    metadata,
    Column("actor", String(80), primary_key=True),
    Column("key", String(100), primary_key=True),
    Column("request", LargeBinary, nullable=False),  # SHA-256 of method, path, query and body
    Column("at_s", BigInteger, nullable=False),
    Column("status", Integer),  # none: carried out, and its answer was not kept
    Column("headers", Text),
    Column("body", LargeBinary),
    Index("ix_kept_answer_at_s", "at_s"),
)
