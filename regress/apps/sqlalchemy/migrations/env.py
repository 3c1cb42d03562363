"""How Alembic runs the migrations of this application."""

from alembic import context
from alembic.ddl.postgresql import PostgresqlImpl
from schema import Base, engine, placed


class Impl(PostgresqlImpl):
    """The table of versions has the same row on every node."""

    __dialect__ = "postgresql"

    def version_table_impl(self, **options):
        table = super().version_table_impl(**options)
        table.info.update(placed("replicated")["info"])
        return table


with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
