"""The schema of a PostgreSQL database, read from its catalogue in one query.

Every thing is told by its kind, its name and what it belongs to, with a definition that is equal when it is the same.
Columns are told by name: where they stand does not matter. Not looked at: rows, how far a sequence has got, whether a
materialized view is filled, security labels, large objects, subscriptions, comments on the database, the secrets of user
mappings (only whether they changed).
"""

# ruff: noqa: S608 - what is put into the query is written here
from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from psycopg import Connection

from orchestrator.engines.postgres.rare_objects import OPTIONS, rare_objects
from orchestrator.errors import SchemaTooLargeError
from orchestrator.model import SchemaObject, SchemaSnapshot

_ACL = "(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest({}) AS a)"
# Where nothing was ever granted the catalogue has NULL, and after a REVOKE the default itself.
_DEFAULT_ACL = _ACL.format("coalesce({acl}, acldefault('{kind}'::\"char\", {owner}))")
# What the session, the database or the role has set must not change how definitions are spelled; and compiling the query
# takes longer than running it.
_SETTINGS = (
    "SET LOCAL search_path TO pg_catalog; SET LOCAL timezone TO 'UTC'; SET LOCAL datestyle TO 'ISO, MDY'; "
    "SET LOCAL intervalstyle TO 'postgres'; SET LOCAL quote_all_identifiers TO off; SET LOCAL bytea_output TO hex; "
    "SET LOCAL extra_float_digits TO 1; SET LOCAL jit TO off"
)
MAX_BYTES = 256 * 2**20
"""About so many bytes of definitions are read: they are held in memory, with as much again while they are compared."""
# What makes a schema large: bodies, comments, views, and the number of columns. The server knows lengths without reading texts.
_SIZE = """SELECT (SELECT coalesce(sum(octet_length(prosrc)), 0) FROM pg_proc WHERE oid >= 16384)
    + (SELECT coalesce(sum(octet_length(description)), 0) FROM pg_description WHERE objoid >= 16384)
    + (SELECT coalesce(sum(pg_column_size(ev_action)), 0) FROM pg_rewrite WHERE oid >= 16384)
    + (SELECT count(*) * 200 FROM pg_attribute WHERE attrelid >= 16384 AND attnum > 0)"""
_TABLESPACE = (
    "CASE WHEN {0}.reltablespace <> 0 THEN 'tablespace ' || "
    "(SELECT spcname FROM pg_tablespace s WHERE s.oid = {0}.reltablespace) END"
)
_TEXTS = (
    # The server spells `x IN ('a', 'b')` on a varchar in one way when it is made, and in another after a dump and restore.
    (re.compile(r"\(\((ARRAY\[(?:'(?:[^']|'')*'::character varying(?:\(\d+\))?(?:, )?)+\])\)::text\[\]\)"), r"(\1)"),
    (re.compile(r"\(('(?:[^']|'')*'::character varying(?:\(\d+\))?)\)::text"), r"\1"),
)

# Schemas of users; what came with an extension, or with something else of which it is a part; and what is left of the
# rest without the bookkeeping.
_WITH = """WITH ns AS (
    SELECT oid, nspname, nspowner, nspacl,
        CASE nspname WHEN 'public' THEN '' ELSE quote_ident(nspname) || '.' END AS prefix
    FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'
), theirs AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e' OR deptype = 'i' AND classid <> 'pg_class'::regclass
), rel AS (
    SELECT c.*, ns.prefix || quote_ident(relname) AS name,
        CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'S' THEN 'sequence'
            WHEN 'f' THEN 'foreign table' WHEN 'c' THEN 'type' ELSE 'table' END AS kind
    FROM pg_class c JOIN ns ON ns.oid = relnamespace
    WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f', 'c') AND ('pg_class'::regclass, c.oid) NOT IN (TABLE theirs)
        AND c.oid NOT IN (SELECT o FROM (SELECT to_regclass(n)::oid AS o FROM unnest(%s::text[]) AS n) AS own
            WHERE o IS NOT NULL)
), typ AS (
    SELECT t.*, ns.prefix || quote_ident(typname) AS name FROM pg_type t JOIN ns ON ns.oid = typnamespace
    WHERE ('pg_type'::regclass, t.oid) NOT IN (TABLE theirs)
), proc AS (
    SELECT p.*, ns.prefix || quote_ident(proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
        CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind
    FROM pg_proc p JOIN ns ON ns.oid = pronamespace
    WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE theirs)
)
"""

