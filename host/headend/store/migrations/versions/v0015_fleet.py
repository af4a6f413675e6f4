"""The grid and what hangs on it: substations down to supply points, meter types, placements of meters."""

import unicodedata
from typing import Any

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_OPEN: dict[str, Any] = {"sqlite_where": sa.text("until_s is null"), "postgresql_where": sa.text("until_s is null")}
_NEW: dict[str, Any] = {
    "sqlite_where": sa.text("compared_s is null"),
    "postgresql_where": sa.text("compared_s is null"),
}
_LIVE: dict[str, Any] = {"sqlite_where": sa.text("ended_s is null"), "postgresql_where": sa.text("ended_s is null")}
_TABLES = (
    "meter_identity",
    "placement",
    "meter_life_event",
    "meter_life",
    "meter_type",
    "supply_point",
    "grid_move",
    "grid_event",
    "grid_node",
)
_PLACE = ("id", "meter", "supply_point", "node", "account_epoch", "since_s")
# Table, event, columns where not all, of which rows where not of all.
_GUARDS: tuple[tuple[str, str, tuple[str, ...], str], ...] = (
    ("placement", "UPDATE", _PLACE, ""),
    ("placement", "DELETE", (), ""),
    ("grid_event", "UPDATE", (), ""),
    ("grid_event", "DELETE", (), ""),
    ("meter_life_event", "UPDATE", (), ""),
    ("meter_life_event", "DELETE", (), ""),
    ("grid_node", "DELETE", (), ""),
    ("supply_point", "DELETE", (), ""),
)
_AT_A_TIME = 5_000


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length=length).with_variant(sa.String(length=length, collation="C"), "postgresql")


def upgrade() -> None:
    _make_grid()
    _make_meters()
    op.create_index("ix_decoder_pan", "decoder", ["pan"])
    for table, event, columns, when in _GUARDS:
        guards.refuse(op, table, event, "what was told of a place stays told", columns, when=when)
    op.execute("INSERT INTO meter_life (meter, changed_s) SELECT meter, added_s FROM meter")
    _find_labels_and_addresses()


