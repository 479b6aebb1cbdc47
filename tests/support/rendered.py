"""A manifest with one of everything that is awkward, and what is rendered from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from orchestrator.model import Manifest
from orchestrator.render.settings import settings_of
from orchestrator.render.targets import TARGETS, files_of

# One of everything that is awkward: names shared, long, in capitals, with signs; servers with and without logins.
ODD = """\
version: 1
servers:
  main pg: {engine: postgres, dsn: "postgres://app:${PG_PASSWORD}@${PG_HOST:-localhost}:${PG_PORT:-5432}/{database}"}
  other:
    engine: postgres
    dsn: "host=${OTHER_HOST} port=${OTHER_PORT:-5433} user=${OTHER_USER:-me} password=${OTHER_PW} dbname={database}"
  open: {engine: mongo, dsn: "mongodb://${MONGO_HOST:-localhost}/{database}"}
  far: {engine: mongo, dsn: "mongodb+srv://${FAR_USER}:${FAR_PASSWORD}@cluster.example.com/{database}"}
  whole: {engine: postgres, dsn: "${WHOLE_DSN}/{database}"}
databases:
  - {name: user, server: main pg}
  - {name: user, server: open, depends_on: [postgres-user]}
  - {name: Äpfel & Birnen, server: main pg, create: {owner: 'o"x', extensions: [uuid-ossp], connection_limit: 5}}
  - {name: under_score, server: other, depends_on: [Äpfel & Birnen]}
  - {name: under-score, server: other, create: {locale: "C", encoding: UTF8}}
  - {name: LONG, server: far, depends_on: [under_score, mongo-user]}
  - {name: "123", server: whole, depends_on: [LONG]}
  - {name: "on", engine: mongo, dsn: "mongodb://u:${OWN_PASSWORD}@h1,h2/on"}
""".replace("LONG", "long_" + "x" * 58)


def rendered(manifest: Manifest, *targets: str) -> dict[str, str]:
    settings = settings_of(manifest)
    return {path: text for target in targets or TARGETS for path, text in files_of(target, manifest, settings).items()}


def read(text: str) -> Any:
    """Read YAML as every program does that we render for: 1.2 would read the same."""
    return yaml.safe_load(text)


def at(*steps: str | int, value: Any) -> Callable[[Any], None]:
    def mutate(job: Any) -> None:
        place = job
        for step in steps[:-1]:
            place = place[step]
        place[steps[-1]] = value

    return mutate
