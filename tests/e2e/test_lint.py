"""`orch lint` as people use it: outputs, permissions, what is judged, and bad input. No server is needed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from estate import Estate

JUNIT = xmlschema.XMLSchema(str(next(Path(__file__).parents[1].rglob("junit.xsd"))))
TABLE = "CREATE TABLE t (a int, b text);\n"


@pytest.fixture
def project(tmp_path: Path) -> Estate:
    """A project without servers: its DSN names a host that does not exist."""
    estate = Estate(tmp_path, {})
    declare(estate)
    return estate


def declare(estate: Estate, extra: str = "", own: str = "") -> None:
    dsn = '"postgres://u:${NOWHERE_PASSWORD}@nowhere.invalid/{database}"'
    text = f"version: 1\n{extra}databases:\n  - {{name: a, engine: postgres, dsn: {dsn}{own}}}\n"
    (estate.root / "databases.yaml").write_text(text)
    (estate.root / "migrations/postgres-a/schema").mkdir(parents=True, exist_ok=True)


def lint(estate: Estate, *arguments: str, code: int = 1) -> dict[str, Any]:
    document: dict[str, Any] = estate.orch("lint", *arguments, "--output", "json", code=code).json
    return document


def codes(document: dict[str, Any]) -> list[str]:
    return [f"{one['code']}:{one['line']}" for one in document["findings"]]


def test_text_has_the_line_and_a_caret(project: Estate) -> None:
    project.write(
        "postgres-a", {"1_a.up.sql": TABLE, "2_b.up.sql": "ALTER TABLE t ADD c int,\n  ALTER a SET NOT NULL;\n"}
    )
    text = project.orch("lint", code=1).stdout
    assert "2_b.up.sql:2:3: error PG202: checks a table while nobody can read it (ACCESS EXCLUSIVE on t)" in text
    assert "     2 |   ALTER a SET NOT NULL;\n       |   ^\n" in text
    assert "1 error, 0 warnings in 2 files of 1 database." in text
    assert "orch lint --explain PG202" in text


def test_clean_files_end_with_0(project: Estate) -> None:
    project.write(
        "postgres-a", {"1_a.up.sql": TABLE + "CREATE INDEX ON t (a);", "2_b.up.sql": "ALTER TABLE t ADD c int;"}
    )
    assert "0 errors, 0 warnings in 2 files of 1 database." in project.orch("lint", code=0).stdout


def test_a_warning_ends_with_0(project: Estate) -> None:
    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_b.up.sql": "UPDATE t SET a = 1;"})
    assert codes(lint(project, code=0)) == ["PG601:1"]


def test_since_is_one_plan_and_the_default_is_file_by_file(project: Estate) -> None:
    files: dict[str, str | bytes] = {
        "1_a.up.sql": TABLE,
        "2_b.up.sql": "CREATE TABLE u (a int);",
        "3_c.up.sql": "DROP TABLE u; DROP TABLE t;",
    }
    project.write("postgres-a", files)
    assert codes(lint(project)) == ["PG101:1", "PG101:1"]
    found = lint(project, "a", "--since", "1")
    assert [one["table"] for one in found["findings"]] == ["t"]
    assert found["files"] == 2
    assert lint(project, "--since", "0", code=0)["findings"] == []
    assert lint(project, "--since", "3", code=0)["files"] == 0


def test_changed_asks_git(project: Estate) -> None:
    def git(*arguments: str) -> None:
        who = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, *arguments], cwd=project.root, check=True, capture_output=True)

    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_b.up.sql": "DROP TABLE IF EXISTS old;"})
    assert "git" in project.orch("lint", "--changed", "main", code=2).stderr
    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-qm", "one")
    assert lint(project, "--changed", "main", code=0)["files"] == 0
    project.write("postgres-a", {"3_ส้ม c.up.sql": "ALTER TABLE t DROP COLUMN a;"})
    assert codes(lint(project, "--changed", "main")) == ["PG102:1"]  # not added yet
    git("checkout", "-qb", "work")
    git("add", ".")
    git("commit", "-qm", "two")
    assert codes(lint(project, "--changed", "main")) == ["PG102:1"]
    project.write("postgres-a", {"4_d.up.sql": "DROP TABLE t;"})
    assert codes(lint(project, "--changed")) == codes(lint(project, "--changed", "HEAD")) == ["PG101:1"]
    assert (
        "git has no 'nothing-of-that-name'" in project.orch("lint", "--changed", "nothing-of-that-name", code=2).stderr
    )
    assert "--since and --changed" in project.orch("lint", "--changed", "main", "--since", "1", code=2).stderr


def test_a_directory_that_is_wrong_keeps_no_other_from_being_judged(project: Estate) -> None:
    manifest = project.root / "databases.yaml"
    entry = manifest.read_text().splitlines()[-1]
    manifest.write_text(manifest.read_text() + entry.replace("name: a", "name: b") + "\n")
    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_b.up.sql": "DROP TABLE t;", "000004_x.sql": "SELECT 1;"})
    project.write("postgres-b", {"1_a.up.sql": TABLE, "2_b.up.sql": "DROP TABLE t;"})
    found = {(one["database"], one["code"]): one for one in lint(project)["findings"]}
    assert set(found) == {("postgres-a", "LT001"), ("postgres-b", "PG101")}
    assert found["postgres-a", "LT001"]["path"].endswith("000004_x.sql")


def test_permissions(project: Estate) -> None:
    allowed = "-- orch: allow PG203 the table has ten rows\nCREATE INDEX ON t (a);"
    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_b.up.sql": allowed})
    assert lint(project, code=0) == {"format": 1, "databases": 1, "files": 2, "allowed": 1, "findings": []}
    lines = (
        "-- orch: allow PG203\n-- orch: allow PG999 why\n-- orch: allow PG101 unused\n"
        "-- orch: allow PG102 old\n-- orch: allow PG102 old\nCREATE INDEX ON t (a);\nALTER TABLE t DROP COLUMN b;\n"
    )
    project.write("postgres-a", {"2_b.up.sql": lines})
    assert codes(lint(project)) == ["LT003:1", "LT002:2", "LT005:3", "LT004:5", "PG203:6"]
    project.orch("validate", code=0)  # a migration runs whatever its permissions say


def test_a_permission_in_mongodb_is_part_of_the_command(project: Estate) -> None:
    text = 'version: 1\ndatabases:\n  - {name: m, engine: mongo, dsn: "mongodb://nowhere.invalid/{database}"}\n'
    (project.root / "databases.yaml").write_text(text)
    drop = '[{"drop": "a", "comment": {"orch": {"allow": {"MG101": "nobody reads it"}}}},\n {"drop": "b"}]'
    extension = "json"
    project.write("mongo-m", {f"1_a.up.{extension}": drop})
    assert codes(lint(project)) == ["MG101:2"]


def test_the_manifest_sets_levels_and_the_version(project: Estate) -> None:
    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_b.up.sql": "UPDATE t SET a = 1; ALTER TABLE t RENAME a TO c;"})
    declare(project, "lint: {codes: {PG601: error, PG501: off}}\n")
    assert codes(lint(project)) == ["PG601:1"]
    declare(project, "lint: {codes: {PG601: error, PG501: off}}\n", ", lint: {codes: {PG601: off}, server_version: 15}")
    assert codes(lint(project, code=0)) == []
    project.write("postgres-a", {"3_c.up.sql": "ALTER TABLE t ADD d int GENERATED ALWAYS AS (1) VIRTUAL;"})
    assert codes(lint(project)) == ["PG406:1"]
    assert codes(lint(project, "--server-version", "18", code=0)) == []


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ("lint: {codes: {PG999: off}}\n", "databases.yaml:2:23: error: there is no lint rule 'PG999'"),
        ("lint: {codes: {PG203: quiet}}\n", "PG203"),
        ("lint: {server_version: 99}\n", "server_version"),
        ("lint: {server_version: 5}\n", "the lint rules do not know postgres 5"),
        ('lint: {server_version: "15"}\n', "must be a whole number, not text"),
        ("lint: {codes: {pg101: off}}\n", "did you mean 'PG101'?"),
        ("lint: {codes: {'': off}}\n", "there is no lint rule ''"),
        ("lint: {speed: 1}\n", "speed"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused(project: Estate, extra: str, said: str) -> None:
    declare(project, extra)
    error = project.orch("lint", code=4).stderr
    assert said.replace("error: ", "") in error.replace("error: ", "")
    assert "databases.yaml" in error


def test_unknown_codes_and_versions(project: Estate) -> None:
    assert "did you mean PG203?" in project.orch("lint", "--explain", "PG2033", code=2).stderr
    assert "use 12 to 18" in project.orch("lint", "--server-version", "99", code=2).stderr
    assert "CREATE INDEX CONCURRENTLY" in project.orch("lint", "--explain", "pg203", code=0).stdout


def test_a_version_holds_for_the_engines_that_have_it(project: Estate) -> None:
    other = '  - {name: m, engine: mongo, dsn: "mongodb://nowhere.invalid/{database}"%s}\n'
    new = {"1_a.up.sql": TABLE, "2_b.up.sql": "ALTER TABLE t ADD d int GENERATED ALWAYS AS (1) VIRTUAL;"}
    project.write("postgres-a", new)
    project.write("mongo-m", {"1_a.up.json": '[{"create": "a"}]'})

    def both(extra: str, own: str) -> None:
        declare(project, extra)
        with (project.root / "databases.yaml").open("a") as manifest:
            manifest.write(other % own)

    both("lint: {server_version: 15}\n", "")
    assert codes(lint(project)) == ["PG406:1"]
    assert codes(lint(project, "m", code=0)) == []
    both("", "")
    assert codes(lint(project, "--server-version", "15")) == ["PG406:1"]
    both("lint: {server_version: 15}\n", ", lint: {server_version: 15}")
    assert "mongo-m: the lint rules do not know mongo 15" in project.orch("lint", code=4).stderr
    both("lint: {server_version: 10}\n", "")
    assert "the lint rules do not know" in project.orch("lint", code=4).stderr
    manifest = (
        'version: 1\ndatabases:\n  - {name: q, engine: mysql, dsn: "mysql://u@tcp(nowhere.invalid)/{database}"}\n'
    )
    (project.root / "databases.yaml").write_text(manifest)
    project.write("mysql-q", {"1_a.up.sql": "DROP TABLE t;"})
    refused = project.orch("lint", "--server-version", "8", code=2).stderr
    assert "are the same for every version" in refused and "leave the version out" in refused


def test_names_of_any_kind_are_told_as_they_are(project: Estate) -> None:
    names = ['"drop table"', '"ส้ม.น้ำ"', '"select"', '"a.b"."c""d"', "ผัก", '"with space"']
    project.write("postgres-a", {f"{n}_a.up.sql": f"DROP TABLE {name};" for n, name in enumerate(names, 1)})
    found = lint(project)
    assert [one["table"] for one in found["findings"]] == [
        '"drop table"',
        '"ส้ม.น้ำ"',
        "select",
        '"a.b"."c""d"',
        "ผัก",
        '"with space"',
    ]
    for form in ("text", "github", "gitlab", "sarif", "junit"):
        shown = project.orch("lint", "--output", form, code=1).stdout
        assert "ส้ม" in shown or "\\u0e2a" in shown, form


def test_a_file_that_cannot_be_read_leaves_the_others_judged(project: Estate) -> None:
    files: dict[str, str | bytes] = {
        "1_a.up.sql": TABLE,
        "2_b.up.sql": "CREATE TABLE (;",
        "3_c.up.sql": "DROP TABLE t;",
        "4_d.up.sql": b"\xff",
    }
    project.write("postgres-a", files)
    found = lint(project)
    assert codes(found) == ["LT001:1", "PG101:1", "LT001:1"]
    assert found["findings"][0]["path"].endswith("2_b.up.sql")


def test_machines_get_what_they_know(project: Estate) -> None:
    text = "DROP TABLE t; -- ]]> %0A\n" + "ALTER TABLE t RENAME a TO b;\n"
    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_ส้ม%0A b.up.sql": text})
    sarif = project.orch("lint", "--output", "sarif", code=1).json
    (run,) = sarif["runs"]
    published = pytest.importorskip("pydantic_sarif.model")  # made from the schema of SARIF 2.1.0
    published.StaticAnalysisResultsFormatSarifVersion210JsonSchema.model_validate(sarif)
    assert [one["ruleId"] for one in run["results"]] == ["PG101", "PG501"]
    for result in run["results"]:
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 1, "startColumn": 1}
    assert " " not in place["artifactLocation"]["uri"]
    lines = project.orch("lint", "--output", "github", code=1).stdout.splitlines()
    assert [line.split(" ")[0] for line in lines] == ["::error", "::warning"]
    gitlab = project.orch("lint", "--output", "gitlab", code=1).json
    assert [(one["check_name"], one["severity"]) for one in gitlab] == [
        ("orch/PG101", "critical"),
        ("orch/PG501", "minor"),
    ]
    assert len({one["fingerprint"] for one in gitlab}) == 2
    junit = project.orch("lint", "--output", "junit", code=1).stdout
    JUNIT.validate(ElementTree.ElementTree(ElementTree.fromstring(junit)))


def test_a_large_file_and_names_of_any_kind(project: Estate) -> None:
    rows = ",\n".join(f"({n}, 'DELETE FROM t; UPDATE t SET a = {n}')" for n in range(110_000))
    large = f"INSERT INTO t VALUES\n{rows};\nDROP TABLE t;"
    assert len(large) > 5_000_000
    project.write("postgres-a", {"1_a.up.sql": TABLE, "2_large.up.sql": large})
    assert codes(lint(project)) == ["PG101:110002"]


def test_plan_and_apply_mark_what_lint_tells_and_nothing_that_is_allowed(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"1_a.up.sql": "CREATE TABLE t (v varchar(10), a int CHECK (a IS NOT NULL));"})
    pg_estate.orch("apply")
    text = "ALTER TABLE t ALTER v TYPE varchar(20);\nALTER TABLE t ALTER a SET NOT NULL;\n"
    pg_estate.write("postgres-a", {"2_b.up.sql": text})
    assert "!" not in pg_estate.orch("plan").stdout  # known from the file that is applied
    pg_estate.write("postgres-a", {"2_b.up.sql": text + "ALTER TABLE t ALTER a TYPE bigint;\n"})
    assert "! rewrites a table while nobody can read it: migrations/postgres-a/schema/2_b.up.sql:3" in (
        pg_estate.orch("plan").stdout
    )
    allowed = "-- orch: allow PG201 three rows\n" + text + "ALTER TABLE t ALTER a TYPE bigint;\n"
    pg_estate.write("postgres-a", {"2_b.up.sql": allowed})
    assert "!" not in pg_estate.orch("plan").stdout
    pg_estate.orch("apply")


def test_ten_thousand_files_are_judged_whole_and_in_order(project: Estate) -> None:
    names = [f"d{n}" for n in range(10)]
    dsn = '"postgres://nowhere.invalid/{database}"'
    entries = "".join(f"  - {{name: {name}, engine: postgres, dsn: {dsn}}}\n" for name in names)
    (project.root / "databases.yaml").write_text(f"version: 1\ndatabases:\n{entries}")
    for name in names:
        directory = project.root / f"migrations/postgres-{name}/schema"
        directory.mkdir(parents=True)
        for n in range(1, 1001):
            text = f"DROP TABLE t{n - 1};" if n == 500 else f"CREATE TABLE t{n} (a int);"
            (directory / f"{n}_x.up.sql").write_text(text)
    found = lint(project)
    assert (found["files"], found["databases"]) == (10_000, 10)
    assert [(one["database"], one["code"], one["table"]) for one in found["findings"]] == [
        (f"postgres-{name}", "PG101", "t499") for name in names
    ]
    (project.root / "migrations/postgres-d7/schema/7_other.up.sql").write_text("")  # two files of one version
    found = lint(project)
    assert [one["database"] for one in found["findings"] if one["code"] == "PG101"] == sorted(
        {f"postgres-{name}" for name in names} - {"postgres-d7"}
    )
    assert ["two up files for version 7" in one["what"] for one in found["findings"] if one["code"] == "LT001"] == [
        True
    ]
