"""What was found wrong with readings, what stands in for missing ones, and visits to meters nobody hears."""

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
