"""Why a connection fails is decided by what the server answered, not by words that may be names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from estate import AWAY, ORCH, SERVERS, Estate

from orchestrator import embedded
from orchestrator.embedded import Server
from orchestrator.engines.postgres import login
from orchestrator.engines.postgres.engine import Postgres
from orchestrator.errors import ConnectError, DatabaseMissingError
from orchestrator.model import Target
from orchestrator.secret import Secret

FILES: dict[str, str | bytes] = {"1_t.up.sql": "CREATE TABLE t ();", "1_t.down.sql": "DROP TABLE t;"}


def hosts(estate: Estate, hosts: str) -> None:
    """Let the DSN name these hosts."""
    path = estate.root / "databases.yaml"
    port = estate.servers["postgres"].port
    path.write_text(path.read_text().replace(f"127.0.0.1:{port}", hosts.replace("PORT", str(port))))


@pytest.mark.parametrize("name", ["timeouts", "unreachable_eof", "x_connection_reset", "pg_hba"])
def test_the_name_of_a_database_is_no_reason(pg_estate: Estate, name: str) -> None:
    pg_estate.add("postgres", name, FILES)
    assert "create the database" in pg_estate.orch("plan", code=0).stdout
    pg_estate.orch("apply")
    assert pg_estate.version_row(name) == [(1, False)]


@pytest.mark.parametrize(
    "several", ["127.0.0.1:1,127.0.0.1:PORT", "127.0.0.1:PORT,127.0.0.1:1", "[::1]:1,127.0.0.1:PORT"]
)
def test_a_database_is_missing_where_one_of_several_hosts_says_so(pg_estate: Estate, several: str) -> None:
    pg_estate.add("postgres", "a", FILES)
    hosts(pg_estate, several)
    assert "create the database" in pg_estate.orch("plan").stdout
    pg_estate.orch("apply")
    assert pg_estate.version_row("a") == [(1, False)]


def test_a_name_with_two_addresses_of_which_the_first_refuses(pg_estate: Estate, tmp_path: Path) -> None:
    """As localhost is ::1 and 127.0.0.1, while the server listens on IPv4 only."""
    pg_estate.add("postgres", "a", FILES)
    hosts(pg_estate, "localhost:PORT")
    names = tmp_path / "hosts"
    names.write_text("::1 localhost\n127.0.0.1 localhost\n")
    script = f"mount --bind '{names}' /etc/hosts && exec '{ORCH}' \"$@\""

    def orch(command: str) -> subprocess.CompletedProcess[str]:
        inside = ["unshare", "-r", "-m", "sh", "-c", script, "sh", command]
        return subprocess.run(inside, cwd=pg_estate.root, env=pg_estate.env, capture_output=True, text=True, timeout=60)

    if subprocess.run(["unshare", "-r", "-m", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    planned = orch("plan")
    assert planned.returncode == 0 and "create the database" in planned.stdout, planned.stderr
    applied = orch("apply")
    assert applied.returncode == 0, applied.stderr
    assert pg_estate.version_row("a") == [(1, False)]


def test_a_server_that_is_down_is_told_as_such(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    hosts(pg_estate, "127.0.0.1:1,127.0.0.1:2")
    result = pg_estate.orch("plan", code=7)
    assert "cannot connect to 127.0.0.1:1,127.0.0.1:2" in result.stderr and "is the server up?" in result.stderr


@pytest.mark.timing
def test_a_role_with_such_a_name_is_refused_and_not_waited_for(pg_estate: Estate) -> None:
    role = pg_estate.prefix + "timeout"
    pg_estate.add("postgres", "a", FILES)
    path = pg_estate.root / "databases.yaml"
    server = pg_estate.servers["postgres"]
    path.write_text(path.read_text().replace(f"//{server.user}:", f"//{role}:"))
    pg_estate.orch("validate")
    started = time.monotonic()
    result = pg_estate.orch("plan", "--wait", "60", code=7)
    assert f"refuses the login of user '{role}'" in result.stderr and time.monotonic() - started < 45


@pytest.mark.parametrize("traced", [True, False])
def test_without_a_trace_the_text_without_names_has_to_do(
    pg_estate: Estate, monkeypatch: pytest.MonkeyPatch, traced: bool
) -> None:
    """libpq writes its trace on Linux only."""
    if not traced:
        monkeypatch.setattr(login, "is_traceable", lambda: False)
    server = pg_estate.servers["postgres"]

    def connect(name: str, dsn: str) -> None:
        target = Target("a", "postgres", Secret(dsn), name, "127.0.0.1", "server")
        engine = Postgres("test", "run")
        try:
            with engine.connect(target):
                pass
        finally:
            engine.close()

    for name in ("nothing_timeout", "too many connections", "certificate"):
        with pytest.raises(DatabaseMissingError):
            connect(name, server.dsn(name.replace(" ", "%20")))
    with pytest.raises(ConnectError) as refused:
        connect("postgres", server.dsn("postgres").replace(server.password, "wrong"))
    assert "refuses the login" in refused.value.what and not refused.value.transient
    with pytest.raises(ConnectError) as down:
        connect("certificate", server.dsn("certificate").replace(str(server.port), "1"))
    assert down.value.transient and down.value.server_down
    with pytest.raises(ConnectError) as setting:
        connect("postgres", server.dsn("postgres") + "&options=-ccertificate_timeout%3D1")
    assert "refuses a setting of the DSN" in setting.value.what and not setting.value.transient


def test_a_database_that_takes_no_connections_is_not_waited_for(pg_estate: Estate) -> None:
    pg_estate.add("postgres", "a", FILES)
    pg_estate.orch("apply")
    name = pg_estate.prefix + "a"
    with psycopg.connect(pg_estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            result = pg_estate.orch("plan", "--wait", "60", code=7, timeout=45)
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
    assert "SQLSTATE 55000" in result.stderr and f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true' in result.stderr


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of one test that speaks TLS, with a certificate that nobody has issued."""
    binaries = SERVERS["postgres-debian"][1]["ORCH_POSTGRES_BIN"]
    if not binaries or not shutil.which("openssl"):
        pytest.skip("no PostgreSQL with TLS on this machine")
    monkeypatch.setenv("ORCH_POSTGRES_BIN", binaries)
    root = tmp_path / "secure"
    server = embedded.up(root, ["postgres"])["postgres"]
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
        assert row
        data = Path(row[0])
        key, certificate = data / "server.key", data / "server.crt"
        subprocess.run(
            [
                "openssl",
                "req",
                "-new",
                "-x509",
                "-days",
                "1",
                "-nodes",
                "-subj",
                "/CN=elsewhere",
                "-keyout",
                key,
                "-out",
                certificate,
            ],
            check=True,
            capture_output=True,
        )
        owner = data.stat()
        for file in (key, certificate):
            file.chmod(0o600)
            os.chown(file, owner.st_uid, owner.st_gid)
        connection.execute("ALTER SYSTEM SET ssl = on")
        connection.execute("SELECT pg_reload_conf()")
    yield server
    embedded.remove(root)


