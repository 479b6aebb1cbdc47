"""What machines read, validated: GitHub's commands by their documented escaping, JUnit and JSON by their schemas."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import jsonschema
import pytest
import xmlschema
from estate import Estate, piped

from orchestrator.analysis.risks import Risk, risks
from orchestrator.engines.mongo.migration_file import parse_commands
from orchestrator.engines.postgres.sql import parse_sql
from orchestrator.events import Event
from orchestrator.model import File, Script
from orchestrator.secret import bounded
from orchestrator.views.github import command, harmless

NASTY = "ส้ม%0A:,]]>"
SAID = "100% : bad, 'ส้ม' ]]> <b>&amp;\n::error::no\n##[error]no\n```\n%0A\r| x | \x01"
JUNIT = xmlschema.XMLSchema(str(Path(__file__).parents[1] / "support" / "junit.xsd"))


@pytest.fixture
def nasty(pg_estate: Estate) -> Estate:
    """One database fails with all that can go wrong in a text, one is blocked by it, one works, all with odd names."""
    names = [NASTY, "after", "good%25"]
    entries = [{"name": n, "server": "postgres", **({"depends_on": [NASTY]} if n == "after" else {})} for n in names]
    pg_estate.manifest("".join(f"  - {json.dumps(entry, ensure_ascii=False)}\n" for entry in entries))
    said = SAID.replace("\x01", "").replace("'", "''").replace("%", "%%")
    raising = f"DO $do$ BEGIN RAISE EXCEPTION '{said}%', repeat('x', 2000000) USING DETAIL = repeat(']]>', 100000); END $do$;\n"
    pg_estate.write(
        f"postgres-{NASTY}",
        {
            "000001_สวัสดี%2C:]]>.up.sql": "CREATE TABLE t ();",
            "000001_สวัสดี%2C:]]>.down.sql": "DROP TABLE t;",
            "000002_bad.up.sql": "-- one\n" + raising,
            "000002_bad.down.sql": "SELECT 1;",
        },
    )
    for name in names[1:]:
        pg_estate.write(f"postgres-{name}", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})
    return pg_estate


def schema_of(estate: Estate, name: str) -> jsonschema.Draft202012Validator:
    schema = estate.orch("schema", name).json
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())


# ---------------------------------------------------------------- GitHub, read as its runner reads


def decoded(line: str) -> tuple[str, dict[str, str], str]:
    """Parse a workflow command as actions/runner does (ActionCommand.TryParseV2)."""
    assert line.startswith("::"), line
    head, _, data = line[2:].partition("::")
    name, _, rest = head.partition(" ")
    properties = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        properties[key.strip()] = _unescaped(value, property_=True)
    return name, properties, _unescaped(data, property_=False)


def _unescaped(text: str, *, property_: bool) -> str:
    for code, character in [
        ("%0D", "\r"),
        ("%0A", "\n"),
        *([("%3A", ":"), ("%2C", ",")] if property_ else []),
        ("%25", "%"),
    ]:
        text = text.replace(code, character)
    return text


def finds_command(line: str) -> bool:
    """Whether the runner would take a line of a log for a command."""
    return line.strip().startswith("::") or "##[" in line


@pytest.mark.parametrize("text", [SAID, "a:b,c=d", "%", "%25", "%0A", "\r\n", "", "::x::", NASTY, "a\r::x::"])
def test_a_command_is_read_as_it_was_meant(text: str) -> None:
    line = command("error", text, file=text, title="t")
    assert "\n" not in line and "\r" not in line
    name, properties, data = decoded(line)
    assert (name, data, properties["title"]) == ("error", text, "t")
    assert properties.get("file", "") == text
    assert not any(map(finds_command, re.split("[\r\n]", harmless(text))))


def github(estate: Estate, *arguments: str, code: int) -> tuple[list[Any], str, dict[str, str], str]:
    """Run orch as a step of a job: the commands, the summary, the outputs of the step, and the log."""
    files = {name: estate.root / name for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for file in files.values():
        file.write_text("")
    env = {name: str(file) for name, file in files.items()} | {"GITHUB_WORKSPACE": str(estate.root), "CI": "true"}
    done = estate.orch(*arguments, "--output", "github", env=env, code=code)
    outputs = dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
    return (
        [decoded(line) for line in done.stdout.splitlines()],
        files["GITHUB_STEP_SUMMARY"].read_text(),
        outputs,
        done.stderr,
    )


def test_github(nasty: Estate) -> None:
    commands, summary, outputs, _ = github(nasty, "apply", code=1)
    assert [name for name, _, _ in commands] == ["error", "warning"]
    _, where, text = commands[0]
    assert where == {
        "file": f"migrations/postgres-{NASTY}/schema/000002_bad.up.sql",
        "line": "2",
        "title": f"postgres-{NASTY}: statement",
    } | ({"col": where["col"]} if "col" in where else {})
    assert SAID.split("\x01")[0].split("\r")[0] in text and len(text) < 10_000
    assert f"postgres-{NASTY}" in commands[1][2]
    assert outputs == {"has_changes": "true", "applied_count": "2", "pending_count": "2"}
    assert len(summary.encode()) < 2**20
    assert "```mermaid" in summary and "class n0 failed" in summary
    assert "\n::error" not in summary.replace("````text", "").split("## ❌")[0]
    commands, _, outputs, _ = github(nasty, "apply", "--only", "good*", code=0)
    assert commands == []
    assert outputs == {"has_changes": "false", "applied_count": "0", "pending_count": "0"}


def test_the_log_of_a_job_has_no_commands_that_others_wrote(nasty: Estate) -> None:
    for output in ("text", "github"):
        env = {**nasty.env, "GITHUB_ACTIONS": "true", "CI": "true"}
        process = piped(["apply", "--output", output], nasty.root, env)
        assert not [line for line in re.split("[\r\n]", process.stderr) if finds_command(line)]
        assert process.returncode == 1 and "error" in process.stderr


def test_secrets_are_masked_only_where_a_runner_takes_the_command(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;", "000001_a.down.sql": "SELECT 1;"})
    password = pg_estate.servers["postgres"].password
    pg_estate.orch("apply", "--output", "github")  # which checks that there is no password
    done = piped(["apply", "--output", "github"], pg_estate.root, {**pg_estate.env, "GITHUB_ACTIONS": "true"})
    assert ("add-mask", {}, password) in [decoded(line) for line in done.stdout.splitlines()]
    assert password not in done.stderr


def test_at_most_ten_of_a_kind(pg_estate: Estate) -> None:
    names = [f"d{number}" for number in range(14)]
    pg_estate.manifest("".join(f"  - {{name: {name}, server: postgres}}\n" for name in names))
    for name in names:
        pg_estate.write(f"postgres-{name}", {"000001_a.up.sql": "SELECT nonsense;", "000001_a.down.sql": "SELECT 1;"})
    commands, summary, _, _ = github(pg_estate, "apply", code=1)
    assert [name for name, _, _ in commands] == ["error"] * 10
    assert commands[-1][2] == "and 5 more: see the summary of this job"
    assert all(f"postgres\\-{name}" in summary or f"postgres-{name}" in summary for name in names)


def test_a_refused_manifest_is_reported_everywhere(pg_estate: Estate) -> None:
    pg_estate.manifest("  - {name: a, server: nowhere}\n")
    for arguments in (["apply"], ["plan"]):
        commands, summary, outputs, _ = github(pg_estate, *arguments, code=4)
        assert commands[0][0] == "error"
        assert commands[0][1]["file"] == "databases.yaml" and int(commands[0][1]["line"]) > 1
        assert "nowhere" in summary
        assert outputs["has_changes"] == "false"
    done = pg_estate.orch("apply", "--output", "jsonl", "--junit", "report.xml", code=4)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["Stream", "Refused", "RunFinished"]
    for line in lines:
        schema_of(pg_estate, "events").validate(line)
    assert "nowhere" in report(pg_estate, "report.xml")[0].find("testcase/failure").get("message")  # type: ignore[union-attr,operator]
    for name in ("apply", "plan", "status"):
        schema_of(pg_estate, name).validate(pg_estate.orch(name, "--output", "json", code=4).json)


# ---------------------------------------------------------------- JUnit and GitLab


def report(estate: Estate, name: str) -> ElementTree.Element:
    JUNIT.validate(str(estate.root / name))
    root = ElementTree.parse(estate.root / name).getroot()
    for suite in [root, *root]:
        cases = list(suite.iter("testcase"))
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(len(list(suite.iter("failure"))))
    return root


def test_junit(nasty: Estate) -> None:
    nasty.orch("apply", "--junit", "report.xml", code=1)
    suites = {suite.get("name"): suite for suite in report(nasty, "report.xml")}
    assert set(suites) == {f"postgres-{NASTY}", "postgres-after", "postgres-good%25"}
    first, second = suites[f"postgres-{NASTY}"].findall("testcase")
    assert first.get("name") == "1 สวัสดี%2C:]]>" and second.get("name") == "2 bad"
    failure = second.find("failure")
    assert failure is not None and failure.text is not None
    assert "]]>" in failure.text and len(failure.text) < 50_000
    assert suites["postgres-after"].find("testcase/skipped") is not None
    nasty.orch("apply", "--only", "good*", "--junit", "again.xml")
    assert [case.get("name") for case in report(nasty, "again.xml").iter("testcase")] == ["up to date"]
    assert "cannot be written" in nasty.orch("apply", "--junit", "no/such/dir.xml", code=2).stderr


def test_gitlab(nasty: Estate) -> None:
    nasty.orch("apply", "--output", "gitlab", code=1, env={"CI_PROJECT_DIR": str(nasty.root)})
    assert report(nasty, "orch-junit.xml").get("failures") == "1"
    (finding,) = json.loads((nasty.root / "gl-code-quality-report.json").read_text())
    assert set(finding) == {"description", "check_name", "fingerprint", "severity", "location"}
    assert finding["severity"] in ("info", "minor", "major", "critical", "blocker")
    assert finding["location"] == {
        "path": f"migrations/postgres-{NASTY}/schema/000002_bad.up.sql",
        "lines": {"begin": 2},
    }


def test_every_migration_of_the_plan_is_a_case(pg_estate: Estate) -> None:
    """Reached or not: behind one that failed, and of a database that is blocked."""
    bad: dict[str, str | bytes] = {
        "000001_one.up.sql": "SELECT 1;",
        "000002_bad.up.sql": "SELECT nonsense;",
        "000003_three.up.sql": "SELECT 3;",
    }
    pg_estate.add("postgres", "a", bad)
    pg_estate.add("postgres", "b", {"000001_x.up.sql": "SELECT 1;", "000002_y.up.sql": "SELECT 1;"}, depends_on=["a"])
    pg_estate.orch("apply", "--junit", "report.xml", code=1)
    cases = {
        (case.get("classname"), case.get("name")): [(about.tag, about.get("message")) for about in case]
        for case in report(pg_estate, "report.xml").iter("testcase")
    }
    failure = cases.pop(("postgres-a", "2 bad"))
    assert [tag for tag, _ in failure] == ["failure"]
    assert cases == {
        ("postgres-a", "1 one"): [],
        ("postgres-a", "3 three"): [("skipped", "not reached")],
        ("postgres-b", "1 x"): [("skipped", "blocked by postgres-a")],
        ("postgres-b", "2 y"): [("skipped", "blocked by postgres-a")],
    }


def test_findings_without_a_place_stand_at_the_manifest(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", {"000001_a.up.sql": "SELECT 1;"})
    (pg_estate.root / "deploy").mkdir()
    (pg_estate.root / "databases.yaml").rename(pg_estate.root / "deploy" / "estate.yaml")
    (pg_estate.root / "migrations").rename(pg_estate.root / "deploy" / "migrations")
    env = {"CI_PROJECT_DIR": str(pg_estate.root), "POSTGRES_PASSWORD": "wrong"}
    pg_estate.orch("apply", "-f", "deploy/estate.yaml", "--output", "gitlab", code=7, env=env)
    (finding,) = json.loads((pg_estate.root / "gl-code-quality-report.json").read_text())
    assert finding["location"] == {"path": "deploy/estate.yaml", "lines": {"begin": 1}}


def test_the_summary_of_a_step_stays_small_however_often_it_is_added_to(nasty: Estate) -> None:
    summary = nasty.root / "summary"
    summary.write_text("x" * 895_000)
    for arguments in (["apply"], ["plan"], ["apply"], ["plan"]):
        nasty.orch(*arguments, "--output", "github", code=None, env={"GITHUB_STEP_SUMMARY": str(summary)})
    text = summary.read_text()
    assert "The rest does not fit" in text and len(text.encode()) < 2**20 - 100_000
    summary.write_text("x" * 1_000_000)
    nasty.orch("apply", "--output", "github", code=1, env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert summary.stat().st_size == 1_000_000


# ---------------------------------------------------------------- JSON


def test_json_is_what_its_schema_says(nasty: Estate) -> None:
    plan = nasty.orch("plan", "--output", "json").json
    schema_of(nasty, "plan").validate(plan)
    status = schema_of(nasty, "status")
    status.validate(nasty.orch("status", "--output", "json").json)
    lines = [json.loads(line) for line in nasty.orch("apply", "--output", "jsonl", code=1).stdout.splitlines()]
    events = schema_of(nasty, "events")
    for line in lines:
        events.validate(line)
        assert len(json.dumps(line)) < 100_000
    assert (lines[0]["event"], lines[-1]["event"]) == ("Stream", "RunFinished")
    outcome = nasty.orch("apply", "--output", "json", code=1).json
    schema_of(nasty, "apply").validate(outcome)
    assert {entry["result"] for entry in outcome["databases"]} == {"failed", "blocked"}
    status.validate(nasty.orch("status", "--output", "json").json)
    schema_of(nasty, "apply").validate(nasty.orch("rollback", "good*", "--to", "0", "--yes", "--output", "json").json)
    nasty.env["POSTGRES_PASSWORD"] = "wrong"
    status.validate(nasty.orch("status", "--output", "json", code=7).json)
    schema_of(nasty, "plan").validate(nasty.orch("plan", "--output", "json", code=7).json)
    schema_of(nasty, "apply").validate(nasty.orch("apply", "--output", "json", code=7).json)


def test_the_schema_of_events_knows_every_event(pg_estate: Estate) -> None:
    schema = pg_estate.orch("schema", "events").json
    shapes = {shape["properties"]["event"]["const"]: set(shape["properties"]) for shape in schema["oneOf"]}
    for cls in get_args(Event):
        assert shapes.pop(cls.__name__) == {"event", "at", *cls._fields}
    assert set(shapes) == {"Stream"}


def test_schemas_are_strict(pg_estate: Estate) -> None:
    for name in ("plan", "events", "status", "apply", "verify"):
        assert not schema_of(pg_estate, name).is_valid({"format": 1, "surprise": True})
    assert pg_estate.orch("schema").stdout == pg_estate.orch("schema", "manifest").stdout


def test_long_texts_keep_their_ends() -> None:
    text = bounded("a" * 2_000_000 + "end", 1_000)
    assert len(text) < 1_100 and text.endswith("end") and "1,999,003 characters" in text
    assert bounded("short", 1_000) == "short"


# ---------------------------------------------------------------- what to look at in a plan


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DROP TABLE a;", ["drops table a and what is in it"]),
        ("ALTER TABLE a DROP COLUMN b;", ["drops column a.b and what is in it"]),
        ("-- DROP TABLE a\nSELECT 'DROP TABLE b', $$ DROP TABLE c $$;", []),
        ("DELETE FROM a;", ["deletes every row of a"]),
        ("DELETE FROM a WHERE b;", []),
        ("UPDATE a SET b = 1;", ["rewrites every row of a table"]),
        ("INSERT INTO a VALUES (1) ON CONFLICT (b) DO UPDATE SET c = 1;", []),
        ("ALTER TABLE a ALTER COLUMN b TYPE bigint;", ["may rewrite a table while nobody can read it"]),
        ("ALTER TABLE a RENAME TO b;", ["renames what running programs use"]),
        ("TRUNCATE a;", ["empties a"]),
        ("CREATE TABLE a (deleted_from text);", []),
    ],
)
def test_hazards_of_sql(sql: str, found: list[str]) -> None:
    script = parse_sql(File("a.up.sql", Path("a.up.sql"), ""), sql)
    assert [risk.what for risk in risks([script])] == found


ALL = "deletes every row of a"
CASCADE = "drops what depends on"
REWRITE = "rewrites a table while nobody can read it"
REINDEX = "builds an index anew while nobody can write to its table"
INDEX = "builds an index while nobody can write to its table"
KEY = "builds an index while nobody can read its table"
CHECK = "checks a table while nobody can read it"
FOREIGN_KEY = "checks a table while nobody can write to it"
REFRESH = "fills a materialized view while nobody can read it"


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("DELETE FROM a WHERE true;", [ALL]),
        ("DELETE FROM a WHERE (1=1) RETURNING b;", [ALL]),
        ("DELETE FROM a WHERE true AND b;", []),
        ("DELETE FROM a WHERE truth;", []),
        ("WITH c AS (DELETE FROM a RETURNING f(b)) INSERT INTO d SELECT * FROM c WHERE b;", [ALL]),
        ("INSERT INTO d WITH c AS MATERIALIZED (DELETE FROM a) SELECT 1;", [ALL]),
        ("WITH c AS (DELETE FROM a WHERE true RETURNING b) SELECT 1;", [ALL]),
        ("WITH c AS (DELETE FROM a USING (SELECT 1) d WHERE b RETURNING b) SELECT 1;", []),
        ("WITH c AS (SELECT 1 WHERE b)\nDELETE FROM a;", [ALL]),
        ("WITH c AS (SELECT 1) DELETE FROM a USING c WHERE b;", []),
        ("DROP TYPE a CASCADE;", ["drops type a and the columns that have it"]),
        (
            "DROP DOMAIN IF EXISTS a, b CASCADE;",
            ["drops domain a and the columns that have it; drops domain b and the columns that have it"],
        ),
        ("DROP TYPE a;", []),
        ("DROP FUNCTION a(int, text) CASCADE;", [f"{CASCADE} function a"]),
        ("DROP TABLE a CASCADE;", [f"drops table a and what is in it; {CASCADE} a"]),
        ("ALTER TABLE a DROP CONSTRAINT IF EXISTS b CASCADE;", [f"{CASCADE} constraint b"]),
        ("ALTER TABLE a DROP CONSTRAINT b, ADD FOREIGN KEY (c) REFERENCES d ON DELETE CASCADE NOT VALID;", []),
        ("VACUUM FULL a;", [REWRITE]),
        ("VACUUM (ANALYZE, FULL) a;", [REWRITE]),
        ("VACUUM (FULL false) a;", []),
        ("VACUUM ANALYZE full_a;", []),
        ("CLUSTER a USING b;", [REWRITE]),
        ("ALTER TABLE a CLUSTER ON b;", []),
        ("REINDEX TABLE a;", [REINDEX]),
        ("REINDEX (VERBOSE, CONCURRENTLY) TABLE a;", []),
        ("REINDEX INDEX CONCURRENTLY a;", []),
        ("REFRESH MATERIALIZED VIEW a;", [REFRESH]),
        ("REFRESH MATERIALIZED VIEW CONCURRENTLY a;", []),
        ("CREATE INDEX ON a (b);", [INDEX]),
        ("CREATE UNIQUE INDEX IF NOT EXISTS i\n  ON only_a (lower(b));", [INDEX]),
        ("CREATE INDEX CONCURRENTLY i ON a (b);", []),
        ("CREATE INDEX i ON ONLY a (b);", []),
        ("ALTER TABLE a ADD CONSTRAINT b PRIMARY KEY (c);", [KEY]),
        ('ALTER TABLE IF EXISTS ONLY "a b" ADD CONSTRAINT "the c" UNIQUE (c);', [KEY]),
        ("ALTER TABLE a ADD EXCLUDE USING gist (b WITH &&);", [KEY]),
        ("ALTER TABLE a ADD CONSTRAINT b UNIQUE USING INDEX c, ADD unique_b int;", []),
        ("ALTER TABLE a ALTER COLUMN b SET NOT NULL;", [CHECK]),
        ("ALTER TABLE a ADD COLUMN b int NOT NULL DEFAULT 0;", []),
        ("ALTER TABLE a ADD CHECK (b > 0);", [CHECK]),
        ("ALTER TABLE a ADD CONSTRAINT b CHECK ((c > 0) AND (d > 0)) NOT VALID;", []),
        ("ALTER TABLE a ADD CHECK (b > 0), ADD CHECK (c > 0) NOT VALID;", [CHECK]),
        ("ALTER TABLE a ADD CHECK (b > 0) NOT VALID, ADD CHECK (c > 0);", [CHECK]),
        ("ALTER TABLE a ADD CONSTRAINT b FOREIGN KEY (c) REFERENCES d;", [FOREIGN_KEY]),
        ("ALTER TABLE a ADD FOREIGN KEY (c) REFERENCES d NOT VALID;", []),
        ("ALTER TABLE a VALIDATE CONSTRAINT b;", []),
        ("ALTER TABLE a ADD COLUMN b timestamptz DEFAULT clock_timestamp();", [REWRITE]),
        ("ALTER TABLE a ADD b numeric(10, 2) DEFAULT (100 * random());", [REWRITE]),
        ("ALTER TABLE a ADD COLUMN b uuid NOT NULL DEFAULT gen_random_uuid();", [REWRITE]),
        ("ALTER TABLE a ADD COLUMN b bigserial;", [REWRITE]),
        ("ALTER TABLE a ADD COLUMN b bigint GENERATED BY DEFAULT AS IDENTITY;", [REWRITE]),
        ("ALTER TABLE a ADD COLUMN b int GENERATED ALWAYS AS (c * 2) STORED;", [REWRITE]),
        ("ALTER TABLE a ADD COLUMN b timestamptz DEFAULT now(), ADD COLUMN serial text DEFAULT 'random()';", []),
        ("ALTER TABLE a ADD COLUMN b int, ALTER COLUMN c SET DEFAULT gen_random_uuid();", []),
        ("ALTER TABLE a ALTER COLUMN b ADD GENERATED ALWAYS AS IDENTITY;", []),
        ("ALTER TABLE a ADD COLUMN b text DEFAULT '--' /* CHECK */, ADD CHECK (b <> '') -- NOT VALID", [CHECK]),
        ("COMMENT ON TABLE a IS 'ALTER TABLE a ADD CHECK (b)'; SELECT 1 AS \"reindex\";", []),
        (
            "ALTER TABLE a ADD UNIQUE (b), ALTER b SET NOT NULL, DROP COLUMN c;",
            [f"drops column a.c and what is in it; {CHECK}; {KEY}"],
        ),
        # a block beside what cannot be in one is a single statement
        ("BEGIN; SELECT 1; CREATE INDEX ON a (b); DELETE FROM a; COMMIT; VACUUM a;", [INDEX, ALL]),
    ],
)
def test_hazards_of_postgresql(sql: str, found: list[str]) -> None:
    assert [risk.what for risk in of_one_table(sql)] == found


def of_one_table(sql: str) -> list[Risk]:
    """Return the risks of a file, without what is to be said of several tables in one transaction."""
    return [risk for risk in risks([script_of(sql)]) if "until it commits" not in risk.what]


def script_of(sql: str) -> Script:
    return parse_sql(File("a.up.sql", Path("a.up.sql"), ""), sql)


AFTER = (
    "CREATE UNIQUE INDEX i ON {0}(lower(b)); CREATE INDEX ON {0} USING gin (c);"
    "ALTER TABLE ONLY {0} ADD CONSTRAINT a_pkey PRIMARY KEY (id), ADD UNIQUE (b), ADD CHECK (b > 0), ALTER b SET NOT NULL;"
    "ALTER TABLE {0} ADD FOREIGN KEY (c) REFERENCES d; ALTER TABLE {0} ADD COLUMN e uuid DEFAULT gen_random_uuid();"
)


@pytest.mark.parametrize(
    ("create", "table"),
    [
        ("CREATE TABLE a (id int, b int, c int);", "a"),
        ("CREATE UNLOGGED TABLE public.a (LIKE z);", "a"),
        ("-- a table\nCREATE TEMP TABLE a AS SELECT 1;", "a"),
        ('CREATE TABLE app."The A" (id int);', 'app."The A"'),
        ("BEGIN; CREATE TABLE z (id int); CREATE TABLE a (id int); COMMIT; VACUUM;", "a"),
    ],
)
def test_what_is_done_to_a_new_table_stops_nobody(create: str, table: str) -> None:
    after = AFTER.format(table)
    assert risks([script_of(create + after)]) == []
    assert risks([script_of(create), script_of(after)]) == []  # a later file of the same plan
    assert len(of_one_table(after)) == len(of_one_table(after + create)) == 5
    assert len(of_one_table(create + AFTER.format("other.a"))) == 5


def test_a_new_materialized_view_has_no_readers() -> None:
    view = "CREATE MATERIALIZED VIEW a AS SELECT 1 WITH NO DATA;"
    assert risks([script_of(view + "REFRESH MATERIALIZED VIEW a; CREATE INDEX ON a (b);")]) == []


def test_a_plan_warns_of_locks_on_what_is_in_use_only(pg_estate: Estate) -> None:
    files = {"000001_a.up.sql": "CREATE TABLE a (b int);", "000002_i.up.sql": "CREATE INDEX ON a (b);"}
    pg_estate.add(
        "postgres", "a", {**files, "000001_a.down.sql": "DROP TABLE a;", "000002_i.down.sql": "DROP INDEX a_b_idx;"}
    )
    assert "!" not in pg_estate.orch("plan").stdout
    pg_estate.orch("apply", "--only", "a", "--to", "1")
    assert f"! {INDEX}: migrations/postgres-a/schema/000002_i.up.sql:1" in pg_estate.orch("plan").stdout


def test_a_table_that_may_be_old_still_loses_data() -> None:
    assert [risk.what for risk in risks([script_of("CREATE TABLE IF NOT EXISTS a (b int); DELETE FROM a;")])] == [ALL]


def test_hazards_of_mongo() -> None:
    text = '[{"create": "a"}, {"drop": "a"}, {"drop": "b"}, {"delete": "c", "deletes": [{"q": {}, "limit": 0}]}]'
    script = parse_commands(File("a.up.js", Path("a.up.js"), ""), text)
    assert [(h.what, h.where.line) for h in risks([script])] == [
        ("drops collection b and what is in it", 1),
        ("deletes every document of c", 1),
    ]


def test_a_plan_as_a_comment(nasty: Estate) -> None:
    nasty.write(
        "postgres-after", {"000002_drop.up.sql": "SELECT 1;\nDROP DATABASE t;", "000002_drop.down.sql": "SELECT 1;"}
    )
    commands, summary, outputs, log = github(nasty, "plan", code=0)
    assert [(name, where["line"], text) for name, where, text in commands] == [
        ("warning", "2", "drops database t and what is in it")
    ]
    assert outputs == {"has_changes": "true", "applied_count": "0", "pending_count": "5"}
    assert "Plan: 3 to create, 5 migrations to run" in log
    comment = nasty.orch("plan", "--output", "markdown").stdout
    assert comment.rstrip() == summary.rstrip()
    assert comment.index("Look at these first") < comment.index("| database |")
