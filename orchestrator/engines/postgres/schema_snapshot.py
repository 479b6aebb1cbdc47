"""The schema of a PostgreSQL database, read from its catalogue in one query.

Every thing is told by its kind, its name and what it belongs to, with a definition that is equal when it is the same.
Columns are told by name: where they stand does not matter. Not looked at: rows, how far a sequence has got, comments,
security labels, statistics targets. Of what is rare (operators, casts, text search …) only the name is compared.
"""

# ruff: noqa: S608 - what is put into the query is written here
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection

from orchestrator.model import SchemaObject, SchemaSnapshot

_ACL = "(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest({}) AS a)"
# Where nothing was ever granted the catalogue has NULL, and after a REVOKE the default itself.
_DEFAULT_ACL = _ACL.format("coalesce({acl}, acldefault('{kind}'::\"char\", {owner}))")
_RARE = (
    *("pg_operator", "pg_opclass", "pg_opfamily", "pg_cast", "pg_collation", "pg_conversion", "pg_am", "pg_language"),
    *("pg_ts_config", "pg_ts_dict", "pg_ts_parser", "pg_ts_template", "pg_transform", "pg_default_acl"),
    *("pg_foreign_data_wrapper", "pg_foreign_server", "pg_publication", "pg_publication_rel"),
)
_FIRST_OF_USERS = 16384

