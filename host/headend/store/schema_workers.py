"""Tables of processes that share a database: who works on what until when, and who may speak at a broker."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table

from headend.store.columns import metadata

# One row for each thing that one process at a time works on (`workers.leases`). It stays: its token only rises.
lease = Table(
    "lease",
    metadata,
    Column("kind", String(16), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("holder", String(80), nullable=False, server_default=""),  # "": nobody
    Column("token", BigInteger, nullable=False, server_default="0"),  # raised by each taking
    Column("until_s", BigInteger, nullable=False, server_default="0"),  # by the database's clock
    Index("ix_lease_holder", "holder"),
)

# Processes that have said lately that they are there; one that ended takes its row along.
worker = Table(
    "worker",
    metadata,
    Column("name", String(80), primary_key=True),
    Column("serves", String(120), nullable=False),  # kinds and roles that it can take on now, space-separated
    Column("since_s", BigInteger, nullable=False),  # without a break, by the database's clock
    Column("seen_s", BigInteger, nullable=False),
)
