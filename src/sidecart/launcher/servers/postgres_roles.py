"""The roles of a PostgreSQL server: each app has a role and a schema of its own (ADR 54).

daprd creates its tables where the search path points. So an app reaches its own tables only, and
also the state of daprd's migrations is its own. Row-level security would leave that state shared.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable, Mapping

import psycopg
from psycopg import sql

SALT_BYTES, ITERATIONS = 16, 4096
"""As PostgreSQL does it. Random passwords need no more iterations."""
FORMER = "public"
"""The schema that held the records of all apps up to version 2 of the data."""
TABLES = ("state", "dapr_metadata")
"""The tables of daprd's component, under their default names."""

METADATA_TABLE = "CREATE TABLE IF NOT EXISTS {}dapr_metadata (key text NOT NULL PRIMARY KEY, value text NOT NULL)"
"""As daprd creates it, under its default name."""


def create_roles(connection: psycopg.Connection, logins: Mapping[str, str], app_ids: Iterable[str]) -> None:
    """Create the missing roles and schemas, set the passwords, and move records of version 2."""
    connection.execute(sql.SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC"))
    found = connection.execute("SELECT rolname FROM pg_roles").fetchall()
    existing = {str(name) for (name,) in found}
    for app_id in app_ids:
        verb = "ALTER" if app_id in existing else "CREATE"
        for statement in role_statements(app_id, scram(logins[app_id]), verb):
            connection.execute(statement)
        _move_records(connection, app_id)
        connection.execute(metadata_table(app_id))


def role_statements(app_id: str, password: str, verb: str = "CREATE") -> list[sql.Composed]:
    """Return the statements that create a role with its schema; the password may be encrypted."""
    app = sql.Identifier(app_id)
    return [
        sql.SQL(f"{verb} ROLE {{}} LOGIN PASSWORD {{}}").format(app, sql.Literal(password)),
        sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(app, app),
        sql.SQL("ALTER ROLE {} SET search_path = {}").format(app, app),
    ]


def repeatable(administrator: str, passwords: Mapping[str, str]) -> str:
    """Return statements for psql that may run again, one a line; they set every password.

    No statement that fails is logged, because it contains a password.
    """
    create = "DO $$BEGIN CREATE ROLE {}; EXCEPTION WHEN duplicate_object THEN NULL; END$$"
    statements: list[sql.Composable] = [
        sql.SQL("SET log_min_error_statement = panic"),
        sql.SQL("REVOKE ALL ON SCHEMA public FROM PUBLIC"),
        sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(administrator), passwords[administrator]),
    ]
    for app_id in (each for each in passwords if each != administrator):
        statements.append(sql.SQL(create).format(sql.Identifier(app_id)))
        statements += [*role_statements(app_id, passwords[app_id], "ALTER"), metadata_table(app_id)]
    return "".join(f"{each.as_string()};\n" for each in statements)


def metadata_table(app_id: str) -> sql.Composed:
    """Return the statements that create the table which daprd creates first.

    Two sidecars of one app that create it at the same moment fail (see `prepare` in postgres.py).
    """
    create = METADATA_TABLE.format("{app}.") + "; ALTER TABLE {app}.dapr_metadata OWNER TO {app}"
    return sql.SQL(create).format(app=sql.Identifier(app_id))


def scram(password: str) -> str:
    """Return the hash that the server stores (RFC 5803), so that no log has the password."""
    salt = secrets.token_bytes(SALT_BYTES)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    parts = (base64.b64encode(each).decode() for each in (salt, stored, hmac.digest(salted, b"Server Key", "sha256")))
    return "SCRAM-SHA-256${}:{}${}:{}".format(ITERATIONS, *parts)


def _move_records(connection: psycopg.Connection, app_id: str) -> None:
    """Move an app's records from the former schema, with the state of daprd's migrations."""
    if not _exists(connection, FORMER, "state") or _exists(connection, app_id, "state"):
        return
    for table in TABLES:
        _run(connection, f"CREATE TABLE {{app}}.{table} (LIKE public.{table} INCLUDING ALL)", app_id)
        _run(connection, f"ALTER TABLE {{app}}.{table} OWNER TO {{app}}", app_id)
    _run(connection, "INSERT INTO {app}.dapr_metadata SELECT * FROM public.dapr_metadata", app_id)
    _run(
        connection,
        "WITH moved AS (DELETE FROM public.state WHERE starts_with(key, {prefix}) RETURNING *)"
        " INSERT INTO {app}.state SELECT * FROM moved",
        app_id,
    )
    _run(
        connection,
        "SELECT setval(pg_get_serial_sequence({table}, 'row_id'), coalesce(max(row_id), 0) + 1, false)"
        " FROM {app}.state",
        app_id,
    )


def _exists(connection: psycopg.Connection, schema: str, table: str) -> bool:
    query = "SELECT 1 FROM pg_tables WHERE schemaname = %s AND tablename = %s"
    return connection.execute(query, (schema, table)).fetchone() is not None


def _run(connection: psycopg.Connection, statement: str, app_id: str) -> None:
    app = sql.Identifier(app_id)
    table = sql.Literal(sql.Identifier(app_id, "state").as_string(connection))
    connection.execute(sql.SQL(statement).format(app=app, prefix=sql.Literal(f"{app_id}||"), table=table))