@pytest.mark.parametrize("mode", ["verify-full&sslrootcert=CERTIFICATE", "verify-ca&sslrootcert=/nowhere/timeout.crt"])
def test_a_certificate_that_is_refused_is_no_starting_server(tmp_path: Path, secure: Server, mode: str) -> None:
    estate = Estate(tmp_path, {"postgres": secure})
    estate.add("postgres", "a", FILES)
    other = tmp_path / "other.crt"
    subprocess.run(
        ["openssl", "req", "-new", "-x509", "-nodes", "-subj", "/CN=other", "-keyout", "/dev/null", "-out", other],
        check=True,
        capture_output=True,
    )
    path = tmp_path / "databases.yaml"
    path.write_text(path.read_text().replace("sslmode=disable", "sslmode=" + mode.replace("CERTIFICATE", str(other))))
    for command in (["plan"], ["status"], ["apply", "--wait", "60"]):
        result = estate.orch(*command, code=7, timeout=45)
        assert "cannot make a TLS connection" in result.stderr and "sslrootcert" in result.stderr
        assert "--wait" not in result.stderr


def test_every_kind_of_wrong_tls_is_told_at_once(tmp_path: Path, secure: Server) -> None:
    """Trusted and of another host, no certificate at all, keys that cannot be read: none of it passes by waiting."""
    estate = Estate(tmp_path, {"postgres": secure})
    estate.add("postgres", "a", FILES)
    with psycopg.connect(secure.dsn("postgres")) as connection:
        row = connection.execute("SHOW data_directory").fetchone()
    assert row
    trusted, garbage, key = tmp_path / "trusted.crt", tmp_path / "garbage.crt", tmp_path / "client.key"
    trusted.write_bytes((Path(row[0]) / "server.crt").read_bytes())
    garbage.write_text("-----BEGIN CERTIFICATE-----\nnone\n-----END CERTIFICATE-----\n")
    key.write_text("none")
    key.chmod(0o644)
    path = tmp_path / "databases.yaml"
    plain = path.read_text()
    for mode in (
        f"verify-full&sslrootcert={trusted}",
        f"verify-ca&sslrootcert={garbage}",
        "verify-full",
        "verify-full&sslrootcert=system",
        f"require&sslcert={trusted}&sslkey={tmp_path}/none.key",
        f"require&sslcert={trusted}&sslkey={key}",
        f"require&sslcert={garbage}&sslkey={key}",
        "require&ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
    ):
        path.write_text(plain.replace("sslmode=disable", f"sslmode={mode}"))
        result = estate.orch("plan", "--wait", "60", code=None, timeout=45)
        assert result.code in (4, 7), (mode, result.text)
        assert "is the server up" not in result.stderr and "--wait" not in result.stderr, (mode, result.stderr)
        assert re.search(r"TLS|ssl|libpq", result.stderr), (mode, result.stderr)
    for good in (f"verify-ca&sslrootcert={trusted}", "require", "prefer"):
        path.write_text(plain.replace("sslmode=disable", f"sslmode={good}"))
        estate.orch("plan")


@pytest.mark.parametrize("host", ["getaddrinfo-dns", "nameserver.localhost"])
def test_words_in_the_name_of_a_mongodb_host_are_no_reason(mongo_estate: Estate, host: str) -> None:
    """A host that has an address and is down is down, whatever its name is; one without an address does not resolve."""
    mongo_estate.add("mongo", "m", {"1_c.up.js": '[{"create": "c"}]'})
    path = mongo_estate.root / "databases.yaml"
    path.write_text(re.sub(r"@[^/]*/", f"@127.0.0.1:1,{host}.invalid:1/", path.read_text()))
    path.write_text(path.read_text().replace("&directConnection=true", "").replace("directConnection=true", ""))
    result = mongo_estate.orch("apply", code=7, patches=AWAY)
    assert "cannot connect to 127.0.0.1:1," in result.stderr and "is the server up?" in result.stderr
    path.write_text(path.read_text().replace("127.0.0.1:1,", ""))
    result = mongo_estate.orch("apply", code=7, patches=AWAY)
    assert f"the host name does not resolve: {host}.invalid:1" in result.stderr
