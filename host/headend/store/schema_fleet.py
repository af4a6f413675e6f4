"""Tables of the grid and of what hangs on it: substations down to supply points, meter types, placements of meters.

A node's `path` is the area of what stands at it. What was told of a place is ended and never deleted.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, ForeignKey, Index, Integer, String, Table, text

from headend.store.columns import RowId, metadata

# Text that is sought by its beginning: compared byte by byte on either database.
Sought = String(200).with_variant(String(200, collation="C"), "postgresql")

grid_node = Table(
    "grid_node",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("kind", String(16), nullable=False),  # substation | feeder | transformer
    Column("parent", ForeignKey("grid_node.id")),
    Column("code", String(40), nullable=False),  # the last part of the path
    Column("path", String(120), nullable=False),
    Column("title_en", String(80), nullable=False, server_default=""),
    Column("title_zh", String(80), nullable=False, server_default=""),
    Column("added_s", BigInteger, nullable=False),
    Column("ended_s", BigInteger),
    Index("ix_grid_node_parent", "parent"),
    Index(
        "uq_grid_node_path",
        "path",
        unique=True,
        sqlite_where=text("ended_s is null"),
        postgresql_where=text("ended_s is null"),
    ),
)

# What was done to the grid.
grid_event = Table(
    "grid_event",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("node", ForeignKey("grid_node.id"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("event", String(16), nullable=False),  # add | title | move | end
    Column("path", String(120), nullable=False),  # from then on
    Index("ix_grid_event_node", "node"),
)

# Moves of nodes: what stands below follows in parts. At most one is under way.
grid_move = Table(
    "grid_move",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("node", ForeignKey("grid_node.id"), nullable=False),
    Column("from_path", String(120), nullable=False),
    Column("to_path", String(120), nullable=False),
    Column("actor", String(80), nullable=False),
    Column("begun_s", BigInteger, nullable=False),
    Column("done_s", BigInteger),
    Column("one", Integer),  # 1 while it is under way
    Index("uq_grid_move_one", "one", unique=True),
)

supply_point = Table(
    "supply_point",
    metadata,
    Column("code", String(40).with_variant(String(40, collation="C"), "postgresql"), primary_key=True),
    Column("transformer", ForeignKey("grid_node.id"), nullable=False),
    Column("phases", Integer, nullable=False),  # 1 | 3
    Column("limit_w", BigInteger, nullable=False),  # contracted power; 0: none
    Column("households", Integer, nullable=False),  # behind it
    Column("added_s", BigInteger, nullable=False),
    Column("ended_s", BigInteger),
    Index("ix_supply_point_transformer", "transformer"),
)

meter_type = Table(
    "meter_type",
    metadata,
    Column("type", String(40), primary_key=True),
    Column("title_en", String(80), nullable=False),
    Column("title_zh", String(80), nullable=False),
    Column("carriers", String(40), nullable=False),  # space separated: mqtt modbus
    Column("phases", Integer, nullable=False),  # 1 | 3
    Column("relay", Integer, nullable=False),  # 1: it can disconnect
    Column("limit_w", BigInteger, nullable=False),  # the most power it is built for
    Column("intervals", String(40), nullable=False),  # space separated minutes
    Column("tariff", String(120), nullable=False),  # space separated: steps rates time_charges …
    Column("firmware", String(40), nullable=False),  # family of images
    Column("changed_s", BigInteger, nullable=False),
)

# Of each meter, beside `meter`: what it is, and where it is in its life.
meter_life = Table(
    "meter_life",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("state", String(16), nullable=False, server_default="in_stock"),
    Column("type", ForeignKey("meter_type.type")),
    Column("serial", String(40), nullable=False, server_default=""),  # the maker's
    Column("changed_s", BigInteger, nullable=False),
    Index("ix_meter_life_type", "type"),
)

meter_life_event = Table(
    "meter_life_event",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("at_s", BigInteger, nullable=False),
    Column("actor", String(80), nullable=False),
    Column("event", String(16), nullable=False),
    Column("state", String(16), nullable=False),  # from then on
    Column("note", String(200), nullable=False, server_default=""),
    Index("ix_meter_life_event_meter", "meter"),
)

# Where a meter stood, and when: at a supply point, or at a node whose whole flow it measures.
placement = Table(
    "placement",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("meter", ForeignKey("meter.meter"), nullable=False),
    Column("supply_point", ForeignKey("supply_point.code")),
    Column("node", ForeignKey("grid_node.id")),
    Column("account_epoch", Integer, nullable=False),  # in force when it began
    Column("since_s", BigInteger, nullable=False),
    Column("until_s", BigInteger),
    # What somebody read on the registers there; none where nobody did.
    Column("start_import_wh", BigInteger),
    Column("start_export_wh", BigInteger),
    Column("end_import_wh", BigInteger),
    Column("end_export_wh", BigInteger),
    Column("ended_by", String(16)),  # remove | exchange_out | relocate
    Column("compared_s", BigInteger),  # when it was held against others, for meters in each other's place
    CheckConstraint("(supply_point is null) <> (node is null)", name="one_place"),
    Index("ix_placement_meter", "meter"),
    Index("ix_placement_supply_point", "supply_point"),
    Index("ix_placement_node", "node"),
    Index(
        "ix_placement_compare",
        "since_s",
        sqlite_where=text("compared_s is null"),
        postgresql_where=text("compared_s is null"),
    ),
    Index(
        "uq_placement_meter",
        "meter",
        unique=True,
        sqlite_where=text("until_s is null"),
        postgresql_where=text("until_s is null"),
    ),
    Index(
        "uq_placement_supply_point",
        "supply_point",
        unique=True,
        sqlite_where=text("until_s is null"),
        postgresql_where=text("until_s is null"),
    ),
)

# By what a meter is found besides its number: folded text.
meter_identity = Table(
    "meter_identity",
    metadata,
    Column("meter", ForeignKey("meter.meter"), primary_key=True, autoincrement=False),
    Column("kind", String(16), primary_key=True),  # serial | label | address
    Column("text", Sought, nullable=False),
    Index("ix_meter_identity_text", "text", "meter"),
)
