"""Migrate the databases of a manifest from a Python program: show the plan, apply it, tell where everything stands.

python examples/embed.py databases.yaml
"""

import sys

from orchestrator import api


def main(file: str) -> int:
    """Apply what is pending; return the exit code that `orch apply` would have."""
    project = api.load(file, wait=60)
    planned = api.plan(project)
    for database in planned.plan.databases:
        for step in database.steps:
            print(f"{database.id}: {step.version} {step.name}")
    for id, risks in planned.risks.items():
        print(f"{id}: {len(risks)} risky statements")
    done = api.apply(project, planned)
    for id, failure in done.failures.items():
        print(f"{id} failed: {failure.what}", file=sys.stderr)
    for one in api.status(project).databases:
        print(f"{one.id} is at version {one.version}: {one.state}")
    return done.exit_code


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except api.OrchError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
