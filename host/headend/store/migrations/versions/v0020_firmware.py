"""Images of the firmware, what meters run, and images on their way to the meters of a campaign."""

import sqlalchemy as sa
from alembic import op

from headend.store import guards

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_FIXED = (
    "id",
    "sha256",
    "length",
    "board",
    "release",
    "legal_version",
    "legal_sha256",
    "journal",
    "signed_by",
    "actor",
    "added_s",
    "raw",
)
_GUARDS = (
    ("UPDATE", "an image stays what it was when it came", _FIXED),
    ("DELETE", "an image that was kept stays; it can be withdrawn", ()),
)


def upgrade() -> None:
    op.create_table(
        "firmware_image",
        sa.Column("id", _ROW_ID, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("length", sa.Integer(), nullable=False),
        sa.Column("board", sa.String(length=16), nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("legal_version", sa.Integer(), nullable=False),
        sa.Column("legal_sha256", sa.String(length=64), nullable=False),
        sa.Column("journal", sa.Integer(), nullable=False),
        sa.Column("signed_by", sa.String(length=64), server_default="", nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("added_s", sa.BigInteger(), nullable=False),
        sa.Column("withdrawn_s", sa.BigInteger(), nullable=True),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_firmware_image"),
        sa.UniqueConstraint("sha256", name="uq_firmware_image_sha256"),
    )
    op.create_table(
        "firmware_running",
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("release", sa.Integer(), nullable=False),
        sa.Column("proved", sa.Integer(), nullable=False),
        sa.Column("told_s", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_firmware_running_meter"),
        sa.PrimaryKeyConstraint("meter", name="pk_firmware_running"),
    )
    op.create_table(
        "firmware_delivery",
        sa.Column("campaign", _ROW_ID, autoincrement=False, nullable=False),
        sa.Column("meter", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("image", _ROW_ID, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("begun_s", sa.BigInteger(), nullable=False),
        sa.Column("tried_s", sa.BigInteger(), nullable=True),
        sa.Column("moved_s", sa.BigInteger(), nullable=False),
        sa.Column("next_s", sa.BigInteger(), nullable=True),
        sa.Column("tries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("record", sa.Integer(), server_default="0", nullable=False),
        sa.Column("told", sa.Integer(), server_default="0", nullable=False),
        sa.Column("result", sa.Integer(), server_default="0", nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.ForeignKeyConstraint(["campaign"], ["campaign.id"], name="fk_firmware_delivery_campaign"),
        sa.ForeignKeyConstraint(["meter"], ["meter.meter"], name="fk_firmware_delivery_meter"),
        sa.ForeignKeyConstraint(["image"], ["firmware_image.id"], name="fk_firmware_delivery_image"),
        sa.PrimaryKeyConstraint("campaign", "meter", name="pk_firmware_delivery"),
    )
    op.create_index("ix_firmware_delivery_state", "firmware_delivery", ["state", "next_s"])
    op.create_index("ix_firmware_delivery_campaign", "firmware_delivery", ["campaign", "state"])
    op.create_index("ix_firmware_delivery_meter", "firmware_delivery", ["meter"])
    for event, sentence, columns in _GUARDS:
        guards.refuse(op, "firmware_image", event, sentence, columns)


def downgrade() -> None:
    for event, _, _ in _GUARDS:
        guards.allow(op, "firmware_image", event)
    op.drop_table("firmware_delivery")
    op.drop_table("firmware_running")
    op.drop_table("firmware_image")
