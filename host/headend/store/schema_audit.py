"""Who did what: one row an act, never changed, chained by the sealer (`headend.audit`)."""

from sqlalchemy import BigInteger, Column, Index, String, Table, Text

from headend.store.columns import RowId, metadata

audit = Table(
    "audit",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),  # "user:li.wei", "channel:pos-1", "system"
    Column("action", String(40), nullable=False),  # audit.ACTIONS
    Column("subject", String(120), nullable=False),  # "order:17", "meter:000000000017", "person:<pseudonym>"
    Column("detail", Text, nullable=False, server_default="{}"),  # JSON with sorted keys; no personal data, no secret
    Index("ix_audit_subject", "subject"),
    Index("ix_audit_actor", "actor"),
)
