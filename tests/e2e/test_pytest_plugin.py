"""The pytest plugin, as its users run it: pytest as a process, in a project with a manifest, alone and under xdist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from estate import Estate

from orchestrator import embedded

SHOP = Path(__file__).parents[2] / "examples" / "shop"


class Project:
    """A copy of examples/shop on the servers of the tests."""

    def __init__(self, root: Path, servers: Estate) -> None:
        self.root = root / "shop"
        shutil.copytree(SHOP, self.root, ignore=shutil.ignore_patterns(".orch", "__pycache__", ".pytest_cache"))
        self.servers = servers
        self.env = servers.env | embedded.environment(servers.servers)
        for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_CURRENT_TEST"):
            self.env.pop(name, None)

    def pytest(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "addopts=", *arguments]
        done = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True, timeout=120)
        # Of warnings of other plugins the outcome does not depend.
        return done.returncode, re.sub(r", \d+ warnings?\b", "", done.stdout + done.stderr)

    def databases(self, prefix: str) -> set[str]:
        with psycopg.connect(self.servers.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
            names = {row[0] for row in connection.execute("SELECT datname FROM pg_database").fetchall()}
        return {n for n in names | set(self.servers.client().list_database_names()) if n.startswith(prefix)}

    def made(self) -> set[str]:
        """The clones that the tests wrote down."""
        return set((self.root / "made").read_text().split())

    def write(self, text: str, **settings: str) -> None:
        """Replace the tests."""
        (self.root / "test_shop.py").write_text(text)
        lines = [f"{key} = {value}" for key, value in settings.items()]
        (self.root / "pytest.ini").write_text("\n".join(["[pytest]", *lines]))


@pytest.fixture
def project(tmp_path: Path, estate: Estate) -> Project:
    return Project(tmp_path, estate)


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.soak)])
def test_the_example(project: Project, workers: str) -> None:
    code, text = project.pytest("-n", workers)
    assert code == 0, text
    assert "6 passed" in text


MANY = """
import pytest

@pytest.mark.parametrize("number", range(100))
@pytest.mark.parametrize("name", ["order", "catalogue"])
def test_alone(orch_database, name, number):
    db = orch_database(name)
    with open("made", "a") as file:
        file.write(db.name + "\\n")
    connection = db.connect()
    if db.engine == "postgres":
        assert connection.execute("SELECT count(*) FROM customer_order").fetchone() == (1,)
        connection.execute("DELETE FROM customer_order")
        connection.commit()
    else:
        products = connection.get_default_database()["products"]
        assert products.count_documents({}) == 2
        products.delete_many({})
"""


def test_sixty_tests_each_have_their_own_database(project: Project) -> None:
    project.write(MANY.replace("range(100)", "range(30)"))
    code, text = project.pytest("-n", "2")
    assert code == 0, text
    assert "60 passed" in text
    assert len(project.made()) == 60
    assert not project.databases("orch_clone_") & project.made()


KILLED = """
import os, signal
import pytest

@pytest.mark.parametrize("number", range(8))
def test_alone(orch_database, number):
    names = [orch_database(name).name for name in ("order", "catalogue")]
    with open("made", "a") as file:
        file.write(" ".join(names) + "\\n")
    if number in (3, 7):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_worker_leaves_nothing(project: Project) -> None:
    project.write(KILLED)
    code, text = project.pytest("-n", "2")
    assert code == 1
    assert re.search("2 failed, 6 passed", text) and "crashed" in text, text
    assert len(project.made()) == 16
    assert not project.databases("orch_clone_") & project.made()


def test_a_killed_only_worker_leaves_nothing(project: Project) -> None:
    project.write(KILLED)
    project.pytest("-n", "1", "-k", "7")
    assert len(project.made()) == 2
    assert not project.databases("orch_clone_") & project.made()


def break_orders(project: Project) -> None:
    broken = project.root / "migrations/postgres-order/schema/000003_broken.up.sql"
    broken.write_text("ALTER TABLE customer_order\n    ADD COLUMN x nonsense;\n")


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.soak)])
def test_a_failing_migration_is_one_clear_error(project: Project, workers: str) -> None:
    project.write(MANY)
    break_orders(project)
    code, text = project.pytest("-n", workers, "-k", "order", "--junit-xml", "junit.xml")
    assert code == 1
    assert re.search("1 failed,.* 99 without a database", text), text
    assert (
        "99 more without a database: migrations/postgres-order/schema/000003_broken.up.sql:2:18: postgres-order: type"
        in text
    )
    assert "During handling" not in text
    assert text.count('"nonsense" does not exist') <= 4  # where it failed, in the summaries, whole in CI
    assert len(text.splitlines()) < 40
    assert 'failures="100"' in (project.root / "junit.xml").read_text()
    assert project.env["POSTGRES_PASSWORD"] not in text and "Traceback" not in text


FIRST_EXPECTED_TO_FAIL = """
import pytest

@pytest.mark.xfail
def test_expected(orch_database):
    orch_database("order")

def test_not_expected(orch_database):
    orch_database("order")

def test_other(orch_database):
    orch_database("catalogue")
"""


