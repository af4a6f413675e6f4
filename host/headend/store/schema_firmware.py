"""Tables of the firmware: images, what meters run, and images on their way to the meters of a campaign."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, LargeBinary, String, Table, UniqueConstraint

from headend.store.columns import RowId, metadata

# What an image is never changes; it can be withdrawn. A release is major << 16 | minor << 8 | patch, as events have it.
firmware_image = Table(
    "firmware_image",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("sha256", String(64), nullable=False),  # of all of it, hexadecimal
    Column("length", Integer, nullable=False),
    Column("board", String(16), nullable=False),
    Column("release", Integer, nullable=False),
    Column("legal_version", Integer, nullable=False),
    Column("legal_sha256", String(64), nullable=False),
    Column("journal", Integer, nullable=False),  # the newest format that it writes
    Column("signed_by", String(64), nullable=False, server_default=""),  # SHA-256 of the vendor's key; "": by nobody
    Column("note", String(200), nullable=False, server_default=""),
    Column("actor", String(80), nullable=False),
    Column("added_s", BigInteger, nullable=False),
    Column("withdrawn_s", BigInteger),
    Column("raw", LargeBinary, nullable=False),
    UniqueConstraint("sha256"),
)

# What a meter runs: as it says on its link, or, `proved`, as its log tells under its key.
firmware_running = Table(
    "firmware_running",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("release", Integer, nullable=False),
    Column("proved", Integer, nullable=False),  # 0 | 1
    Column("told_s", BigInteger, nullable=False),
)

firmware_delivery = Table(
    "firmware_delivery",
    metadata,
    Column("campaign", ForeignKey("campaign.id"), primary_key=True, autoincrement=False),
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("image", ForeignKey("firmware_image.id"), nullable=False),
    Column("state", String(12), nullable=False),  # firmware.lifecycle.STATES
    Column("begun_s", BigInteger, nullable=False),
    Column("tried_s", BigInteger),  # when it was tried first, or again after a pause
    Column("moved_s", BigInteger, nullable=False),  # when its state, or how far it is, changed last
    Column("next_s", BigInteger),  # when to look after it again; null: when the meter says something
    Column("tries", Integer, nullable=False, server_default="0"),  # in a row that brought nothing
    Column("record", Integer, nullable=False, server_default="0"),  # the last one that the meter is known to have
    Column("told", Integer, nullable=False, server_default="0"),  # meterlink.states.UPDATE_*, as the meter said last
    Column("result", Integer, nullable=False, server_default="0"),  # meterlink.results.*, likewise
    Column("note", String(200), nullable=False, server_default=""),  # why it stands as it does
    Index("ix_firmware_delivery_state", "state", "next_s"),
    Index("ix_firmware_delivery_campaign", "campaign", "state"),
    Index("ix_firmware_delivery_meter", "meter"),
)
