#!/bin/sh
# The interface of the official image of PostgreSQL: it creates a database in an empty folder, runs
# the files in /docker-entrypoint-initdb.d, and then starts the server.
set -eu
umask 077
PGDATA=${PGDATA:-/var/lib/postgresql/data}
POSTGRES_USER=${POSTGRES_USER:-postgres}
POSTGRES_DB=${POSTGRES_DB:-$POSTGRES_USER}
export PGDATA
if [ "$(id -u)" = 0 ]; then
    mkdir -p "$PGDATA" /var/run/postgresql
    chown -R 999:999 "$PGDATA" /var/run/postgresql
    exec setpriv --reuid 999 --regid 999 --clear-groups "$0" "$@"
fi
if ! [ -s "$PGDATA/PG_VERSION" ]; then
    : "${POSTGRES_PASSWORD:?is needed to create the database}"
    mkdir -p "$PGDATA"
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    # shellcheck disable=SC2086 # each option is a separate word
    initdb --username "$POSTGRES_USER" --pwfile /tmp/password ${POSTGRES_INITDB_ARGS-}
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=''" start
    export PGPASSWORD="$POSTGRES_PASSWORD"
    run() { psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password -q -U "$POSTGRES_USER" "$@"; }
    [ "$POSTGRES_DB" = postgres ] || run -d postgres -c "CREATE DATABASE \"$POSTGRES_DB\""
    for file in /docker-entrypoint-initdb.d/*.sql; do
        [ ! -e "$file" ] || run -d "$POSTGRES_DB" -f "$file"
    done
    pg_ctl -D "$PGDATA" -m fast -w stop
    unset PGPASSWORD
fi
exec "$@"