# Schemas of users; what came with an extension, or with something else of which it is a part; and what is left of the
# rest without the bookkeeping.
_WITH = f"""WITH ns AS (
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
        AND c.oid <> ALL (array_remove(ARRAY[to_regclass(%s)::oid, to_regclass(%s)::oid], NULL))
), typ AS (
    SELECT t.*, ns.prefix || quote_ident(typname) AS name FROM pg_type t JOIN ns ON ns.oid = typnamespace
    WHERE ('pg_type'::regclass, t.oid) NOT IN (TABLE theirs)
), proc AS (
    SELECT p.*, ns.prefix || quote_ident(proname) || '(' || pg_get_function_identity_arguments(p.oid) || ')' AS name,
        CASE prokind WHEN 'p' THEN 'procedure' WHEN 'a' THEN 'aggregate' ELSE 'function' END AS kind
    FROM pg_proc p JOIN ns ON ns.oid = pronamespace
    WHERE ('pg_proc'::regclass, p.oid) NOT IN (TABLE theirs)
), rare (catalogue, oid) AS (
    {" UNION ALL ".join(f"SELECT '{name}'::regclass, oid FROM {name}" for name in _RARE)}
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
    """SELECT kind, name, '', concat_ws(' ', 'owner ' || pg_get_userbyid(relowner),
        CASE relpersistence WHEN 'u' THEN 'UNLOGGED' END, pg_get_partkeydef(oid), pg_get_expr(relpartbound, oid),
        'inherits ' || (SELECT string_agg(inhparent::regclass::text, ', ' ORDER BY inhseqno)
            FROM pg_inherits WHERE inhrelid = oid),
        'with ' || array_to_string(reloptions, ', '), 'replica identity ' || nullif(relreplident, 'd')::text,
        CASE WHEN relrowsecurity THEN 'row security' END, CASE WHEN relforcerowsecurity THEN 'forced' END,
        CASE WHEN relkind IN ('v', 'm') THEN pg_get_viewdef(oid) END)
    FROM rel WHERE relkind <> 'S'""",
    """SELECT kind, rel.name, coalesce((SELECT owning.name FROM pg_depend d JOIN rel AS owning ON owning.oid = d.refobjid
            WHERE d.classid = 'pg_class'::regclass AND d.objid = rel.oid AND d.deptype IN ('a', 'i') LIMIT 1), ''),
        concat_ws(' ', 'owner ' || pg_get_userbyid(relowner), format_type(seqtypid, NULL), 'start', seqstart, 'by',
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
        'COLLATE ' || nullif(attcollation, (SELECT typcollation FROM pg_type t WHERE t.oid = atttypid))::regcollation::text,
        'privileges ' || {_ACL.format("attacl")})
    FROM rel JOIN pg_attribute ON attrelid = rel.oid LEFT JOIN pg_attrdef ON adrelid = rel.oid AND adnum = attnum
    WHERE relkind IN ('r', 'p', 'f', 'c') AND attnum > 0 AND NOT attisdropped""",
    """SELECT 'constraint', name || '.' || quote_ident(conname), name, pg_get_constraintdef(c.oid)
    FROM pg_constraint c JOIN (SELECT oid, name, true AS of_table FROM rel UNION ALL SELECT oid, name, false FROM typ) AS o
        ON CASE WHEN of_table THEN conrelid ELSE contypid END = o.oid WHERE contype NOT IN ('n', 't')""",
    """SELECT 'index', substr(name, 1, length(name) - length(quote_ident(rel.relname))) || quote_ident(i.relname), name,
        pg_get_indexdef(indexrelid) || CASE WHEN indisvalid THEN '' ELSE ' INVALID' END
    FROM rel JOIN pg_index ON indrelid = rel.oid JOIN pg_class i ON i.oid = indexrelid
    WHERE NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))""",
    """SELECT 'trigger', name || '.' || quote_ident(tgname), name, pg_get_triggerdef(t.oid) || ' ' || tgenabled::text
    FROM rel JOIN pg_trigger t ON tgrelid = rel.oid WHERE NOT tgisinternal""",
    """SELECT 'rule', name || '.' || quote_ident(rulename), name, pg_get_ruledef(r.oid) || ' ' || ev_enabled::text
    FROM rel JOIN pg_rewrite r ON ev_class = rel.oid WHERE rulename <> '_RETURN'""",
    """SELECT 'policy', name || '.' || quote_ident(polname), name, concat_ws(' ', polcmd::text, polpermissive::text,
        (SELECT string_agg(pg_get_userbyid(role), ', ') FROM unnest(polroles) AS role),
        pg_get_expr(polqual, polrelid), 'with check ' || pg_get_expr(polwithcheck, polrelid))
    FROM rel JOIN pg_policy ON polrelid = rel.oid""",
    """SELECT 'statistics', name || '.' || quote_ident(stxname), name, pg_get_statisticsobjdef(s.oid)
    FROM rel JOIN pg_statistic_ext s ON stxrelid = rel.oid""",
    # functions, types, and the rest
    """SELECT kind, name, '', 'owner ' || pg_get_userbyid(proowner) || ' ' || CASE prokind WHEN 'a' THEN
            (SELECT concat_ws(' ', aggtransfn, aggfinalfn, format_type(aggtranstype, NULL), agginitval)
                FROM pg_aggregate WHERE aggfnoid = proc.oid)
        ELSE pg_get_functiondef(oid) END FROM proc""",
    f"""SELECT 'privileges on ' || kind, name, name,
        {_DEFAULT_ACL.format(acl="proacl", kind="f", owner="proowner")} FROM proc""",
    """SELECT CASE typtype WHEN 'd' THEN 'domain' ELSE 'type' END, name, '', concat_ws(' ',
        'owner ' || pg_get_userbyid(typowner), CASE typtype
        WHEN 'e' THEN (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder)
            FROM pg_enum WHERE enumtypid = typ.oid)
        WHEN 'd' THEN concat_ws(' ', format_type(typbasetype, typtypmod), CASE WHEN typnotnull THEN 'NOT NULL' END,
            'DEFAULT ' || typdefault)
        WHEN 'r' THEN (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = typ.oid)
        ELSE typinput::text || ' ' || typoutput::text END)
    FROM typ WHERE typtype IN ('e', 'd', 'r') OR (typtype = 'b' AND typcategory <> 'A')""",
    """SELECT 'event trigger', quote_ident(evtname), '', concat_ws(' ', evtevent, evtfoid::regproc::text, evtenabled::text,
        evttags)
    FROM pg_event_trigger WHERE ('pg_event_trigger'::regclass, oid) NOT IN (TABLE theirs)""",
    f"""SELECT o.type, o.identity, '', '' FROM rare, pg_identify_object(catalogue, rare.oid, 0) AS o
    WHERE rare.oid >= {_FIRST_OF_USERS} AND (catalogue, rare.oid) NOT IN (TABLE theirs)""",
)
_QUERY = _WITH + "\nUNION ALL\n".join(_THINGS)


def schema_snapshot(connection: Connection[Any], bookkeeping: Sequence[str]) -> SchemaSnapshot:
    """Return what is in the database but these two tables."""
    with connection.transaction():
        connection.execute("SET LOCAL search_path TO pg_catalog")  # so that definitions name schemas, always alike
        rows = connection.execute(_QUERY.encode(), bookkeeping).fetchall()
    return {SchemaObject(kind, name, of): definition or "" for kind, name, of, definition in rows}