def _make_grid() -> None:
    op.create_table(
        "grid_node",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("parent", _ROW_ID, nullable=True),
        sa.Column("code", sa.String(length=40), nullable=False),
        sa.Column("path", sa.String(length=120), nullable=False),
        sa.Column("title_en", sa.String(length=80), server_default="", nullable=False),
        sa.Column("title_zh", sa.String(length=80), server_default="", nullable=False),
        sa.Column("added_s", sa.BigInteger(), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["parent"], ["grid_node.id"], name="fk_grid_node_parent"),
        sa.PrimaryKeyConstraint("id", name="pk_grid_node"),
    )
    op.create_index("ix_grid_node_parent", "grid_node", ["parent"])
    op.create_index("uq_grid_node_path", "grid_node", ["path"], unique=True, **_LIVE)
    op.create_table(
        "grid_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("node", _ROW_ID, nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("path", sa.String(length=120), nullable=False),
        sa.ForeignKeyConstraint(["node"], ["grid_node.id"], name="fk_grid_event_node"),
        sa.PrimaryKeyConstraint("id", name="pk_grid_event"),
    )
    op.create_index("ix_grid_event_node", "grid_event", ["node"])
    op.create_table(
        "grid_move",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("node", _ROW_ID, nullable=False),
        sa.Column("from_path", sa.String(length=120), nullable=False),
        sa.Column("to_path", sa.String(length=120), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("begun_s", sa.BigInteger(), nullable=False),
        sa.Column("done_s", sa.BigInteger(), nullable=True),
        sa.Column("one", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["node"], ["grid_node.id"], name="fk_grid_move_node"),
        sa.PrimaryKeyConstraint("id", name="pk_grid_move"),
    )
    op.create_index("uq_grid_move_one", "grid_move", ["one"], unique=True)
    op.create_table(
        "supply_point",
        sa.Column("code", _text(40), nullable=False),
        sa.Column("transformer", _ROW_ID, nullable=False),
        sa.Column("phases", sa.Integer(), nullable=False),
        sa.Column("limit_w", sa.BigInteger(), nullable=False),
        sa.Column("households", sa.Integer(), nullable=False),
        sa.Column("added_s", sa.BigInteger(), nullable=False),
        sa.Column("ended_s", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["transformer"], ["grid_node.id"], name="fk_supply_point_transformer"),
        sa.PrimaryKeyConstraint("code", name="pk_supply_point"),
    )
    op.create_index("ix_supply_point_transformer", "supply_point", ["transformer"])


def _make_meters() -> None:
    op.create_table(
        "meter_type",
        sa.Column("type", sa.String(length=40), nullable=False),
        sa.Column("title_en", sa.String(length=80), nullable=False),
        sa.Column("title_zh", sa.String(length=80), nullable=False),
        sa.Column("carriers", sa.String(length=40), nullable=False),
        sa.Column("phases", sa.Integer(), nullable=False),
        sa.Column("relay", sa.Integer(), nullable=False),
        sa.Column("limit_w", sa.BigInteger(), nullable=False),
        sa.Column("intervals", sa.String(length=40), nullable=False),
        sa.Column("tariff", sa.String(length=120), nullable=False),
        sa.Column("firmware", sa.String(length=40), nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("type", name="pk_meter_type"),
    )
    op.create_table(
        "meter_life",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), server_default="in_stock", nullable=False),
        sa.Column("type", sa.String(length=40), nullable=True),
        sa.Column("serial", sa.String(length=40), server_default="", nullable=False),
        sa.Column("changed_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_life_meter"),
        sa.ForeignKeyConstraint(["type"], ["meter_type.type"], name="fk_meter_life_type"),
        sa.PrimaryKeyConstraint("meter", name="pk_meter_life"),
    )
    op.create_index("ix_meter_life_type", "meter_life", ["type"])
    op.create_table(
        "meter_life_event",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("at_s", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_life_event_meter"),
        sa.PrimaryKeyConstraint("id", name="pk_meter_life_event"),
    )
    op.create_index("ix_meter_life_event_meter", "meter_life_event", ["meter"])
    op.create_table(
        "placement",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("meter", sa.BigInteger(), nullable=False),
        sa.Column("supply_point", _text(40), nullable=True),
        sa.Column("node", _ROW_ID, nullable=True),
        sa.Column("account_epoch", sa.Integer(), nullable=False),
        sa.Column("since_s", sa.BigInteger(), nullable=False),
        sa.Column("until_s", sa.BigInteger(), nullable=True),
        sa.Column("start_import_wh", sa.BigInteger(), nullable=True),
        sa.Column("start_export_wh", sa.BigInteger(), nullable=True),
        sa.Column("end_import_wh", sa.BigInteger(), nullable=True),
        sa.Column("end_export_wh", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.String(length=16), nullable=True),
        sa.Column("compared_s", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("(supply_point is null) <> (node is null)", name=op.f("ck_placement_one_place")),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_placement_meter"),
        sa.ForeignKeyConstraint(["supply_point"], ["supply_point.code"], name="fk_placement_supply_point"),
        sa.ForeignKeyConstraint(["node"], ["grid_node.id"], name="fk_placement_node"),
        sa.PrimaryKeyConstraint("id", name="pk_placement"),
    )
    for column in ("meter", "supply_point", "node"):
        op.create_index(f"ix_placement_{column}", "placement", [column])
    op.create_index("ix_placement_compare", "placement", ["since_s"], **_NEW)
    op.create_index("uq_placement_meter", "placement", ["meter"], unique=True, **_OPEN)
    op.create_index("uq_placement_supply_point", "placement", ["supply_point"], unique=True, **_OPEN)
    op.create_table(
        "meter_identity",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("text", _text(200), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_meter_identity_meter"),
        sa.PrimaryKeyConstraint("meter", "kind", name="pk_meter_identity"),
    )
    op.create_index("ix_meter_identity_text", "meter_identity", ["text", "meter"])


def _find_labels_and_addresses() -> None:
    """Labels and addresses of meters that are there already, folded as they are sought."""
    conn = op.get_bind()
    meter = sa.table("meter", sa.column("meter"), sa.column("label"), sa.column("address"))
    identity = sa.table("meter_identity", sa.column("meter"), sa.column("kind"), sa.column("text"))
    after = 0
    while True:
        chosen = sa.select(meter).where(meter.c.meter > after).order_by(meter.c.meter).limit(_AT_A_TIME)
        found = conn.execute(chosen).all()
        rows = [
            {"meter": row.meter, "kind": kind, "text": unicodedata.normalize("NFKC", value).casefold()[:200]}
            for row in found
            for kind, value in (("label", row.label), ("address", row.address))
            if value
        ]
        if rows:
            conn.execute(sa.insert(identity), rows)
        if len(found) < _AT_A_TIME:
            return
        after = found[-1].meter


def downgrade() -> None:
    for table, event, _, _ in _GUARDS:
        guards.allow(op, table, event)
    op.drop_index("ix_decoder_pan", "decoder")
    for table in _TABLES:
        op.drop_table(table)
