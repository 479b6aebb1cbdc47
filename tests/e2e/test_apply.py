"""`orch apply` and the commands around it, as a user runs them: processes, on real servers."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from estate import Estate, Files
from processes import end

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.embedded.process import free_port

REPOSITORY = Path(__file__).parents[2]
ONE = {"000001_one.up.sql": "CREATE TABLE one (id int);", "000001_one.down.sql": "DROP TABLE one;"}
TWO = {"000002_two.up.sql": "CREATE TABLE two (id int);", "000002_two.down.sql": "DROP TABLE two;"}


# ---------------------------------------------------------------- the estate of the repository


@pytest.fixture
def shop(estate: Estate) -> Estate:
    """The seven databases, with a prefix before their names on the servers."""
    text = (REPOSITORY / "databases.yaml").read_text()
    (estate.root / "databases.yaml").write_text(text.replace("/{database}", f"/{estate.prefix}{{database}}"))
    shutil.copytree(REPOSITORY / "migrations", estate.root / "migrations")
    estate.env.update(embedded.environment(estate.servers))
    return estate


SEVEN = [
    "postgres-product",
    "postgres-user",
    "postgres-order",
    "postgres-inventory",
    "mongo-product",
    "mongo-analytics",
    "mongo-logs",
]


def test_the_shop_from_nothing(shop: Estate) -> None:
    first = shop.orch("apply")
    for id in SEVEN:
        assert re.search(rf"^{id} +done +\d+ +\d+ +[\d.]+ s$", first.stdout, re.M), first.stdout
    assert "7 databases done" in first.stderr
    assert shop.sql("inventory", "SELECT count(*) FROM warehouses") == [(3,)]
    assert shop.version_row("inventory") == [(2, False)]
    assert shop.mongo("logs")["application_logs"].count_documents({}) == 1
    assert shop.mongo("logs")["schema_migrations"].find_one({}, {"_id": 0}) == {"version": 2, "dirty": False}

    before = shop.snapshot()
    second = shop.orch("apply")
    assert "Nothing to do: 7 databases up to date." in second.stderr
    assert shop.snapshot() == before

    status = shop.orch("status", "--output", "json").json
    assert list(status) == ["format", "databases"]
    assert status["format"] == 1
    assert [entry["id"] for entry in status["databases"]] == SEVEN
    inventory = status["databases"][3]
    assert (inventory["database"], inventory["running"]) == (f"{shop.prefix}inventory", None)
    assert {key: inventory[key] for key in inventory if key not in ("notes", "database", "endpoint", "running")} == {
        "id": "postgres-inventory",
        "engine": "postgres",
        "name": "inventory",
        "exists": True,
        "state": "up to date",
        "version": 2,
        "dirty": False,
        "applied": [1, 2],
        "pending": [],
        "problems": [],
    }


def test_only_inventory_brings_what_it_depends_on_and_touches_nothing_else(shop: Estate) -> None:
    shop.orch("apply", "--only", "inventory")
    found = shop.snapshot()
    assert sorted(found) == ["postgres-inventory", "postgres-order", "postgres-product", "postgres-user"]
    assert shop.version_row("order")[0][1] is False


def test_every_migration_of_the_shop_goes_down_and_up_again(shop: Estate) -> None:
    shop.orch("apply")
    before = {id: set(content) for id, content in shop.snapshot().items()}
    for id in reversed(SEVEN):
        shop.orch("rollback", id, "--to", "0", "--yes")
    left = {id: set(content) for id, content in shop.snapshot().items()}
    bookkeeping = {"schema_migrations", "orch_history", "migrate_advisory_lock"}
    for id, names in left.items():
        plain = {name if isinstance(name, str) else name[1] for name in names}
        assert {name for name in plain if not name.startswith(tuple(bookkeeping))} == set(), id
    assert all(entry["version"] is None for entry in shop.orch("status", "--output", "json").json["databases"])
    shop.orch("apply")
    assert {id: set(content) for id, content in shop.snapshot().items()} == before


def test_queries_leave_the_servers_as_they_are(shop: Estate) -> None:
    for arguments in (["plan"], ["status"], ["validate"], ["graph"], ["plan", "-o", "plan.json"], ["history", "logs"]):
        shop.orch(*arguments, code=None)
        assert shop.snapshot() == {}, arguments
    shop.orch("apply", "--only", "product", code=2)  # of which there are two
    shop.orch("apply", "--only", "postgres-product", "--only", "logs")
    before = shop.snapshot()
    for arguments in (["plan"], ["status"], ["validate"], ["graph"], ["history", "logs"]):
        shop.orch(*arguments)
        assert shop.snapshot() == before, arguments


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--only", "b"], "ab"),
        (["--only", "postgres-b", "--no-deps"], "b"),
        (["--only", "[cd]", "--no-deps"], "cd"),
        (["--only", "label:core"], "ab"),
        (["--only", "c", "--exclude", "a"], "bc"),
        (["--exclude", "postgres-[ab]"], "cd"),
    ],
)
def test_selection(chain: Estate, arguments: list[str], expected: str) -> None:
    chain.orch("apply", *arguments)
    assert sorted(chain.snapshot()) == [f"postgres-{name}" for name in expected]


def test_a_name_that_is_nearly_one(chain: Estate) -> None:
    result = chain.orch("apply", "--only", "postgres-dd", code=2)
    assert "did you mean 'postgres-d'?" in result.stderr


def test_to_a_version(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE | TWO)
    pg_estate.add("postgres", "b", ONE | TWO, depends_on=["a"])
    pg_estate.orch("apply", "--only", "b", "--to", "1")
    assert pg_estate.version_row("b") == [(1, False)]
    assert pg_estate.version_row("a") == [(2, False)]
    assert "7" in pg_estate.orch("apply", "--only", "b", "--to", "7", code=2).stderr
    pg_estate.orch("apply", "--to", "1", code=2)
    pg_estate.orch("apply", "--only", "b")
    assert "orch rollback postgres-b --to 1" in pg_estate.orch("apply", "--only", "b", "--to", "1", code=2).stderr


# ---------------------------------------------------------------- waiting


@contextmanager
def gate(server: Server, opened: threading.Event) -> Iterator[int]:
    """Forward a port to the server, but begin to listen only when told: a server that comes up later."""
    port = free_port()
    over = threading.Event()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def forward(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def serve() -> None:
        opened.wait(60)
        if over.is_set():
            return
        listener.bind(("127.0.0.1", port))
        listener.listen()
        while not over.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            upstream = socket.create_connection((server.host, server.port))
            for pair in ((client, upstream), (upstream, client)):
                threading.Thread(target=forward, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield port
    finally:
        over.set()
        opened.set()
        listener.close()


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_wait_for_a_server_that_comes_up_later(estate: Estate, engine: str) -> None:
    files: Files = ONE if engine == "postgres" else {"1_c.up.js": '[{"create": "c"}]'}
    estate.add(engine, "a", files)
    opened = threading.Event()
    with gate(estate.servers[engine], opened) as port:
        path = estate.root / "databases.yaml"
        text = path.read_text().replace(f":{estate.servers[engine].port}/", f":{port}/")
        path.write_text(text.replace("directConnection=true", "directConnection=true&serverSelectionTimeoutMS=500"))
        assert "--wait" in estate.orch("apply", code=7).stderr
        with estate.start("apply", "--wait", "30") as process:
            assert any("waiting for the server" in line for line in iter(process.stderr or ()))
            opened.set()
            assert end(process)[0] == 0
    assert f"{engine}-a" in estate.snapshot()


# ---------------------------------------------------------------- output for machines


def test_json_lines_are_the_event_stream(chain: Estate) -> None:
    chain.write("postgres-b", {"000002_bad.up.sql": "SELECT * FROM nowhere"})
    result = chain.orch("apply", "--output", "jsonl", code=1)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert (lines[0]["event"], lines[0]["format"]) == ("Stream", 1)
    assert lines[1]["event"] == "RunStarted"
    assert lines[-1]["event"] == "RunFinished"
    assert lines[-1]["exit_code"] == 1
    assert lines[-1]["failed"] == ["postgres-b"]
    assert lines[-1]["blocked"] == ["postgres-c"]
    finished = [(line["database"], line["version"]) for line in lines if line["event"] == "StepFinished"]
    assert sorted(finished) == [("postgres-a", 1), ("postgres-b", 1), ("postgres-d", 1)]
    failed = [line for line in lines if line["event"] == "DatabaseFailed"]
    assert [line["failure"]["code"] for line in failed] == ["42P01"]


def test_json_of_a_run_with_nothing_to_do(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", ONE)
    pg_estate.orch("apply")
    document = pg_estate.orch("apply", "--output", "json").json
    assert document["exit_code"] == 0
    lines = pg_estate.orch("apply", "--output", "jsonl").stdout.splitlines()
    assert json.loads(lines[-1])["event"] == "RunFinished"
