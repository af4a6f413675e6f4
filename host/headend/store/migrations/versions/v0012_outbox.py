"""Indexes for an outbox of a million orders: of one meter, and of what waits for a signature."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ROOT = "aspect in (7, 8, 10, 12)"
_UNSIGNED = "state = 'queued' and signed is null and "


def upgrade() -> None:
    op.create_index("ix_outbox_meter", "outbox", ["meter", "next_s"])
    for name, which in (("ix_order_unsigned", _ROOT.replace("in", "not in")), ("ix_order_for_root", _ROOT)):
        where = sa.text(_UNSIGNED + which)
        op.create_index(name, "order", ["state", "id"], sqlite_where=where, postgresql_where=where)


def downgrade() -> None:
    op.drop_index("ix_order_for_root", "order")
    op.drop_index("ix_order_unsigned", "order")
    op.drop_index("ix_outbox_meter", "outbox")
