"""All tables of the database: `metadata` is whole once this file is loaded. A new file of tables is listed here."""

from headend.store import (  # noqa: F401 - loading them is what counts
    schema,
    schema_access,
    schema_audit,
    schema_books,
    schema_campaign,
    schema_collection,
    schema_configuration,
    schema_firmware,
    schema_fleet,
    schema_gate,
    schema_money,
    schema_people,
    schema_quality,
    schema_readings,
    schema_refunds,
    schema_registry,
    schema_workers,
)
from headend.store.columns import metadata

__all__ = ["metadata"]
