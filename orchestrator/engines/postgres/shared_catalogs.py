"""SQL that notices, in the transaction of a file that runs in a copy, what it changed for all databases of the server.

What a file names is refused before anything runs (`reach`). What its dynamic SQL does is known only when it has run; but
roles and settings of databases stand in tables that PostgreSQL's own statistics of a transaction count.
"""

from __future__ import annotations

import os

from orchestrator.engines.postgres.errors import BEYOND, marker

_BEFORE = f"orch.before_{os.urandom(8).hex()}"  # no file can know this setting's name
_ALL = ("inserted", "updated", "deleted")
# New roles and memberships are told of before a copy runs. That a role is changed or goes is none of a copy's business.
_NEVER = {
    "pg_authid": ("updated", "deleted"),
    "pg_auth_members": ("deleted",),
    "pg_tablespace": _ALL,
    "pg_subscription": _ALL,
    "pg_parameter_acl": _ALL,
    "pg_replication_origin": _ALL,
    "pg_shseclabel": _ALL,
}
_ITS_OWN = ("pg_database", "pg_db_role_setting", "pg_shdescription")  # a database may change what these say of itself


def _changes(catalog: str, kinds: tuple[str, ...]) -> str:
    relation = f"pg_catalog.to_regclass('pg_catalog.{catalog}')"  # older servers do not have all of them
    return " + ".join(f"coalesce(pg_catalog.pg_stat_get_xact_tuples_{kind}({relation}), 0)" for kind in kinds)


_OWN = "(SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
_OWN_ROWS = f"""(SELECT pg_catalog.string_agg(place, ' ' ORDER BY place) FROM (
    SELECT 'd' || ctid::text AS place FROM pg_catalog.pg_database WHERE oid = {_OWN}
    UNION ALL SELECT 's' || ctid::text FROM pg_catalog.pg_db_role_setting WHERE setdatabase = {_OWN}
    UNION ALL SELECT 'c' || ctid::text FROM pg_catalog.pg_shdescription
    WHERE objoid = {_OWN} AND classoid = 'pg_catalog.pg_database'::pg_catalog.regclass) AS own)"""  # noqa: S608 - ours
_STATE = (
    f"ARRAY[({' + '.join(_changes(catalog, kinds) for catalog, kinds in _NEVER.items())})::text, "
    f"({' + '.join(_changes(catalog, _ALL) for catalog in _ITS_OWN)})::text, {_OWN_ROWS}]"
)
REMEMBER = f"BEGIN; SELECT pg_catalog.set_config('{_BEFORE}', {_STATE}::text, false); COMMIT; "
"""Stands before the transaction of a file. What the statistics count then is of earlier ones."""
# Rows of other databases that this transaction wrote: it may have changed those of its own beside them.
_MINE = "xmin::text = (pg_catalog.txid_current_if_assigned() % 4294967296)::text"
_OTHERS = f"""(EXISTS (SELECT FROM pg_catalog.pg_database WHERE oid <> {_OWN} AND {_MINE})
    OR EXISTS (SELECT FROM pg_catalog.pg_db_role_setting WHERE setdatabase <> {_OWN} AND {_MINE})
    OR EXISTS (SELECT FROM pg_catalog.pg_shdescription WHERE {_MINE}
        AND NOT (objoid = {_OWN} AND classoid = 'pg_catalog.pg_database'::pg_catalog.regclass)))"""  # noqa: S608 - ours
_UNTOUCHED = f"""(SELECT ({_OTHERS} OR now[1]::bigint > was[1]::bigint
        OR (now[2]::bigint > was[2]::bigint AND now[3] = was[3])) IS NOT TRUE
    FROM (SELECT {_STATE} AS now, nullif(pg_catalog.current_setting('{_BEFORE}', true), '')::text[] AS was) AS seen)"""  # noqa: S608
UNTOUCHED = ((_UNTOUCHED, marker(BEYOND)),)
"""Conditions that hold behind the statements of a file if they have changed nothing that all databases share."""
