"""Fleets in the manifest: where members come from, what may stand in their templates, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from manifests import HEAD, one, problems, read

from orchestrator.engines.checks import text_of
from orchestrator.errors import InvalidError
from orchestrator.manifest import load
from orchestrator.manifest.dsn import check_distinct, resolve, resolve_all
from orchestrator.manifest.for_each import MAX_MEMBERS, Answer
from orchestrator.manifest.names import select
from orchestrator.manifest.redact import Redactor

MEMBER = '  - {name: "tenant_{tenant}", server: pg, migrations: m, for_each: '


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def names(for_each: str) -> list[str]:
    return [database.name for database in read(f"{HEAD}{MEMBER}{for_each}}}\n").databases]


def test_members_come_from_values_ranges_and_files() -> None:
    Path("t.txt").write_text("\ufeffacme\n\n# not this one\n  globex  \r\nบริษัท\n", encoding="utf-8")
    Path("t.csv").write_text('slug,region\r\nacme,eu\r\n"glo""bex", us\r\n\r\n"#7",us\r\n')
    Path("t.json").write_text('[\n  {"slug": "acme", "n": 1},\n\t{"n": 2, "slug": "globex"}\n]\n')
    Path("plain.json").write_text('["acme", 7]')
    assert names("{values: [acme, 7]}") == ["tenant_acme", "tenant_7"]
    assert names("{range: 9..11}") == ["tenant_9", "tenant_10", "tenant_11"]
    assert names("{range: 009..011}") == ["tenant_009", "tenant_010", "tenant_011"]
    assert names("{file: t.txt}") == ["tenant_acme", "tenant_globex", "tenant_บริษัท"]
    assert names("{file: t.csv, column: slug}") == ["tenant_acme", 'tenant_glo"bex', "tenant_#7"]
    assert names("{file: t.json, column: slug}") == ["tenant_acme", "tenant_globex"]
    assert names("{file: plain.json}") == ["tenant_acme", "tenant_7"]
    assert names("{values: []}") == []


def test_columns_stand_in_every_template() -> None:
    Path("t.csv").write_text("slug,region,shard\nacme,eu,1\nglobex,us,2\n")
    manifest = read(
        "version: 1\nservers:\n"
        '  pg1: {engine: postgres, dsn: "postgres://h1/{database}"}\n'
        '  pg2: {engine: postgres, dsn: "postgres://h2/{database}", lock_timeout: 3s}\n'
        "databases:\n"
        "  - {name: core, server: pg1}\n"
        '  - name: "tenant_{tenant}"\n'
        '    server: "pg{shard}"\n'
        '    database: "${PREFIX}_{tenant}"\n'
        '    labels: ["region-{region}", paying]\n'
        '    create: {owner: "owner_{tenant}"}\n'
        "    for_each: {file: t.csv, column: slug}\n"
        "    migrations: m\n"
        "    depends_on: [core]\n"
        '  - {name: "log_{tenant}", engine: postgres, dsn: "postgres://{region}.db/{database}?options=-csearch_path={tenant}",\n'
        '     migrations: m, for_each: {file: t.csv, column: slug}, depends_on: ["tenant_{tenant}"]}\n'
    )
    acme, globex, log = (
        manifest.database(f"postgres-{name}") for name in ("tenant_acme", "tenant_globex", "log_globex")
    )
    assert (acme.server, globex.server, globex.settings.lock_timeout) == ("pg1", "pg2", 3.0)
    assert list(acme.labels) == ["region-eu", "paying"]
    assert globex.create.owner == "owner_globex"
    assert log.depends_on == ("postgres-tenant_globex",)
    assert (acme.depends_on, acme.member, str(globex.mark)) == (("postgres-core",), "acme", "t.csv:3:1")
    assert resolve(acme, {"PREFIX": "x"}, Redactor(), "h").database == "x_acme"
    target = resolve(log, {}, Redactor(), "h")
    assert (target.endpoint, target.database) == ("us.db:5432", "log_globex")
    assert "search_path=globex" in target.url.reveal()
    assert [one.name for one in select(manifest.databases, ["group:tenant"], no_deps=True)] == [
        "tenant_acme",
        "tenant_globex",
    ]
    assert [one.name for one in select(manifest.databases, ["label:region-us"], no_deps=True)] == ["tenant_globex"]


@pytest.mark.parametrize(
    ("value", "database"),
    [
        ("a'b", "tenant_a'b"),
        ('a"; drop database x; --', 'tenant_a"; drop database x; --'),
        ("a/../../b", "tenant_a/../../b"),
        ("a@evil.com:1/x?y#z%41", "tenant_a@evil.com:1/x?y#z%41"),
        ("${HOME}{database}{tenant}$$", "tenant_${HOME}{database}{tenant}$$"),
        ("ลูกค้า", "tenant_ลูกค้า"),
    ],
)
def test_a_value_never_becomes_more_than_a_name(value: str, database: str) -> None:
    Path("t.json").write_text(json.dumps([value]))
    (found,) = read(f"{HEAD}{MEMBER}{{file: t.json}}}}\n").databases
    target = resolve(found, {"HOME": "/secret"}, Redactor(), "h")
    assert (target.database, target.endpoint) == (database, "h:5432")


@pytest.mark.parametrize(
    ("dsn", "value", "what"),
    [
        ("postgres://{tenant}.db/{database}", "evil.com/x", "cannot be part of a host"),
        ("postgres://{tenant}.db/{database}", "evil.com,good", "cannot be part of a host"),
        ("postgres://{tenant}.db/{database}", "evil.com:1", "cannot be part of a host"),
        (
            "postgres://h/{database}?options=-csearch_path={tenant}",
            "a -cstatement_timeout=0",
            "the options of a session",
        ),
        ("host={tenant} dbname={database}", "a,b", "cannot be part of a host"),
    ],
)
def test_a_value_that_would_be_more_than_one_part_of_a_dsn_is_refused(dsn: str, value: str, what: str) -> None:
    Path("t.json").write_text(json.dumps([value]))
    entry = f'  - {{name: "n_{{tenant}}", engine: postgres, dsn: "{dsn}", migrations: m, for_each: {{file: t.json}}}}\n'
    (found,) = read(HEAD + entry).databases
    with pytest.raises(InvalidError) as caught:
        resolve(found, {}, Redactor(), "h")
    assert what in caught.value.what
    assert "{tenant}" in caught.value.what


@pytest.mark.parametrize(
    ("engine", "dsn", "name", "value", "refused"),
    [
        ("postgres", "postgres://h/{database}", "{tenant}", "template1", True),
        ("postgres", "postgres://h/{tenant}", "t_{tenant}", "postgres", True),
        ("postgres", "postgres://h/postgres?options=-csearch_path={tenant}", "t_{tenant}", "acme", False),
        ("mysql", "mysql://u@tcp(h)/{database}", "{tenant}", "MySQL", True),
        ("mongo", "mongodb://h/{database}", "{tenant}", "admin", True),
        ("mongo", "mongodb://h/{database}", "t_{tenant}", "admin", False),
    ],
)
def test_a_member_is_no_database_of_the_server_itself(
    engine: str, dsn: str, name: str, value: str, refused: bool
) -> None:
    entry = f'  - {{name: "{name}", engine: {engine}, dsn: "{dsn}", migrations: m, for_each: {{values: [{value}]}}}}\n'
    (found,) = read(HEAD + entry).databases
    if not refused:
        assert resolve(found, {}, Redactor(), "h").database in ("postgres", "t_admin")
        return
    with pytest.raises(InvalidError, match=f"'{value}' belongs to the server itself") as caught:
        resolve(found, {}, Redactor(), "h")
    assert str(caught.value.where).startswith("databases.yaml:6:")


def test_names_that_differ_by_case_are_refused_where_the_server_refuses_them() -> None:
    entry = '  - {{name: "t_{{x}}", engine: {}, dsn: "{}", migrations: m, for_each: {{values: [Acme, acme, b]}}}}\n'
    for engine, dsn, number in (
        ("mongo", "mongodb://h/{database}", 1),
        ("mongo", "mongodb://{x}.db/{database}", 1),
        ("postgres", "postgres://h/{database}", 0),
    ):
        found = read(HEAD + entry.format(engine, dsn)).databases
        wrong = [one.what for one in check_distinct(found, resolve_all(found, {}, Redactor(), "h"))]
        assert len(wrong) == number
        assert all(
            "mongo-t_acme and mongo-t_Acme have names that differ only in upper and lower" in one for one in wrong
        )


def test_a_value_cannot_leave_its_directory() -> None:
    entry = (
        '  - {name: "n{tenant}", engine: sqlite, dsn: "sqlite3://d/{tenant}/{database}.db", migrations: m, for_each: '
    )
    for value in ("../../etc", "..", "a/b"):
        Path("t.json").write_text(json.dumps([value]))
        (found,) = read(
            f"{HEAD}{entry.replace('n{tenant}', 'n{n}')}{{values: [{{n: 1, tenant: {value}}}], column: n}}}}\n"
        ).databases
        with pytest.raises(InvalidError, match="path of a file"):
            resolve(found, {}, Redactor(), "h")


@pytest.mark.parametrize(
    ("for_each", "where", "what"),
    [
        ("{}", "databases.yaml:6:68", "'for_each' names no source"),
        ("{values: [a], range: 1..2}", "databases.yaml:6:68", "names 2 sources"),
        ("{range: 5..1}", "databases.yaml:6:76", "begins after its end"),
        ("{range: 0..999999999}", "databases.yaml:6:76", f"{MAX_MEMBERS:,} is the most"),
        ("{range: x}", "databases.yaml:6:76", "is not two numbers"),
        ("{values: [010]}", "databases.yaml:6:78", "YAML reads '010' as 8"),
        ("{values: [a, {b: c}]}", "databases.yaml:6:81", "other columns than the first"),
        ("{values: [a, b, a]}", "databases.yaml:6:84", "two databases are 'postgres-tenant_a'"),
        ('{values: ["a\\u0007"]}', "databases.yaml:6:78", "control character U+0007"),
        ("{values: [a], column: b}", "databases.yaml:6:90", "has no column 'b'"),
        ("{file: missing.txt}", "databases.yaml:6:75", "cannot read"),
        ("{file: t.xml}", "databases.yaml:6:75", "unknown kind"),
        ("{query: select 1}", "databases.yaml:6:68", "no database to ask"),
        ("{values: [a], database: b}", "databases.yaml:6:92", "does not apply"),
        ("{values: [{}]}", "databases.yaml:6:78", "this member has no columns"),
        ('{values: [{"": a}]}', "databases.yaml:6:78", "a column without a name"),
        ('{values: ["a "]}', "databases.yaml:6:78", "ends with white space"),
        ('{values: ["\\u202e"]}', "databases.yaml:6:78", "control character U+202E"),
        ('{values: ["a\\u200f"]}', "databases.yaml:6:78", "control character U+200F"),
        ('{values: ["a\\ufeffb"]}', "databases.yaml:6:78", "control character U+FEFF"),
    ],
)
def test_what_is_wrong_with_a_source_is_told_with_its_place(for_each: str, where: str, what: str) -> None:
    place, said, _ = one(f"{HEAD}{MEMBER}{for_each}}}\n")
    assert what in said
    assert place == where


@pytest.mark.parametrize(
    ("name", "text", "where", "what"),
    [
        ("t.csv", "slug,slug\na,b\n", "t.csv:1:1", "named twice"),
        ("t.csv", "slug,region\na,b\nc\n", "t.csv:3:1", "has 1 value, and the first line names 2 columns"),
        ("t.csv", 'slug,region\na,"b\n', "t.csv:2:1", "not CSV"),
        ("t.csv", "slug;region\na;b\n", "t.csv:1:1", "separated by semicolons"),
        ("t.csv", "slug\tregion\na\tb\n", "t.csv:1:1", "separated by tabs"),
        ("t.csv", "# tenants\nslug\na\n", "t.csv:1:1", "CSV has no comments"),
        ("t.csv", "slug\na\n# b\n", "t.csv:3:1", "CSV has no comments"),
        ("t.json", '["\\ud800"]', "t.json:1:2", "control character U+D800"),
        ("t.json", '[{"": "a"}]', "t.json:1:2", "a key without a name"),
        ("t.json", '{"a": 1}', "t.json:1:1", "not a JSON array"),
        ("t.json", '[\n "a",\n {"b": 1}]', "t.json:3:2", "other keys"),
        ("t.json", '[\n "a" "b"]', "t.json:2:6", "comma"),
        ("t.json", '["a", true]', "t.json:1:7", "text or a whole number"),
        ("t.json", '["a", ]', "t.json:1:7", "not JSON"),
        ("t.txt", "a\nb\na\n", "t.txt:3:1", "two databases"),
        ("t.txt", "a\n  " + "x" * 70 + "\n", "t.txt:2:3", "longest allowed is 63"),
    ],
)
def test_what_is_wrong_in_a_file_of_members_is_told_with_its_line(name: str, text: str, where: str, what: str) -> None:
    Path(name).write_text(text)
    column = ", column: slug" if "csv" in name else ""
    place, said, _ = one(f"{HEAD}{MEMBER}{{file: {name}{column}}}}}\n")
    assert what in said
    assert place == where


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ('[{"slug": "a", "pw": " 4711secret"}]', "the value of pw begins or ends with white space"),
        ('[{"slug": "a", "pw": "4711\\u0007"}]', "the value of pw holds the control character U+0007"),
        ('[{"slug": "a", "pw": {"4711": 1}}]', "the value of 'pw' must be text or a whole number, not an object"),
        (
            '[{"slug": "a", "pw": 4711.5}]',
            "the value of 'pw' must be text or a whole number, not a number with a fraction",
        ),
        ("slug,pw\na,4711" + "x" * 1000, "the value of pw has 1,004 characters"),
        ("[{slug: a, pw: 04711_0}]", "YAML does not read the value of pw as text"),
    ],
)
def test_a_value_that_stands_in_the_dsn_is_in_no_message(source: str, what: str) -> None:
    kind = "values" if source.startswith("[{slug") else "json" if source.startswith("[") else "csv"
    Path(f"t.{kind}").write_text(source)
    given = f"values: {source}" if kind == "values" else f"file: t.{kind}"
    entry = '  - {name: "t_{slug}", engine: postgres, dsn: "postgres://u:{pw}@h/{database}", migrations: m, for_each: '
    _, said, hint = one(f"{HEAD}{entry}{{{given}, column: slug}}}}\n")
    assert what in said
    assert "4711" not in said + hint


def test_templates_that_name_no_column_are_told_once() -> None:
    Path("t.csv").write_text("slug,region\n" + "".join(f"t{n},eu\n" for n in range(50)))
    entry = '  - {{name: "{}", server: pg, migrations: m, for_each: {{file: t.csv{}}}{}}}\n'
    _, said, hint = one(HEAD + entry.format("n_{slgu}", "", ""))
    assert "is no column of t.csv" in said
    assert "slug" in hint
    assert "no column of the fleet" in one(HEAD + entry.format("n_{slug}", "", ', labels: ["{regoin}"]'))[1]
    assert "every member would be called" in one(HEAD + entry.format("n", "", ""))[1]
    for name in ("n_{{slug}}", "n_{slug}}", "n_{slug}_{"):
        assert "that is no part of a column" in one(HEAD + entry.format(name, "", ""))[1]
    assert "has no 'migrations'" in one((HEAD + entry.format("n_{slug}", "", "")).replace("migrations: m, ", ""))[1]
    found = problems(HEAD + entry.format("n_{region}", "", ""))
    assert len(found) == 21  # not one for each of 49 members
    assert any("29 more errors" in error.what for error in found)


def test_a_fleet_of_a_query_is_one_database_until_it_is_asked() -> None:
    text = HEAD + (
        "  - {name: core, server: pg, migrations: m}\n"
        '  - {name: "t_{x}", server: pg, migrations: m, for_each: {query: select, database: core, column: slug}}\n'
        "  - {name: report, server: pg, migrations: m, depends_on: [t_acme]}\n"
    )
    manifest = read(text)
    assert [one.stands_for_all for one in manifest.databases] == [False, True, False]
    assert manifest.databases[1].depends_on == ("postgres-core",)
    assert manifest.unresolved == {"postgres-report"}
    known = load(Path("databases.yaml"), directories=False, answers={1: Answer(("slug", "n"), [("acme", "1")])})
    assert [one.name for one in known.databases] == ["core", "t_acme", "report"]
    assert known.databases[2].depends_on == ("postgres-t_acme",)
    with pytest.raises(InvalidError, match="row 1 of the query has no value in 'slug'"):
        load(Path("databases.yaml"), directories=False, answers={1: Answer(("slug",), [(None,)])})


def test_what_depends_on_members_that_are_not_known() -> None:
    fleet = '  - {name: "t_{x}", server: pg, migrations: m, for_each: {query: select, database: %s}}\n'
    other = "  - {name: other, server: pg, migrations: m, depends_on: [%s]}\n"
    core = "  - {name: core, server: pg, migrations: m}\n"
    for name in ("t_acme", "postgres-t_a_b"):
        manifest = read(HEAD + core + fleet % "core" + other % name)
        assert manifest.unresolved == {"postgres-other"}
        assert manifest.databases[2].depends_on == ("postgres-t_{x}",)
    assert "which is not declared" in one(HEAD + core + fleet % "core" + other % "pg-t_acme")[1]
    assert "'t_{x}' depends on 'croe', which is not declared" in one(HEAD + core + fleet % "croe")[1]
    said = one(HEAD + core + fleet % "other" + other % "t_acme")[1]
    assert said == "the dependencies form a cycle: postgres-t_{x} → postgres-other → postgres-t_{x}"
    two = fleet % "core" + (fleet % "core").replace("t_{x}", "t_{x}_log")
    ambiguous = read(HEAD + core + two + other % "t_acme_log")  # of which fleet it is, only the queries tell
    assert ambiguous.databases[3].depends_on == ()
    assert ambiguous.unresolved == {"postgres-other"}


def test_ten_thousand_members_share_what_is_the_same() -> None:
    Path("m").mkdir()
    manifest = read(f"{HEAD}{MEMBER}{{range: 1..10000}}}}\n", directories=True)
    first, last = manifest.databases[0], manifest.databases[-1]
    assert len(manifest.databases) == 10_000
    assert (first.settings is last.settings, first.lint is last.lint, first.directory is last.directory) == (True,) * 3


def test_the_example_is_valid() -> None:
    manifest = load(Path(__file__).parents[2] / "examples" / "fleet" / "databases.yaml")
    assert [one.name for one in manifest.databases] == ["core", "tenant_acme", "tenant_globex", "tenant_initech"]


def test_what_servers_return_becomes_text_as_postgresql_shows_it() -> None:
    cells = (b"acme", b"\xff\x00", True, {"a": [1]}, 7, 1.5)
    assert [text_of(cell) for cell in cells] == ["acme", "\\xff00", "true", '{"a": [1]}', "7", "1.5"]
