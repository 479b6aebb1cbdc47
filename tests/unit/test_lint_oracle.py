"""Our reader of statements against PostgreSQL's own parser (libpg_query, by postgast): both must find the same facts."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from lint_corpus import ESTATE, POSTGRES

from orchestrator.analysis.facts import Column, Fact
from orchestrator.analysis.statements import read_statement
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.model import File

postgast = pytest.importorskip("postgast")
json_format = pytest.importorskip("google.protobuf.json_format")
DATA = Path(__file__).with_name("data")
ACTIONS = {
    "AT_AddColumn": "add column",
    "AT_DropColumn": "drop column",
    "AT_AlterColumnType": "type",
    "AT_AddConstraint": "add constraint",
    "AT_DropConstraint": "drop constraint",
    "AT_ValidateConstraint": "validate",
    "AT_SetNotNull": "set not null",
    "AT_DropNotNull": "drop not null",
    "AT_AttachPartition": "attach",
    "AT_DetachPartition": "detach",
    "AT_SetLogged": "set logged",
    "AT_SetUnLogged": "set logged",
    "AT_SetTableSpace": "set tablespace",
    "AT_SetExpression": "set expression",
    "AT_AlterConstraint": "alter constraint",
}
DROPS = {
    "OBJECT_TABLE": "drop table",
    "OBJECT_VIEW": "drop view",
    "OBJECT_MATVIEW": "drop materialized view",
    "OBJECT_INDEX": "drop index",
    "OBJECT_SCHEMA": "drop schema",
    "OBJECT_TYPE": "drop type",
    "OBJECT_DOMAIN": "drop domain",
    "OBJECT_SEQUENCE": "drop sequence",
}
KINDS = {
    "CONSTR_FOREIGN": "foreign key",
    "CONSTR_CHECK": "check",
    "CONSTR_UNIQUE": "unique",
    "CONSTR_PRIMARY": "primary key",
    "CONSTR_EXCLUSION": "exclude",
    "CONSTR_NOTNULL": "not null",
}


def plain(name: str) -> str:
    """Return a name of ours without its quotes and with the schema that we leave out."""
    return name.removeprefix("public.").replace('"', "")


def of_relation(relation: dict[str, Any]) -> str:
    schema = relation.get("schemaname", "public")
    return plain(f"{schema}.{relation['relname']}" if schema != "public" else relation["relname"])


def of_constraint(one: dict[str, Any]) -> tuple[Any, ...]:
    references = of_relation(one["pktable"]) if "pktable" in one else ""
    checked = one["contype"] in ("CONSTR_FOREIGN", "CONSTR_CHECK")  # only these can be unenforced
    valid = not one.get("skip_validation", False) and (one.get("is_enforced", False) or not checked)
    return ("constraint", KINDS[one["contype"]], one.get("conname", ""), references, valid, one.get("indexname", ""))


def of_column(one: dict[str, Any]) -> tuple[Any, ...]:
    own = [each["constraint"] for each in one.get("constraints", ())]
    kinds = {each["contype"] for each in own}
    typed = one.get("type_name", {})
    serial = any("serial" in part["string"]["sval"] for part in typed.get("names", ()))
    not_null = bool(kinds & {"CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY"}) or serial
    array = "array_bounds" in typed
    named = sorted(KINDS[each["contype"]] for each in own if KINDS.get(each["contype"], "not null") != "not null")
    return (one["colname"], not_null, "CONSTR_DEFAULT" in kinds, "CONSTR_IDENTITY" in kinds, array, tuple(named))


def ours_of_column(column: Column) -> tuple[Any, ...]:
    named = sorted(one.kind for one in column.constraints)
    return (
        plain(column.name),
        column.not_null,
        bool(column.default),
        column.identity,
        column.type.array,
        tuple(named),
    )


def facts_of_parser(source: str) -> list[tuple[Any, ...]]:
    """Return what the parser finds in a statement, of what the rules ask for."""
    (statement,) = json_format.MessageToDict(postgast.parse(source), preserving_proto_field_name=True)["stmts"]
    ((kind, tree),) = statement["stmt"].items()
    if kind == "create_stmt" and "partbound" not in tree and "inh_relations" not in tree:
        elements = tree.get("table_elts", ())
        columns = tuple(of_column(one["column_def"]) for one in elements if "column_def" in one)
        constraints = tuple(of_constraint(one["constraint"]) for one in elements if "constraint" in one)
        return [("create table", of_relation(tree["relation"]), columns, constraints)]
    if kind == "index_stmt":
        name = tree.get("idxname", "")
        return [("create index", of_relation(tree["relation"]), name, "concurrent" in tree, "unique" in tree)]
    if kind == "drop_stmt" and tree["remove_type"] in DROPS:
        parts = [one.get("list", {"items": [one]})["items"] for one in tree["objects"]]
        parts = [one[0].get("type_name", {"names": one})["names"] for one in parts]
        names = tuple(plain(".".join(part["string"]["sval"] for part in one)) for one in parts)
        return [(DROPS[tree["remove_type"]], names, tree["behavior"] == "DROP_CASCADE", "concurrent" in tree)]
    if kind in ("update_stmt", "delete_stmt"):
        return [(kind.removesuffix("_stmt"), of_relation(tree["relation"]))]
    if kind == "alter_table_stmt" and tree["objtype"] == "OBJECT_TABLE":
        table = of_relation(tree["relation"])
        found: list[tuple[Any, ...]] = []
        for command in (one["alter_table_cmd"] for one in tree["cmds"]):
            what = ACTIONS.get(command["subtype"])
            if what in ("add column", "add constraint"):
                ((_, inner),) = command["def"].items()
                read = of_column(inner) if what == "add column" else of_constraint(inner)
                found.append((what, table, read))
            elif what in ("attach", "detach"):
                found.append((what, table, of_relation(command["def"]["partition_cmd"]["name"])))
            elif what == "alter constraint":
                found.append((what, table, command["def"]["atalter_constraint"]["conname"]))
            elif what:
                found.append((what, table, plain(command.get("name", ""))))
        return found
    return []


def ours(fact: Fact) -> tuple[Any, ...]:
    """Return a fact of ours as `facts_of_parser` has it."""
    what, table = fact.what, plain(fact.table)

    def constraint(one: Any) -> tuple[Any, ...]:
        return ("constraint", one.kind, plain(one.name), plain(one.references), one.valid, plain(one.index))

    if what == "create table":
        columns = tuple(map(ours_of_column, fact.columns))
        return (what, table, columns, tuple(map(constraint, fact.constraints)))
    if what == "create index":
        return (what, table, plain(fact.name), "concurrently" in fact.flags, "unique" in fact.flags)
    if what in DROPS.values():
        return (what, tuple(map(plain, fact.others)), "cascade" in fact.flags, "concurrently" in fact.flags)
    if what in ("update", "delete"):
        return (what, table)
    if what == "add column" and fact.column:
        return (what, table, ours_of_column(fact.column))
    if what == "add constraint":
        return (what, table, constraint(fact.constraint))
    return (what, table, "" if what == "set logged" else plain(fact.name))


def statements() -> list[str]:
    texts = [ESTATE, *(text for case in POSTGRES for text in [*case.past, *case.plan])]
    rows = csv.DictReader((DATA / "locks_postgres.csv").open(newline=""))
    texts += [(DATA / "truth_setup.sql").read_text(), *(row["statement"] for row in rows)]
    found: dict[str, None] = {}
    for text in texts:
        script = parse_sql(File("f", Path("f"), ""), text)
        for one in script.statements:
            parts = parse_sql(File("f", Path("f"), ""), one.source).statements if one.block else (one,)
            found |= {part.source: None for part in parts}
    return list(found)


def test_our_reader_finds_what_the_parser_of_postgresql_finds() -> None:
    compared, different = 0, []
    for source in statements():
        expected = facts_of_parser(source)
        kinds = {fact[0] for fact in expected}
        found = [ours(fact) for fact in read_statement(source) if fact.what in kinds]
        compared += bool(expected)
        if expected and found != expected:
            different.append(f"{source}\n  ours   {found}\n  parser {expected}")
    assert not different, "\n".join(different)
    assert compared > 300
