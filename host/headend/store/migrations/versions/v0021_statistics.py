"""PostgreSQL counts the hours of arrival anew whenever there is another one.

Whoever reads a meter's records goes from these hours to what came in them. Until it has counted, PostgreSQL takes a
table for one of 2 550 rows, and reads all records that came lately instead of looking a few up; and a table of so few
rows as this one has it would count after days.
"""

from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

_OPTIONS = {"autovacuum_analyze_threshold": 0, "autovacuum_analyze_scale_factor": 0}


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE reading_hour SET ({', '.join(f'{name} = {to}' for name, to in _OPTIONS.items())})")
        op.execute("ANALYZE reading_hour")


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER TABLE reading_hour RESET ({', '.join(_OPTIONS)})")