# Each gives kind, name, what it belongs to, definition.
_THINGS = (
    # schemas, extensions, settings of the database
    """SELECT 'schema', quote_ident(nspname), '', 'owner ' || pg_get_userbyid(nspowner) FROM ns
    WHERE ('pg_namespace'::regclass, oid) NOT IN (TABLE theirs)""",
    f"""SELECT 'privileges on schema', quote_ident(nspname), quote_ident(nspname),
        {_DEFAULT_ACL.format(acl="nspacl", kind="n", owner="nspowner")} FROM ns
    WHERE ('pg_namespace'::regclass, oid) NOT IN (TABLE theirs)""",
    "SELECT 'extension', extname, '', extversion || ' in ' || extnamespace::regnamespace::text FROM pg_extension",
    """SELECT 'setting', concat_ws(' of ', split_part(setting, '=', 1), pg_get_userbyid(nullif(setrole, 0))), '', setting
    FROM pg_db_role_setting, unnest(setconfig) AS setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())""",
    # tables, views, and what belongs to them
    f"""SELECT kind, name, '', concat_ws(' ', 'owner ' || pg_get_userbyid(relowner),
        CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END, 'of ' || nullif(reloftype, 0)::regtype::text,
        pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid),
        CASE WHEN relispartition THEN 'partition of ' ELSE 'inherits ' END
            || (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno) FROM pg_inherits WHERE inhrelid = oid),
        'using ' || (SELECT amname FROM pg_am WHERE pg_am.oid = relam AND amname <> 'heap'),
        'with ' || array_to_string(reloptions, ', '), {_TABLESPACE.format("rel")},
        'toast with ' || (SELECT array_to_string(reloptions, ', ') FROM pg_class t WHERE t.oid = rel.reltoastrelid),
        'server ' || (SELECT concat_ws(' ', srvname, {OPTIONS.format("ftoptions")}) FROM pg_foreign_table
            JOIN pg_foreign_server s ON s.oid = ftserver WHERE ftrelid = rel.oid),
        'replica identity ' || nullif(relreplident, 'd')::text, (SELECT quote_ident(i.relname) FROM pg_index
            JOIN pg_class i ON i.oid = indexrelid WHERE indrelid = rel.oid AND indisreplident AND relreplident = 'i'),
        CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
        CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
    FROM rel WHERE relkind <> 'S'""",
    """SELECT kind, rel.name, coalesce((SELECT owning.name FROM pg_depend d JOIN rel AS owning ON owning.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.deptype IN ('a', 'i') LIMIT 1), ''),
        concat_ws(' ', 'owner ' || pg_get_userbyid(relowner), CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END,
            format_type(seqtypid, NULL), 'start', seqstart, 'by',
            seqincrement, 'from', seqmin, 'to', seqmax, 'cache', seqcache, CASE WHEN seqcycle THEN 'cycle' END)
    FROM rel JOIN pg_sequence ON seqrelid = rel.oid""",
    f"""SELECT 'privileges on', name, name, CASE relkind
        WHEN 'S' THEN {_DEFAULT_ACL.format(acl="relacl", kind="s", owner="relowner")}
        ELSE {_DEFAULT_ACL.format(acl="relacl", kind="r", owner="relowner")} END
    FROM rel WHERE relkind <> 'c'""",
    f"""SELECT 'column', name || '.' || quote_ident(attname), name, concat_ws(' ', format_type(atttypid, atttypmod),
        CASE WHEN attnotnull THEN 'NOT NULL' END, CASE attgenerated WHEN '' THEN 'DEFAULT'
            ELSE 'GENERATED ' || attgenerated::text END || ' ' || pg_get_expr(adbin, adrelid),
        CASE attidentity WHEN 'a' THEN 'ALWAYS IDENTITY' WHEN 'd' THEN 'IDENTITY' END,
        'COLLATE ' || nullif(attcollation, t.typcollation)::regcollation::text,
        'STORAGE ' || nullif(attstorage, t.typstorage)::text, {{compression}}
        'STATISTICS ' || nullif(attstattarget, -1), attoptions::text,
        CASE WHEN attfdwoptions IS NOT NULL THEN {OPTIONS.format("attfdwoptions")} END,
        'privileges ' || {_ACL.format("attacl")})
    FROM rel JOIN pg_attribute ON attrelid = rel.oid LEFT JOIN pg_type t ON t.oid = atttypid
        LEFT JOIN pg_attrdef ON adrelid = rel.oid AND adnum = attnum
    WHERE relkind IN ('r', 'p', 'f', 'c') AND attnum > 0 AND NOT attisdropped""",
    """SELECT 'column default', name || '.' || quote_ident(attname), name, pg_get_expr(adbin, adrelid)
    FROM rel JOIN pg_attrdef ON adrelid = rel.oid JOIN pg_attribute ON attrelid = rel.oid AND attnum = adnum
    WHERE relkind IN ('v', 'm')""",
    # Two joins: one with a condition for both takes seconds where there are thousands of tables.
    f"""SELECT 'constraint', rel.name || '.' || quote_ident(conname), rel.name, concat_ws(' ', pg_get_constraintdef(c.oid),
        'with ' || array_to_string(i.reloptions, ', '), {_TABLESPACE.format("i")},
        CASE WHEN (SELECT indisclustered FROM pg_index WHERE indexrelid = i.oid) THEN 'clustered on' END)
    FROM pg_constraint c JOIN rel ON rel.oid = conrelid
        LEFT JOIN pg_class i ON i.oid = conindid AND contype IN ('p', 'u', 'x')
    WHERE contype <> 't' AND (contype <> 'n' OR NOT convalidated OR connoinherit)""",
    """SELECT 'constraint', name || '.' || quote_ident(conname), name, pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN typ ON typ.oid = contypid WHERE contype NOT IN ('n', 't')""",
    f"""SELECT 'index', substr(name, 1, length(name) - length(quote_ident(rel.relname))) || quote_ident(i.relname), name,
        concat_ws(' ', pg_get_indexdef(indexrelid), {_TABLESPACE.format("i")}, CASE WHEN NOT indisvalid THEN 'INVALID' END,
            CASE WHEN indisclustered THEN 'clustered on' END,
            CASE WHEN indexprs IS NOT NULL THEN
            (SELECT string_agg(attnum || ' statistics ' || attstattarget, ', ' ORDER BY attnum) FROM pg_attribute
                WHERE attrelid = indexrelid AND attstattarget >= 0) END)
    FROM rel JOIN pg_index ON indrelid = rel.oid JOIN pg_class i ON i.oid = indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))""",
    """SELECT 'trigger', name || '.' || quote_ident(tgname), name, pg_get_triggerdef(t.oid) || ' ' || tgenabled::text
    FROM rel JOIN pg_trigger t ON tgrelid = rel.oid WHERE NOT tgisinternal""",
    """SELECT 'rule', name || '.' || quote_ident(rulename), name, pg_get_ruledef(r.oid) || ' ' || ev_enabled::text
    FROM rel JOIN pg_rewrite r ON ev_class = rel.oid WHERE rulename <> '_RETURN'""",
    """SELECT 'policy', name || '.' || quote_ident(polname), name, concat_ws(' ', polcmd::text, polpermissive::text,
        (SELECT string_agg(pg_get_userbyid(role), ', ' ORDER BY pg_get_userbyid(role)) FROM unnest(polroles) AS role),
        pg_get_expr(polqual, polrelid), 'with check ' || pg_get_expr(polwithcheck, polrelid))
    FROM rel JOIN pg_policy ON polrelid = rel.oid""",
    """SELECT 'statistics', name || '.' || quote_ident(stxname), name,
        concat_ws(' ', pg_get_statisticsobjdef(s.oid), {statistics})
    FROM rel JOIN pg_statistic_ext s ON stxrelid = rel.oid""",
    # functions, types, and the rest
    """SELECT kind, name, '', 'owner ' || pg_get_userbyid(proowner) || ' ' || CASE prokind WHEN 'a' THEN
            (SELECT concat_ws(' ', aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn, aggmtransfn, aggminvtransfn,
                    aggmfinalfn, aggfinalextra, aggmfinalextra, aggfinalmodify, aggmfinalmodify, format_type(aggtranstype, NULL),
                    format_type(nullif(aggmtranstype, 0), NULL), aggtransspace, agginitval, aggminitval,
                    nullif(aggsortop, 0)::regoperator, aggkind, proparallel)
                FROM pg_aggregate WHERE aggfnoid = proc.oid)
        ELSE pg_get_functiondef(oid) END FROM proc""",
    f"""SELECT 'privileges on ' || kind, name, name,
        {_DEFAULT_ACL.format(acl="proacl", kind="f", owner="proowner")} FROM proc""",
    f"""SELECT 'privileges on ' || CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, name, name,
        {_DEFAULT_ACL.format(acl="typacl", kind="T", owner="typowner")} FROM typ
    WHERE typtype IN ('e', 'd', 'r') OR (typtype = 'b' AND typcategory <> 'A')
        OR (typtype = 'c' AND EXISTS (SELECT FROM rel WHERE rel.oid = typrelid AND relkind = 'c'))""",
    """SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, name, '', concat_ws(' ',
        'owner ' || pg_get_userbyid(typowner), CASE typtype
        WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
            FROM pg_enum WHERE enumtypid = typ.oid)
        WHEN 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod), CASE WHEN typnotnull THEN 'NOT NULL' END,
            'COLLATE ' || nullif(typcollation, (SELECT b.typcollation FROM pg_type b
                WHERE b.oid = typ.typbasetype))::regcollation::text, 'DEFAULT ' || typdefault)
        WHEN 'r' THEN (SELECT concat_ws(' ', format_type(rngsubtype, NULL), nullif(rngcollation, 0)::regcollation,
                (SELECT opcname FROM pg_opclass o WHERE o.oid = rngsubopc), nullif(rngcanonical::oid, 0)::regproc,
                nullif(rngsubdiff::oid, 0)::regproc)
            FROM pg_range WHERE rngtypid = typ.oid)
        ELSE typinput::text || ' ' || typoutput::text END)
    FROM typ WHERE typtype IN ('e', 'd', 'r') OR (typtype = 'b' AND typcategory <> 'A')""",
    """SELECT 'event trigger', quote_ident(evtname), '', concat_ws(' ', evtevent, evtfoid::regproc::text, evtenabled::text,
        evttags)
    FROM pg_event_trigger WHERE ('pg_event_trigger'::regclass, oid) NOT IN (TABLE theirs)""",
)


