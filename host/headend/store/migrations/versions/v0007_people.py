"""Personal data under a key per person."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_STAYS = "a pseudonym and what it held stay"


def upgrade() -> None:
    op.create_table(
        "person",
        sa.Column("pseudonym", sa.String(length=26), nullable=False),
        sa.Column("version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_s", sa.BigInteger(), nullable=False),
        sa.Column("erased_s", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("pseudonym", name="pk_person"),
    )
    op.create_table(
        "person_key",
        sa.Column("pseudonym", sa.String(length=26), nullable=False),
        sa.Column("wrapping", sa.Integer(), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["pseudonym"], ["person.pseudonym"], name="fk_person_key_pseudonym"),
        sa.PrimaryKeyConstraint("pseudonym", name="pk_person_key"),
    )
    op.create_index("ix_person_key_wrapping", "person_key", ["wrapping"])
    op.create_table(
        "person_field",
        sa.Column("pseudonym", sa.String(length=26), nullable=False),
        sa.Column("field", sa.String(length=16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("set_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["pseudonym"], ["person.pseudonym"], name="fk_person_field_pseudonym"),
        sa.PrimaryKeyConstraint("pseudonym", "field", name="pk_person_field"),
    )
    op.create_table(
        "person_index",
        sa.Column("pseudonym", sa.String(length=26), nullable=False),
        sa.Column("field", sa.String(length=16), nullable=False),
        sa.Column("blind", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["pseudonym"], ["person.pseudonym"], name="fk_person_index_pseudonym"),
        sa.PrimaryKeyConstraint("pseudonym", "field", name="pk_person_index"),
    )
    op.create_index("ix_person_index_blind", "person_index", ["field", "blind"])
    op.create_table(
        "holding",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("pseudonym", sa.String(length=26), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_holding_meter"),
        sa.ForeignKeyConstraint(["pseudonym"], ["person.pseudonym"], name="fk_holding_pseudonym"),
        sa.PrimaryKeyConstraint("id", name="pk_holding"),
    )
    op.create_index("ix_holding_pseudonym", "holding", ["pseudonym"])
    op.create_index("ix_holding_meter", "holding", ["meter", "account_epoch"])
    op.create_index(
        "uq_holding_open",
        "holding",
        ["meter", "account_epoch"],
        unique=True,
        sqlite_where=sa.text("until_s is null"),
        postgresql_where=sa.text("until_s is null"),
    )
    guards.refuse(op, "person", "DELETE", _STAYS)
    guards.refuse(op, "holding", "DELETE", _STAYS)
    guards.refuse(op, "holding", "UPDATE", _STAYS, ("id", "meter", "account_epoch", "pseudonym", "since_s"))


def downgrade() -> None:
    guards.allow(op, "holding", "UPDATE")
    guards.allow(op, "holding", "DELETE")
    guards.allow(op, "person", "DELETE")
    for table in ("holding", "person_index", "person_field", "person_key", "person"):
        op.drop_table(table)
