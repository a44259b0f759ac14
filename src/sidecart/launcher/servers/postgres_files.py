"""The statements that make PostgreSQL drop removed data, and a reader of all of its tables."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
from psycopg import sql

STATEMENTS = (
    "VACUUM (FULL, ANALYZE)",
    "VACUUM FULL",
    """\
DO $$ BEGIN
  FOR segment IN 0 .. (SELECT count(*) FROM pg_ls_waldir()) LOOP
    PERFORM pg_switch_wal();
    CHECKPOINT;
  END LOOP;
END $$""",
)
"""docs/how-to/erase-from-files.md has the same ones, for a server that you run, and their reasons.

The server executes one without parameters as it is.
"""


def drop_removed_bytes(connection: psycopg.Connection) -> None:
    """Rewrite the tables, the statistics and the write-ahead log, outside a transaction."""
    for statement in STATEMENTS:
        connection.execute(statement.encode())


def contents(connection: psycopg.Connection) -> Iterator[tuple[str, bytes]]:
    """Yield each table, also those of the catalog, such as the statistics of the columns.

    The files alone do not tell: the server compresses long values.
    """
    query = (
        "SELECT nspname, relname FROM pg_class JOIN pg_namespace s ON s.oid = relnamespace "
        "WHERE relkind IN ('r', 'm') ORDER BY 1, 2"
    )
    for schema, table in connection.execute(query).fetchall():
        rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(schema, table))
        content = "\n".join(str(row) for (row,) in connection.execute(rows))
        yield f"table {schema}.{table}", content.encode()
    activity = connection.execute("SELECT query FROM pg_stat_activity").fetchall()
    yield "table pg_stat_activity", repr(activity).encode()