@cache
def _query(server_version: int) -> bytes:
    """Return the query for a server of this version."""
    compression = "'COMPRESSION ' || nullif(attcompression, '')::text," if server_version >= 140000 else ""
    statistics = "'target ' || nullif(stxstattarget, -1)" if server_version >= 130000 else "NULL"
    things = (
        thing.replace("{compression}", compression).replace("{statistics}", statistics)
        for thing in (*_THINGS, *rare_objects(server_version, _DEFAULT_ACL))
    )
    return (_WITH + "\nUNION ALL\n".join(things)).encode()


def _spelled(definition: str) -> str:
    """Return a definition in the one spelling that stays the same after a dump and restore."""
    if "::character varying" in definition:
        for pattern, spelling in _TEXTS:
            definition = pattern.sub(spelling, definition)
    return definition


def schema_snapshot(connection: Connection[Any], bookkeeping: Sequence[str]) -> SchemaSnapshot:
    """Return what is in the database but these tables. SchemaTooLargeError for more than MAX_BYTES, which is not read."""
    with connection.transaction():
        asked = connection.execute(f"{_SETTINGS}; {_SIZE}".encode())
        while asked.nextset():
            pass
        size = int(asked.fetchall()[0][0])
        if size > MAX_BYTES:
            what = f"the schema is too large to be compared: about {size / 2**20:,.0f} MiB, and {MAX_BYTES / 2**20:,.0f} are read"
            raise SchemaTooLargeError(
                what, hint="move data out of the bodies of functions, or use drift: off for this database"
            )
        rows = connection.execute(_query(connection.info.server_version), (list(bookkeeping),)).fetchall()
    return {SchemaObject(kind, name, of): _spelled(definition or "") for kind, name, of, definition in rows}
