"""What is rendered for a manifest with fleets: one Job and a matrix, whatever the number of members."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from manifests import read

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
