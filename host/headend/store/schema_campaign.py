"""Tables of campaigns: what is to be done with many meters, the dry run, the groups, and how it goes.

A campaign that was proposed is a list of the gate (`proposal`, `proposal_item`) and this plan for it.
"""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from headend.store.columns import RowId, metadata

# What is wanted never changes once the dry run is whole; `digest` binds the approval to it.
campaign = Table(
    "campaign",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(24), nullable=False),  # gate.kinds.LISTS
    Column("author", String(80), nullable=False),
    Column("why", String(200), nullable=False),
    Column("area", String(120), nullable=False, server_default=""),  # the narrowest one that all of it lies in
    Column("seen", Text, nullable=False),  # areas that the author may act in, JSON
    Column("selection", Text, nullable=False),  # JSON, campaigns.selection
    Column("terms", Text, nullable=False),  # what is stated to each meter, JSON
    Column("plan", Text, nullable=False),  # JSON, campaigns.plan
    Column("state", String(16), nullable=False),  # campaigns.lifecycle.STATES
    Column("made_s", BigInteger, nullable=False),
    Column("changed_s", BigInteger, nullable=False),
    Column("digest", String(64), nullable=False, server_default=""),  # SHA-256 of the dry run, hexadecimal
    Column("proposal", ForeignKey("proposal.id")),
    Column("groups", Text, nullable=False, server_default="[]"),  # how many meters each group has, JSON
    Column("grp", Integer, nullable=False, server_default="0"),  # the group at work, from 0
    Column("at_meter", BigInteger, nullable=False, server_default="0"),  # how far its list is gone through
    Column("stated_s", BigInteger),  # since when nothing of that group waits
    Column("tokens", BigInteger, nullable=False, server_default="0"),  # sixtieths of a meter that may go now
    Column("tokens_s", BigInteger),
    Column("counts", Text, nullable=False, server_default="{}"),  # campaigns.progress.Counts, JSON
    Column("counted_s", BigInteger),
    Column("note", String(200), nullable=False, server_default=""),
    UniqueConstraint("proposal"),
    Index("ix_campaign_state", "state"),
)

# The dry run: each meter that was looked at.
campaign_meter = Table(
    "campaign_meter",
    metadata,
    Column("campaign", ForeignKey("campaign.id"), primary_key=True, autoincrement=False),
    Column("meter", BigInteger, primary_key=True, autoincrement=False),
    Column("verdict", String(8), nullable=False),  # in | there | barred
    Column("grp", Integer, nullable=False, server_default="0"),  # of those that are in
    Column("rule", String(40), nullable=False, server_default=""),
    Column("evidence", BigInteger),  # of an exclusion, its number
    Column("said_en", String(300), nullable=False, server_default=""),
    Column("said_zh", String(300), nullable=False, server_default=""),
    Index("ix_campaign_meter_group", "campaign", "verdict", "grp", "meter"),
)

# Of each feeder: how many meters are in, and how many of them were stated in the minute that began at `at_s`.
campaign_feeder = Table(
    "campaign_feeder",
    metadata,
    Column("campaign", ForeignKey("campaign.id"), primary_key=True, autoincrement=False),
    Column("feeder", String(120), primary_key=True),
    Column("meters", Integer, nullable=False),
    Column("at_s", BigInteger, nullable=False, server_default="0"),
    Column("stated", Integer, nullable=False, server_default="0"),
)

campaign_history = Table(
    "campaign_history",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("campaign", ForeignKey("campaign.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("event", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # from then on
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_campaign_history_campaign", "campaign"),
)
