"""The grid and of what hangs on it: substations down to supply points, meter types, placements of meters."""

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
