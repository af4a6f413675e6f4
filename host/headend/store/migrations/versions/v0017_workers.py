"""Processes that share a database: who works on what until when, and who may speak at a broker."""

import sqlalchemy as sa
from alembic import op

from headend.workers.homes import bus_of

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "lease",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(length=80), server_default="", nullable=False),
        sa.Column("token", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("until_s", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("kind", "number", name="pk_lease"),
    )
    op.create_index("ix_lease_holder", "lease", ["holder"])
    op.create_table(
        "worker",
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("serves", sa.String(length=120), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("seen_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_worker"),
    )
    op.add_column("meter", sa.Column("bus", sa.Integer(), nullable=True))
    _number_buses()


def _number_buses() -> None:
    meter = sa.table("meter", sa.column("meter"), sa.column("carrier"), sa.column("address"), sa.column("bus"))
    conn = op.get_bind()
    known = conn.execute(sa.select(meter.c.meter, meter.c.address).where(meter.c.carrier == "modbus")).all()
    numbered = [{"of": number, "at": bus_of("modbus", address)} for number, address in known]
    if numbered:
        conn.execute(
            sa.update(meter).where(meter.c.meter == sa.bindparam("of")).values(bus=sa.bindparam("at")), numbered
        )


def downgrade() -> None:
    op.drop_column("meter", "bus")
    op.drop_table("worker")
    op.drop_table("lease")
