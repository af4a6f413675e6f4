"""Run by Alembic: migrates on the connection, and inside the transaction, that `headend.store.migrate` opened."""

from alembic import context

from headend.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
