"""What is rare in a PostgreSQL schema, as SQL: operators, casts, text search, publications, foreign servers, comments …

Each query gives kind, name, what it belongs to, definition, from the catalogue and the names of `schema_snapshot`.
"""

# ruff: noqa: S608 - what is put into the queries is written here
from __future__ import annotations

from collections.abc import Iterator

_FIRST_OF_USERS = 16384
_OWNER = "'owner ' || pg_get_userbyid({})"
_JSON = "(to_jsonb(c) - ARRAY[{}])::text"
# A dump writes options in the order of their names.
OPTIONS = "(SELECT string_agg(o, ', ' ORDER BY o) FROM unnest({}) AS o)"
_NEXT = "nullif(c.{}::oid, 0)::{}::text"


def _named(prefix: str, column: str, kind: str) -> str:
    return f"'{prefix} ' || {_NEXT.format(column, kind)}"


# Catalogue → what defines a row of it, c.
_DEFINITIONS = {
    "pg_operator": (
        _OWNER.format("c.oprowner"),
        _named("function", "oprcode", "regprocedure"),
        _named("commutator", "oprcom", "regoperator"),
        _named("negator", "oprnegate", "regoperator"),
        _named("restrict", "oprrest", "regproc"),
        _named("join", "oprjoin", "regproc"),
        "CASE WHEN c.oprcanmerge THEN 'merges' END",
        "CASE WHEN c.oprcanhash THEN 'hashes' END",
    ),
    "pg_opclass": (
        _OWNER.format("c.opcowner"),
        "CASE WHEN c.opcdefault THEN 'default' END",
        "'family ' || (SELECT opfname FROM pg_opfamily f WHERE f.oid = c.opcfamily)",
        _named("for", "opcintype", "regtype"),
        _named("stores", "opckeytype", "regtype"),
    ),
    "pg_opfamily": (
        _OWNER.format("c.opfowner"),
        "(SELECT string_agg(concat_ws(' ', amopstrategy, amopopr::regoperator::text, amoppurpose), ', ' "
        "ORDER BY amopstrategy, amopopr::regoperator::text) FROM pg_amop WHERE amopfamily = c.oid)",
        "(SELECT string_agg(concat_ws(' ', amprocnum, amproc::regprocedure::text), ', ' "
        "ORDER BY amprocnum, amproc::regprocedure::text) FROM pg_amproc WHERE amprocfamily = c.oid)",
    ),
    "pg_cast": ("c.castcontext", "c.castmethod", _named("function", "castfunc", "regprocedure")),
    "pg_collation": (
        _OWNER.format("c.collowner"),
        _JSON.format("'oid', 'collname', 'collnamespace', 'collowner', 'collversion'"),
    ),
    "pg_conversion": (
        _OWNER.format("c.conowner"),
        "c.conforencoding",
        "c.contoencoding",
        "c.conproc::text",
        "c.condefault",
    ),
    "pg_am": ("c.amtype", "c.amhandler::text"),
    "pg_language": (
        _OWNER.format("c.lanowner"),
        "c.lanpltrusted",
        "{acl:lanacl:l:lanowner}",
    ),
    "pg_ts_config": (
        _OWNER.format("c.cfgowner"),
        "'parser ' || (SELECT prsname FROM pg_ts_parser p WHERE p.oid = c.cfgparser)",
        "(SELECT string_agg(concat_ws(' ', maptokentype, mapdict::regdictionary::text), ', ' ORDER BY maptokentype, mapseqno) "
        "FROM pg_ts_config_map WHERE mapcfg = c.oid)",
    ),
    "pg_ts_dict": (
        _OWNER.format("c.dictowner"),
        "'template ' || (SELECT tmplname FROM pg_ts_template t WHERE t.oid = c.dicttemplate)",
        "c.dictinitoption",
    ),
    "pg_ts_parser": (_JSON.format("'oid', 'prsname', 'prsnamespace'"),),
    "pg_ts_template": (_JSON.format("'oid', 'tmplname', 'tmplnamespace'"),),
    "pg_transform": (_named("from", "trffromsql", "regprocedure"), _named("to", "trftosql", "regprocedure")),
    "pg_default_acl": ("(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(c.defaclacl) AS a)",),
    "pg_foreign_data_wrapper": (
        _OWNER.format("c.fdwowner"),
        _named("handler", "fdwhandler", "regproc"),
        _named("validator", "fdwvalidator", "regproc"),
        OPTIONS.format("c.fdwoptions"),
        "{acl:fdwacl:F:fdwowner}",
    ),
    "pg_foreign_server": (
        _OWNER.format("c.srvowner"),
        "c.srvtype",
        "c.srvversion",
        OPTIONS.format("c.srvoptions"),
        "{acl:srvacl:S:srvowner}",
    ),
    "pg_publication": (_OWNER.format("c.pubowner"), _JSON.format("'oid', 'pubname', 'pubowner'")),
    "pg_publication_rel": (
        "'where ' || pg_get_expr({prqual}, c.prrelid)",
        "(SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute "
        "WHERE attrelid = c.prrelid AND attnum = ANY({prattrs}::int2[]))",
    ),
}


def rare_objects(server_version: int, default_acl: str) -> Iterator[str]:
    """Yield the queries for this server; `default_acl` is SQL for privileges, with acl, kind and owner to fill in."""
    modern = server_version >= 150000
    for catalogue, parts in _DEFINITIONS.items():
        texts = []
        for part in parts:
            if "{pr" in part and not modern:
                continue
            if part.startswith("{acl:"):
                acl, kind, owner = part.strip("{}").split(":")[1:]
                part = "'privileges ' || " + default_acl.format(acl=f"c.{acl}", kind=kind, owner=f"c.{owner}")
            texts.append(part.replace("{prqual}", "c.prqual").replace("{prattrs}", "c.prattrs"))
        definition = f"concat_ws(' ', {', '.join(texts)})" if texts else "''"
        yield f"""SELECT o.type, o.identity, '', {definition}
            FROM {catalogue} c, pg_identify_object('{catalogue}'::regclass, c.oid, 0) AS o
            WHERE c.oid >= {_FIRST_OF_USERS} AND ('{catalogue}'::regclass, c.oid) NOT IN (TABLE theirs)"""
    if modern:
        yield """SELECT o.type, o.identity, '', ''
            FROM pg_publication_namespace c, pg_identify_object('pg_publication_namespace'::regclass, c.oid, 0) AS o"""
    # Options of a user mapping hold passwords: only whether they are still the same is told.
    yield f"""SELECT 'user mapping', quote_ident(usename) || ' on ' || quote_ident(srvname), '',
            md5({OPTIONS.format("umoptions")})
        FROM pg_user_mappings"""
    yield f"""SELECT 'comment on', o.type || ' ' || o.identity, coalesce((SELECT name FROM rel WHERE rel.oid = d.objoid
            AND d.classoid = 'pg_class'::regclass), ''), d.description
        FROM pg_description d, pg_identify_object(d.classoid, d.objoid, d.objsubid) AS o
        WHERE d.objoid >= {_FIRST_OF_USERS} AND (d.classoid, d.objoid) NOT IN (TABLE theirs)
            AND d.classoid <> 'pg_extension'::regclass
            AND (d.classoid <> 'pg_class'::regclass OR EXISTS (SELECT FROM rel WHERE rel.oid = d.objoid)
                OR EXISTS (SELECT FROM pg_index i JOIN rel ON rel.oid = i.indrelid WHERE i.indexrelid = d.objoid))"""