@pytest.mark.parametrize("workers", ["0", pytest.param("2", marks=pytest.mark.soak)])
def test_a_broken_estate_is_never_green(project: Project, workers: str) -> None:
    break_orders(project)
    project.write(FIRST_EXPECTED_TO_FAIL)
    code, text = project.pytest("-n", workers)
    assert code == 1 and "1 failed, 1 passed, 1 xfailed" in text, text
    assert "000003_broken.up.sql:2:18" in text
    project.write("def test_alone(orch_database):\n    orch_database('order')\n")
    code, text = project.pytest("-n", workers, "--reruns", "2")
    assert code == 1 and "1 failed, 2 rerun" in text, text
    assert "000003_broken.up.sql:2:18" in text


SESSION = """
import pytest

@pytest.mark.parametrize("number", range(20))
@pytest.mark.parametrize("fixture", ["orch_estate", "orch_servers", "orch_database"])
def test_many(request, fixture, number):
    found = request.getfixturevalue(fixture)
    found("order") if fixture == "orch_database" else len(found)
"""


def test_a_broken_manifest_is_one_clear_error(project: Project) -> None:
    project.write(SESSION)
    manifest = project.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("server: mongo}", "server: mongo, lables: [x], needs: y}"))
    code, text = project.pytest()
    assert code == 1
    assert "1 failed, 59 without a database" in text, text
    assert "needs" in text and "lables" in text, "every problem is told"
    assert "databases.yaml:11" in text
    assert "Traceback" not in text and "During handling" not in text and len(text.splitlines()) < 40, text


SHARED = """
import subprocess

def test_servers(orch_servers):
    assert orch_servers == {"postgres": "environment", "mongo": "environment"}

def test_estate(orch_estate):
    assert list(orch_estate) == ["mongo-catalogue", "postgres-order"]
    assert "order" in orch_estate and "mongo-catalogue" in orch_estate and "nothing" not in orch_estate
    assert orch_estate["order"] is orch_estate["postgres-order"]
    environment = orch_estate.environment()
    assert set(environment) == {"ORCH_DSN_POSTGRES_ORDER", "ORCH_DSN_MONGO_CATALOGUE"}
    assert environment["ORCH_DSN_POSTGRES_ORDER"] == orch_estate["order"].dsn

def test_unseeded(orch_estate):
    with orch_estate["order"].connect() as connection:
        assert connection.execute("SELECT count(*) FROM customer_order").fetchone() == (0,)
"""


def test_the_shared_estate_and_settings(project: Project) -> None:
    project.write(SHARED, orch_seeds="false", orch_servers="environment", orch_file="databases.yaml")
    code, text = project.pytest()
    assert code == 0, text
    project.write(SHARED, orch_servers="elsewhere")
    code, text = project.pytest()
    assert code != 0 and "orch_servers is 'elsewhere'" in text


def test_labels_choose_what_the_shared_estate_has(project: Project) -> None:
    project.write(
        "import pytest\ndef test_labels(orch_estate):\n    assert list(orch_estate) == ['mongo-catalogue']\n"
        "    assert 'order' not in orch_estate\n    orch_estate['order']\n",
        orch_only="label:shown",
    )
    manifest = project.root / "databases.yaml"
    manifest.write_text(manifest.read_text().replace("server: mongo}", "server: mongo, labels: [shown]}"))
    code, text = project.pytest()
    assert code == 1 and "orch: no database is called 'order'" in text, text
    project.write("def test_labels(orch_estate): ...\n", orch_only="label:nobody")
    code, text = project.pytest()
    assert code == 1 and "no database has the label 'nobody'" in text, text


@pytest.mark.parametrize("server", ["mongod", pytest.param("secantus", marks=pytest.mark.soak)])
def test_embedded_servers_when_the_environment_names_none(project: Project, server: str) -> None:
    for name in list(project.env):
        if name.startswith(("POSTGRES_", "MONGO_")):
            del project.env[name]
    project.env["ORCH_MONGO"] = server  # SecantusDB is what `pip install 'dborch[embedded]'` gives
    try:
        code, text = project.pytest("-n", "2")
        assert code == 0 and "6 passed" in text, text
    finally:
        embedded.remove(project.root / ".orch")


def test_nothing_is_loaded_until_a_fixture_is_used(project: Project) -> None:
    project.write(
        "import sys\ndef test_light():\n    heavy = {'orchestrator.testing', 'psycopg', 'pymongo', 'yaml'}\n"
        "    assert 'orchestrator.pytest_plugin' in sys.modules\n    assert not heavy & set(sys.modules)\n"
    )
    command = [sys.executable, "-X", "importtime", "-c", "import orchestrator.pytest_plugin"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    ours = [line.split("|")[2].strip() for line in done.stderr.splitlines() if "orchestrator" in line]
    assert ours == ["orchestrator", "orchestrator.pytest_plugin"]
    code, text = project.pytest()
    assert code == 0, text
