"""Steps of migrations that make tables sharded or replicated, where shardman is."""

from django.db.migrations.operations.base import Operation


def has_shardman(connection):
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regnamespace('shardman') IS NOT NULL")
        return cursor.fetchone()[0]


def replicate(connection, tables):
    """Has the same rows on every node from now on."""
    if has_shardman(connection):
        with connection.cursor() as cursor:
            for table in tables:
                cursor.execute("SELECT shardman.replicate_table(%s::regclass)", [table])


class Step(Operation):
    """A step that leaves the models as they are. DROP TABLE needs none to undo it."""

    reversible = True
    atomic = True

    def state_forwards(self, app_label, state):
        pass

    def database_backwards(self, app_label, schema_editor, from_state, to_state):
        pass


class Distribute(Step):
    """Rows of a table lie where one of its columns says."""

    def __init__(self, table, column, with_table=None):
        self.table, self.column, self.with_table = table, column, with_table

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        if not has_shardman(schema_editor.connection):
            return
        with schema_editor.connection.cursor() as cursor:
            cursor.execute(
                "SELECT shardman.distribute_table(%s::regclass, %s, %s, %s)",
                [self.table, self.column, None if self.with_table else 6, self.with_table],
            )


class Replicate(Step):
    """Every node has all rows."""

    def __init__(self, *tables):
        self.tables = tables

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        replicate(schema_editor.connection, self.tables)
