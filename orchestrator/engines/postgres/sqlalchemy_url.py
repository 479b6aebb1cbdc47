"""A DSN of PostgreSQL as SQLAlchemy reads it, for the driver that a program uses."""

from __future__ import annotations

from urllib.parse import parse_qsl, quote, urlencode

from orchestrator.engines.postgres.dsn import parse_conninfo
from orchestrator.engines.url import IS_URL, split
from orchestrator.errors import UsageError

_OF_LIBPQ = ("", "psycopg", "psycopg_async", "psycopg2", "psycopg2cffi")
_DRIVERS = (*_OF_LIBPQ, "asyncpg", "pg8000")
_WITHOUT_LOSS = frozenset({"application_name", "connect_timeout", "fallback_application_name"})
_NO_TLS_NEEDED = frozenset({"disable", "allow", "prefer"})


def sqlalchemy_url(dsn: str, driver: str = "") -> str:
    """Return `postgresql+driver://…` for a DSN that libpq takes, URL or key=value; without a driver `postgresql://…`.

    UsageError for an unknown driver, and where the DSN has a setting that the driver has no word for.
    What it returns holds the password.
    """
    if driver not in _DRIVERS:
        raise UsageError(
            f"SQLAlchemy has no driver {driver!r} for PostgreSQL that orch knows",
            hint=f"those known are {', '.join(_DRIVERS[1:])}",
        )
    if IS_URL.match(dsn):
        url = split(dsn)
        login, path = url.user + (f":{url.password}" if url.has_password else ""), url.path
        hosts = url.hosts.split(",") if url.hosts else []
        fields = dict(parse_qsl(url.query, keep_blank_values=True))
    else:
        fields = parse_conninfo(dsn)
        user, password = (quote(fields.pop(key, ""), safe="") for key in ("user", "password"))
        login, path = user + (f":{password}" if password else ""), quote(fields.pop("dbname", ""), safe="")
        hosts = _hosts(fields.pop("host", "") or fields.get("hostaddr", ""), fields.pop("port", ""))
        fields.pop("hostaddr", None)
    query = list(fields.items()) if driver in _OF_LIBPQ else _of_another_driver(fields, driver)
    if len(hosts) > 1 or (hosts and hosts[0].startswith("/")):  # several, or the directory of a socket
        query = [("host", host) for host in hosts] + query
        hosts = []
    text = f"?{urlencode(query)}" if query else ""
    at = "@" if login else ""
    return f"postgresql{'+' if driver else ''}{driver}://{login}{at}{''.join(hosts)}/{path}{text}"


def _hosts(names: str, ports: str) -> list[str]:
    """Return `host:port` for each of libpq's hosts; one port serves for all of them."""
    given = ports.split(",")
    found = []
    for number, name in enumerate(names.split(",") if names else ["localhost"]):
        port = given[number] if len(given) > 1 else given[0]
        host = f"[{name}]" if ":" in name else name
        found.append(f"{host}:{port}" if port else host)
    return found


def _of_another_driver(fields: dict[str, str], driver: str) -> list[tuple[str, str]]:
    """Return the settings of a DSN in the words of a driver that is not made of libpq."""
    query = []
    for key, value in fields.items():
        if key == "sslmode" and driver == "asyncpg":
            query.append(("ssl", value))
        elif key not in _WITHOUT_LOSS and not (key == "sslmode" and value in _NO_TLS_NEEDED):
            raise UsageError(
                f"the DSN has the setting '{key}', and orch does not know how {driver} is told of it",
                hint="use psycopg, or pass that setting to the driver itself",
            )
    return query
