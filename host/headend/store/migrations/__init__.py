"""The history of the schema, for Alembic. A released migration is never changed; `schema.py` is where it leads."""
