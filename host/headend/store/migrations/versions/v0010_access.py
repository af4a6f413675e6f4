"""People who sign in, their grants and sessions; where and until when a channel's token counts."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "login",
        sa.Column("login", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("language", sa.String(length=2), server_default="en", nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=False),
        sa.Column("must_change", sa.Integer(), server_default="1", nullable=False),
        sa.Column("password_s", sa.BigInteger(), nullable=False),
        sa.Column("totp_secret", sa.LargeBinary(), nullable=True),
        sa.Column("totp_pending", sa.LargeBinary(), nullable=True),
        sa.Column("totp_step", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_s", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=80), nullable=False),
        sa.Column("reset_by", sa.String(length=80), nullable=True),
        sa.Column("seen_s", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("login", name="pk_login"),
    )
    op.create_table(
        "role_grant",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("login", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("area", sa.String(length=120), server_default="", nullable=False),
        sa.Column("granted_s", sa.BigInteger(), nullable=False),
        sa.Column("granted_by", sa.String(length=80), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(length=80), nullable=True),
        sa.ForeignKeyConstraint(["login"], ["login.login"], name="fk_role_grant_login"),
        sa.PrimaryKeyConstraint("id", name="pk_role_grant"),
    )
    op.create_index("ix_role_grant_login", "role_grant", ["login"])
    op.create_index(
        "uq_role_grant_standing",
        "role_grant",
        ["login", "role", "area"],
        unique=True,
        sqlite_where=sa.text("ended_s is null"),
        postgresql_where=sa.text("ended_s is null"),
    )
    op.create_table(
        "session",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("login", sa.String(length=40), nullable=False),
        sa.Column("made_s", sa.BigInteger(), nullable=False),
        sa.Column("used_s", sa.BigInteger(), nullable=False),
        sa.Column("ends_s", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["login"], ["login.login"], name="fk_session_login"),
        sa.PrimaryKeyConstraint("id", name="pk_session"),
        sa.UniqueConstraint("digest", name="uq_session_digest"),
    )
    op.create_index("ix_session_login", "session", ["login"])
    op.create_index("ix_session_ends_s", "session", ["ends_s"])
    op.create_table(
        "sign_in_failure",
        sa.Column("subject", sa.String(length=80), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("locks", sa.Integer(), nullable=False),
        sa.Column("locked_until_s", sa.BigInteger(), nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name="pk_sign_in_failure"),
    )
    op.create_index("ix_sign_in_failure_changed_s", "sign_in_failure", ["changed_s"])
    op.create_table(
        "channel_access",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("area", sa.String(length=120), server_default="", nullable=False),
        sa.Column("expires_s", sa.BigInteger(), nullable=True),
        sa.Column("former_digest", sa.LargeBinary(), nullable=True),
        sa.Column("former_until_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("addresses", sa.String(length=400), server_default="", nullable=False),
        sa.Column("created_by", sa.String(length=80), server_default="system", nullable=False),
        sa.Column("token_by", sa.String(length=80), server_default="system", nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_channel_access_channel"),
        sa.PrimaryKeyConstraint("channel", name="pk_channel_access"),
    )
    op.execute("INSERT INTO channel_access (channel) SELECT channel FROM channel")
    op.create_table(
        "channel_use",
        sa.Column("channel", sa.String(length=40), nullable=False),
        sa.Column("used_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["channel"], ["channel.channel"], name="fk_channel_use_channel"),
        sa.PrimaryKeyConstraint("channel", name="pk_channel_use"),
    )
    op.create_table(
        "access_rule",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.Column("set_s", sa.BigInteger(), nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_access_rule"),
    )
    op.create_index("ix_access_rule_name", "access_rule", ["name", "id"])
    op.create_table(
        "kept_answer",
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("headers", sa.Text(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("actor", "key", name="pk_kept_answer"),
    )
    op.create_index("ix_kept_answer_at_s", "kept_answer", ["at_s"])
    for event in ("UPDATE", "DELETE"):
        guards.refuse(op, "access_rule", event, "a rule that stood stays recorded")
    guards.refuse(op, "login", "DELETE", "a person who signed in stays on record")
    guards.refuse(op, "role_grant", "DELETE", "a grant ends, its row stays")


def downgrade() -> None:
    guards.allow(op, "role_grant", "DELETE")
    guards.allow(op, "login", "DELETE")
    for event in ("UPDATE", "DELETE"):
        guards.allow(op, "access_rule", event)
    for table in (
        "kept_answer",
        "access_rule",
        "channel_use",
        "channel_access",
        "sign_in_failure",
        "session",
        "role_grant",
        "login",
    ):
        op.drop_table(table)
