"""What is rendered for a manifest with fleets: one Job and a matrix, whatever the number of members."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from manifests import read

from orchestrator.errors import InvalidError
from orchestrator.render.settings import settings_of
from orchestrator.render.targets import files_of

TEXT = """\
version: 1
{extra}servers:
  pg: {{engine: postgres, dsn: "postgres://${{U}}:${{P}}@${{H}}/{{database}}"}}
databases:
  - {{name: core, server: pg, migrations: m}}
  - {{name: "t_{{n}}", server: pg, migrations: m, depends_on: [core], for_each: {{range: 1..3000}}{rollout}}}
  - {{name: "own_{{n}}", engine: postgres, dsn: "postgres://{{n}}.h/{{database}}", migrations: m, for_each: {{values: [a, b]}}}}
"""


@pytest.fixture(autouse=True)
def in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_one_indexed_job_for_thousands_of_members() -> None:
    manifest = read(TEXT.format(extra="render: {shards: 7}\n", rollout=""))
    files = files_of("k8s", manifest, settings_of(manifest))
    job = yaml.safe_load(files["k8s/job-migrate-fleet.yaml"])
    spec = job["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 7, 7)
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"], "backoffLimit" in spec) == (3, 7, False)
    assert spec["podFailurePolicy"]["rules"][0]["action"] == "FailIndex"
    (container,) = spec["template"]["spec"]["containers"]
    assert container["command"] == ["orch", "apply", "--wait", "60", "--output", "jsonl", "--shard", "auto"]
    assert container["env"] == [{"name": "ORCH_SHARDS", "value": "7"}]
    assert container["envFrom"] == [{"secretRef": {"name": "pg-db-credentials"}}]
    workflow = yaml.safe_load(files_of("github", manifest, settings_of(manifest))[".github/workflows/databases.yml"])
    apply = workflow["jobs"]["apply"]
    assert apply["strategy"]["matrix"]["shard"] == [1, 2, 3, 4, 5, 6, 7]
    (step,) = (one for one in apply["steps"] if one.get("name") == "Apply")
    assert step["run"].partition("\n")[0].endswith("--shard ${{ matrix.shard }}/7")
    workflow = yaml.safe_load(files_of("argo", manifest, settings_of(manifest))["argo/workflow-migrate.yaml"])["spec"]
    entry, migrate = workflow["templates"]
    assert workflow["entrypoint"] == entry["name"]
    (task,) = entry["dag"]["tasks"]
    assert (entry["dag"]["failFast"], task["withSequence"]) == (False, {"start": "1", "end": "7"})
    assert task["template"] == migrate["name"]
    assert task["arguments"]["parameters"] == [{"name": "shard", "value": "{{item}}"}]
    assert migrate["inputs"] == {"parameters": [{"name": "shard"}]}
    assert migrate["container"]["command"][-2:] == ["--shard", "{{inputs.parameters.shard}}/7"]
    assert migrate["container"]["envFrom"] == [{"secretRef": {"name": "pg-db-credentials"}}]


def test_a_rollout_is_not_divided() -> None:
    manifest = read(TEXT.format(extra="", rollout=", rollout: {then: 5%}"))
    job = yaml.safe_load(files_of("k8s", manifest, settings_of(manifest))["k8s/job-migrate-fleet.yaml"])
    (alone,) = yaml.safe_load(files_of("argo", manifest, settings_of(manifest))["argo/workflow-migrate.yaml"])["spec"][
        "templates"
    ]
    assert "--shard" not in alone["container"]["command"]
    assert job["spec"]["backoffLimit"] == 3
    assert "--shard" not in job["spec"]["template"]["spec"]["containers"][0]["command"]


ASKED = """\
version: 1
servers:
  pg: {engine: postgres, dsn: "postgres://${PGUSER:-u}:${PGPASSWORD}@${PGHOST:-localhost}/{database}"}
databases:
  - {name: core, server: pg, migrations: migrations/core}
  - {name: "t_{n}", server: pg, migrations: migrations/t, for_each: {file: data/t.csv}}
  - name: "shop_{slug}"
    server: pg
    migrations: migrations/shop
    for_each: {query: "SELECT slug FROM tenants", database: core}
"""


def test_containers_and_pipelines_of_members_from_a_file_and_from_a_query() -> None:
    Path("data").mkdir()
    Path("data/t.csv").write_text("n\n" + "".join(f"{number}\n" for number in range(200)))
    for name in ("core", "t", "shop"):
        Path("migrations", name).mkdir(parents=True)
    manifest = read(ASKED)
    settings = settings_of(manifest)
    compose = yaml.safe_load(files_of("compose", manifest, settings)["docker-compose.multi-db.yml"])
    assert set(compose["services"]) == {"pg", "migrate-image", "migrate-all"}, "not one for each member"
    assert compose["services"]["migrate-all"]["command"] == ["apply", "--wait", "60"]
    assert "profiles" not in compose["services"]["migrate-all"], "it is what `up` runs"
    (sql,) = files_of("init-sql", manifest, settings).values()
    assert 'CREATE DATABASE "t_199";' in sql
    assert "{slug}" not in sql, "nobody knows the members before apply"
    files = files_of("dockerfile", manifest, settings)
    assert "COPY data/t.csv ./data/t.csv\n" in files["Dockerfile"], "without it the manifest is not valid in the image"
    assert "!data/t.csv\n" in files["Dockerfile.dockerignore"]
    workflow = yaml.safe_load(files_of("github", manifest, settings)[".github/workflows/databases.yml"])
    assert "data/t.csv" in workflow["on"]["push"]["paths"]
    runs = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    first = "orch apply --embedded || test $? -eq 8"  # core; then its query tells the members
    assert runs[-4:-1] == [first, "orch apply --embedded --output github", "orch verify --embedded"]
    pipeline = yaml.safe_load(files_of("gitlab", manifest, settings)[".gitlab/databases.gitlab-ci.yml"])
    assert pipeline["databases:check"]["script"][-4:-1] == [first, "orch apply --embedded", "orch verify --embedded"]
    text = ASKED.replace("data/t.csv", "../t.csv")
    Path("../t.csv").write_text("n\n1\n")
    manifest = read(text)
    with pytest.raises(InvalidError, match="outside of the project"):
        files_of("dockerfile", manifest, settings_of(manifest))


def test_a_pipeline_installs_a_server_that_pip_does_not_bring() -> None:
    Path("m").mkdir()
    manifest = read(
        "version: 1\nservers:\n  my: {engine: mysql, dsn: 'mysql://u:${P}@tcp(${H}:3306)/{database}'}\n"
        "databases:\n  - {name: shop, server: my, migrations: m}\n"
    )
    settings = settings_of(manifest)
    install = "apt-get install --yes --quiet --no-install-recommends mariadb-server-core"
    workflow = yaml.safe_load(files_of("github", manifest, settings)[".github/workflows/databases.yml"])
    runs = [step["run"] for step in workflow["jobs"]["check"]["steps"] if "run" in step]
    assert f"command -v mariadbd || {{ sudo apt-get update --quiet && sudo {install}; }}" in runs
    pipeline = yaml.safe_load(files_of("gitlab", manifest, settings)[".gitlab/databases.gitlab-ci.yml"])
    assert f"command -v mariadbd || {{ apt-get update --quiet && {install}; }}" in pipeline["databases:check"]["script"]
    assert not any("apt-get" in line for line in pipeline["databases:apply"]["script"])
