"""Databases of other manifests: what waits for them, what a rollback asks, and what is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from estate import AWAY, Estate

from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.manifest import load

MIGRATIONS = {
    "postgres": ({"1_a.up.sql": "CREATE TABLE a ();", "1_a.down.sql": "DROP TABLE a;"}, "2_b.up.sql", "SELECT 1;"),
    "mongo": ({"1_a.up.json": '[{"create": "a"}]', "1_a.down.json": '[{"drop": "a"}]'}, "2_b.up.json", "[]"),
}


@pytest.fixture(params=["postgres", "mongo"])
def teams(request: pytest.FixtureRequest, estate: Estate) -> Estate:
    """The manifest of a team (order → report, and alone), and that of the platform with a database 'user'."""
    engine = request.param
    files, _, _ = MIGRATIONS[engine]
    platform = estate.root / "platform"
    (platform / "migrations" / "user").mkdir(parents=True)
    for name, text in files.items():
        (platform / "migrations" / "user" / name).write_text(text)
    (platform / "databases.yaml").write_text(
        f"version: 1\ndependents: [../databases.yaml]\nservers:\n{estate.server(engine)}"
        f"databases:\n  - {{name: user, server: {engine}, migrations: migrations/user}}\n"
    )
    needs = "{external: {manifest: platform/databases.yaml, database: user}}"
    estate.manifest(
        f"  - {{name: order, server: postgres, depends_on: {needs}}}\n"
        f"  - {{name: report, server: postgres, depends_on: [order, {needs}]}}\n"
        "  - {name: alone, server: postgres}\n"
    )
    for name in ("order", "report", "alone"):
        estate.write(f"postgres-{name}", MIGRATIONS["postgres"][0])
    estate.env["TEAM_ENGINE"] = engine
    return estate


PLATFORM = ("-f", "platform/databases.yaml")


def test_a_database_waits_for_one_of_another_manifest(teams: Estate) -> None:
    engine = teams.env["TEAM_ENGINE"]
    id = f"{engine}-user"
    assert "Valid" in teams.orch("validate").stdout
    told = f"postgres-order: waits for {id} of platform/databases.yaml: does not exist yet"
    assert told in teams.orch("status").stdout
    assert f"note: waits for {id} of platform/databases.yaml: does not exist yet" in teams.orch("plan").stdout
    before = teams.snapshot()

    # What needs it fails with 8 and what to do, what depends on that is blocked, all others are migrated.
    refused = teams.orch("apply", code=8)
    assert f"postgres-order needs {id} of platform/databases.yaml, which is not migrated" in refused.stderr
    assert f"orch apply -f platform/databases.yaml --only {id}" in refused.stderr
    assert "1 database done, 1 failed, 1 blocked" in refused.stderr
    assert {*teams.snapshot()} - {*before} == {"postgres-alone"}, "neither of the two, nor that of the platform"

    # With --wait the run goes on as soon as the other manifest is applied.
    run = teams.start("apply", "--wait", "60")
    assert run.stderr is not None
    while f"waits for {id} of platform/databases.yaml" not in (line := run.stderr.readline()):
        assert line, "the run ended"
    teams.orch("apply", *PLATFORM)
    assert run.wait(60) == 0, run.stderr.read()
    run.stderr.close()
    for name in ("order", "report", "alone"):
        assert teams.version_row(name) == [(1, False)]

    entry = teams.status("postgres-order")
    assert entry["external"] == [{"manifest": "platform/databases.yaml", "id": id, "waits_for": ""}]
    assert entry["notes"] == []
    assert "Nothing to do" in teams.orch("apply").stderr

    # A new migration there holds up new work here, and nothing else.
    _, name, text = MIGRATIONS[engine]
    (teams.root / "platform" / "migrations" / "user" / name).write_text(text)
    assert "at version 1, 1 pending" in teams.orch("status").stdout
    teams.orch("apply")
    teams.write("postgres-order", {"2_b.up.sql": "SELECT 1;"})
    assert "at version 1, 1 pending" in teams.orch("apply", code=8).stderr
    teams.orch("plan", "-o", "plan.json")
    teams.orch("apply", "plan.json", code=8)
    teams.orch("apply", "--only", "order", "--no-deps")  # exactly this one, whatever it depends on
    assert teams.version_row("order") == [(2, False)]


def test_a_rollback_asks_the_manifests_that_depend_on_it(teams: Estate) -> None:
    id = f"{teams.env['TEAM_ENGINE']}-user"
    down = ("rollback", *PLATFORM, "user", "--to", "0", "--yes")
    teams.orch("apply", *PLATFORM)
    teams.orch("apply", "--only", "report")
    teams.orch("rollback", "report", "--to", "0", "--yes")
    before = teams.snapshot()
    refused = teams.orch(*down, code=5).stderr
    assert "postgres-order of databases.yaml depends on it (at version 1)" in refused
    assert "orch rollback -f databases.yaml postgres-order --steps NUMBER" in refused
    assert teams.snapshot() == before

    manifest = (teams.root / "databases.yaml").read_text()
    (teams.root / "databases.yaml").rename(teams.root / "away.yaml")
    refused = teams.orch(*down, code=4).stderr
    assert "names ../databases.yaml under 'dependents', and there is no such file" in refused
    assert "--ignore-dependents" in refused
    assert "there is no such file" in teams.orch("validate", *PLATFORM).stderr
    (teams.root / "databases.yaml").write_text(manifest)

    teams.orch("rollback", "order", "--to", "0", "--yes")
    teams.orch(*down)
    assert "waits for" in teams.orch("status").stdout
    assert id in teams.orch("status").stdout


def test_what_is_wrong_is_told_before_anything_runs(teams: Estate) -> None:
    id = f"{teams.env['TEAM_ENGINE']}-user"
    path, other = teams.root / "databases.yaml", teams.root / "platform" / "databases.yaml"
    text, platform = path.read_text(), other.read_text()
    before = teams.snapshot()

    def refused(what: str, *commands: str) -> None:
        for command in commands or ("validate", "apply", "status", "plan"):
            told = teams.orch(command, code=4).stderr
            assert what in told, (command, told)
        assert teams.snapshot() == before

    other.rename(teams.root / "away.yaml")
    refused("'user' of platform/databases.yaml, and there is no such file")
    other.write_text("version: 1\ndatabases: 7\n")
    refused("'user' of platform/databases.yaml, and that manifest is not valid")
    other.write_text(platform.replace("name: user", "name: usher"))
    refused("'user' of platform/databases.yaml, and there no database is called 'user'", "validate")
    (teams.root / "platform" / "migrations" / "user").rename(teams.root / "aside")
    other.write_text(platform)
    refused("platform/migrations/user", "apply")
    (teams.root / "aside").rename(teams.root / "platform" / "migrations" / "user")

    entry = "migrations: migrations/user"
    back = ", depends_on: {external: {manifest: ../databases.yaml, database: report}}"
    other.write_text(platform.replace(entry, entry + back))
    refused(
        "databases.yaml:6:60: the dependencies form a circle over manifests: postgres-order → "
        f"{id} of platform/databases.yaml → postgres-report → postgres-order",
        "validate",
    )
    other.write_text(platform.replace("dependents: [../databases.yaml]\n", ""))
    assert "write there: dependents: [../databases.yaml]" in teams.orch("validate").stderr
    other.write_text(platform)

    path.write_text(text.replace("platform/databases.yaml", "databases.yaml"))
    refused("which is this manifest", "validate")
    path.write_text(text + "  - {name: user, server: mongo}\n  - {name: user, server: postgres}\n")
    for engine in ("mongo", "postgres"):
        (teams.root / "migrations" / f"{engine}-user" / "schema").mkdir(parents=True)
    variable = f"ORCH_DSN_{id.upper().replace('-', '_')}"
    told = teams.orch("apply", code=4, env={variable: teams.servers[teams.env["TEAM_ENGINE"]].dsn("x")}).stderr
    assert f"{variable} is set, and means {id} of this manifest and of platform/databases.yaml" in told
    assert teams.snapshot() == before


def test_what_is_wrong_with_the_other_database_is_told_with_the_command_for_its_manifest(teams: Estate) -> None:
    engine = teams.env["TEAM_ENGINE"]
    id = f"{engine}-user"
    first, _, _ = MIGRATIONS[engine]
    name = next(iter(first))
    path = teams.root / "platform" / "migrations" / "user" / name
    teams.orch("apply", *PLATFORM)

    def told(code: int, *arguments: str, env: dict[str, str] | None = None) -> str:
        text = teams.orch("apply", "--only", "order", *arguments, code=code, env=env, patches=AWAY).stderr
        assert f"postgres-order needs {id} of platform/databases.yaml" in text
        assert teams.snapshot() == before
        return text

    before = teams.snapshot()
    # Its file was edited: the command to paste is for the other manifest, which may have a database of the same name.
    path.write_text(path.read_text() + "\n" + ("-- more" if engine == "postgres" else ""))
    if engine == "postgres":
        text = told(5)
        assert f"needs {id} of platform/databases.yaml: platform/migrations/user/{name} was edited" in text
        assert f"orch repair -f platform/databases.yaml {id} --accept platform/migrations/user/{name}" in text
        assert f"waits for {id} of platform/databases.yaml: platform/migrations" in teams.orch("status").stdout
    path.write_text(first[name])
    # Its server cannot be reached: that is said, with the code for it; with --wait it is waited for.
    secret = "wr0ng-s3cret-of-the-platform"
    for dsn, what in (
        (f"{engine if engine == 'postgres' else 'mongodb'}://u:{secret}@127.0.0.1:1/x", "127.0.0.1:1"),
        (
            teams.servers[engine].dsn("x").replace(f":{teams.servers[engine].password}@", f":{secret}@"),
            "refuses the login",
        ),
    ):
        env = {f"ORCH_DSN_{engine.upper()}_USER": dsn}
        text = told(7, env=env)
        assert what in text
        for arguments in (["status"], ["plan"]):
            shown = teams.orch(*arguments, env=env, patches=AWAY).text
            assert f"waits for {id} of platform/databases.yaml" in shown
            assert secret not in shown
        assert secret not in text


def test_manifests_that_lead_to_themselves_are_told(teams: Estate) -> None:
    other = teams.root / "platform" / "databases.yaml"
    text = other.read_text()
    other.unlink()
    other.symlink_to("databases.yaml")
    assert "and there is no such file" in teams.orch("plan", code=4).stderr
    other.unlink()
    other.mkdir()
    assert "and that is not a file" in teams.orch("plan", code=4).stderr
    other.rmdir()
    # `dependents` that name the manifest itself, or each other, are asked once.
    other.write_text(
        text.replace("[../databases.yaml]", "[databases.yaml, ../databases.yaml, ../platform/../databases.yaml]")
    )
    path = teams.root / "databases.yaml"
    path.write_text(path.read_text().replace("version: 1\n", "version: 1\ndependents: [platform/databases.yaml]\n", 1))
    teams.orch("apply", *PLATFORM)
    teams.orch("apply", "--only", "order")
    refused = teams.orch("rollback", *PLATFORM, "user", "--to", "0", "--yes", code=5).stderr
    assert refused.count("depends on it (at version 1)") == 1
    teams.orch("rollback", "order", "--to", "0", "--yes")
    teams.orch("rollback", *PLATFORM, "user", "--to", "0", "--yes")


def test_graph_and_render(teams: Estate) -> None:
    graph = teams.orch("graph", "--format", "json").json
    external = [{"manifest": "platform/databases.yaml", "database": "user"}]
    assert [one.get("external") for one in graph["databases"]] == [external, external, None]
    for format in ("text", "mermaid", "dot"):
        assert "user (platform/databases.yaml)" in teams.orch("graph", "--format", format).stdout
    for target in ("compose", "k8s", "argo"):
        told = teams.orch("render", target, code=4).stderr
        assert f"which a container of {target} does not have" in told
    teams.orch("render", "github")
    assert json.loads(teams.orch("validate", "--output", "json").stdout)["errors"] == []


@pytest.mark.parametrize(
    ("depends_on", "what"),
    [
        ("{externl: {}}", "unknown key 'externl'"),
        ("[{external: {manifest: a.yaml}}]", "no 'database'"),
        ("{external: {manifest: a.yaml, database: b, name: c}}", "unknown key 'name'"),
        ("[[a]]", "must be text or a mapping"),
        ("a", "must be a list or a mapping"),
    ],
)
def test_a_malformed_dependency_is_told_with_its_place(tmp_path: Path, depends_on: str, what: str) -> None:
    path = tmp_path / "databases.yaml"
    path.write_text(
        f"version: 1\ndatabases:\n  - {{name: a, engine: postgres, dsn: 'postgres://h/a', depends_on: {depends_on}}}\n"
    )
    with pytest.raises(InvalidError) as caught:
        load(path, directories=False)
    errors = caught.value.errors if isinstance(caught.value, InvalidGroup) else [caught.value]
    assert any(what in error.what and error.where and error.where.line == 3 for error in errors), errors
