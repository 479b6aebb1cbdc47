"""DSNs of PostgreSQL: libpq's URLs and key=value strings, with what lib/pq and pgx take besides. Imports no driver."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote, unquote, unquote_plus

from orchestrator.engines.postgres.server_settings import (
    check_locking,
    is_setting,
    lock_timeout,
    secret_settings,
    with_settings,
    without_secrets,
)
from orchestrator.engines.url import (
    IS_URL,
    SECRET,
    Address,
    DsnError,
    Holes,
    UrlForm,
    as_option,
    check_column,
    check_database,
    check_parameters,
    host_and_port,
    is_ours,
    normalized,
    put,
    secrets_in,
    secrets_of,
    split,
)
from orchestrator.patterns import regex
from orchestrator.phrases import did_you_mean, either
from orchestrator.records import dataclass

_LIBPQ = (  # one text: a list would stand here line by line
    "application_name authtype channel_binding client_encoding connect_timeout dbname fallback_application_name "
    "gssdelegation gssencmode gsslib host hostaddr keepalives keepalives_count keepalives_idle keepalives_interval "
    "krbsrvname load_balance_hosts max_protocol_version min_protocol_version oauth_client_id oauth_client_secret "
    "oauth_issuer oauth_scope options passfile password port replication require_auth requirepeer requiressl "
    "scram_client_key scram_server_key service servicefile ssl ssl_max_protocol_version ssl_min_protocol_version "
    "sslcert sslcertmode sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword "
    "sslrootcert sslsni target_session_attrs tcp_user_timeout tty user"
)
"""The parameters of libpq 18. Older ones know fewer; then it is the driver that refuses."""
_CHOICES = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "gssencmode": ("disable", "prefer", "require"),
    "channel_binding": ("disable", "prefer", "require"),
    "sslnegotiation": ("postgres", "direct"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
    "load_balance_hosts": ("disable", "random"),
}
_NUMBERS = ("connect_timeout", "keepalives_count", "keepalives_idle", "keepalives_interval", "tcp_user_timeout")

_PAIR = regex(r"\s*([^\s='\0]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?!')(?:[^\s\\]|\\.)*)(?=\s|$)", re.DOTALL)
_QUOTED, _BACKSLASHED = r"(['\\])", r"\\\1"


def parse_conninfo(text: str) -> dict[str, str]:
    """Parse libpq's key=value string; DsnError if it is malformed."""
    found: dict[str, str] = {}
    text, position = text.strip(), 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if not pair:
            raise DsnError(
                "the key=value DSN is malformed", "a value with spaces or quotes is written key='it\\'s a value'"
            )
        if pair[1] in found:
            raise DsnError("the key=value DSN gives a key twice")
        value = pair[2][1:-1] if pair[2].startswith("'") else pair[2]
        found[pair[1]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        position = pair.end()
    return found


def conninfo(fields: Mapping[str, str]) -> str:
    """Write a key=value string, every value quoted as libpq wants it."""
    return " ".join(f"{key}='{re.sub(_QUOTED, _BACKSLASHED, value)}'" for key, value in fields.items())


@dataclass(frozen=True, slots=True)
class LibpqForm(UrlForm):
    """How libpq reads a DSN."""

    def read(self, text: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
        """Understand a DSN without templates. `unknown`: the parameters whose values are not known yet."""
        del base
        if not IS_URL.match(text) and "=" in text:
            return self._read_conninfo(text, unknown)
        found = self.open(text)
        url, kept = found.url, found.kept
        fields = {unquote(key): unquote(value) for key, value in kept}
        _check_libpq(fields, unknown, shown=True)
        if "dbname" in fields:  # libpq lets it win over the path
            url = url._replace(path=quote(fields["dbname"], safe=""))
            kept = [(key, value) for key, value in kept if unquote(key) != "dbname"]
        kept, fields = _settings_as_options(kept, fields)
        url = normalized(url, unquote(url.path), kept)
        endpoint = self._endpoint([host_and_port(part) for part in url.hosts.split(",")], fields)
        server_key = url._replace(path="").text()
        check_locking(found.ours, unknown)
        ours = {**found.ours, **lock_timeout(fields.get("options", ""))}
        secrets = (*secrets_of(found.url, kept), *secret_settings(fields.get("options", "")))
        return Address(url.text(), unquote(url.path), endpoint, server_key, ours, secrets)

    def fill(self, skeleton: str, holes: Holes) -> str | None:
        """Return a DSN with each HOLE filled, every value encoded for its place; None if this is no form of a DSN."""
        if IS_URL.match(skeleton) or "=" not in skeleton:
            return UrlForm.fill(self, skeleton, holes)
        return conninfo(
            {key: put(value, holes, partial(_plain, key)) for key, value in parse_conninfo(skeleton).items()}
        )

    def retarget(self, url: str, name: str) -> str:
        """Return the DSN of another database of the same server and login."""
        if IS_URL.match(url):
            return UrlForm.retarget(self, url, name)
        return conninfo({**parse_conninfo(url), "dbname": name})

    def login(self, url: str) -> str:
        """Return the user of a DSN, or an empty text."""
        return UrlForm.login(self, url) if IS_URL.match(url) else parse_conninfo(url).get("user", "")

    def without_password(self, url: str) -> str:
        """Return a DSN for people and logs: without its password."""
        if IS_URL.match(url):
            shown = UrlForm.without_password(self, url)
        else:
            shown = conninfo({key: value for key, value in parse_conninfo(url).items() if not SECRET.search(key)})
        options = self.within(shown)
        return self.with_options(shown, without_secrets(options)) if any(secret_settings(options)) else shown

    def with_options(self, url: str, options: str) -> str:
        """Return a DSN with other `options`; empty: with none."""
        if not IS_URL.match(url):
            fields = parse_conninfo(url)
            return conninfo(
                {key: options if key == "options" else fields[key] for key in fields if options or key != "options"}
            )
        parts = split(url)
        kept = [part for part in parts.query.split("&") if unquote(part.partition("=")[0]) != "options"]
        kept += [f"options={quote(options, safe='')}"] if options else []
        return parts._replace(query="&".join(filter(None, kept))).text()

    def parts(self, url: str) -> tuple[dict[str, str], bool]:
        """Return host, port, user, password and the parameters in lower case, and whether it is a single known host."""
        if IS_URL.match(url):
            return UrlForm.parts(self, url)
        fields = parse_conninfo(url)
        return fields, "," not in fields.get("host", "")

    def within(self, url: str) -> str:
        """Return `options`: schemas of one database may be entries of their own, each with its search_path there."""
        if not IS_URL.match(url):
            return parse_conninfo(url).get("options", "")
        pairs = (part.partition("=") for part in split(url).query.split("&"))
        return next((unquote(value) for key, _, value in pairs if unquote(key) == "options"), "")

    def _read_conninfo(self, text: str, unknown: Collection[str]) -> Address:
        fields = parse_conninfo(text)
        ours = {key: fields.pop(key) for key in list(fields) if is_ours(key)}
        check_parameters(ours, self.parameters)
        check_locking(ours, unknown)
        _check_libpq(fields, unknown, shown=False)  # a space in a password makes a key of what follows it
        settings = {key: fields.pop(key) for key in list(fields) if key not in _LIBPQ.split()}
        if options := with_settings(fields.get("options", ""), settings):
            fields["options"] = options
        database = fields.get("dbname", "")
        check_database(database)
        server = {key: value for key, value in fields.items() if key != "dbname"}
        secrets = tuple(one for key, value in fields.items() for one in secrets_in(key, value))
        secrets += tuple(secret_settings(fields.get("options", "")))
        endpoint = self._endpoint([("", "")], fields)
        ours |= lock_timeout(fields.get("options", ""))
        return Address(conninfo(fields), database, endpoint, conninfo(server), ours, secrets)

    def _endpoint(self, hosts: list[tuple[str, str]], fields: Mapping[str, str]) -> str:
        """Return host:port[,…]; `host` and `port` among the parameters win, as they do in libpq."""
        names = [name for name, _ in hosts]
        ports = [port for _, port in hosts]
        for key in ("hostaddr", "host"):
            if fields.get(key):
                names = fields[key].split(",")
        if fields.get("port"):
            ports = fields["port"].split(",")
        if len(ports) != len(names):
            ports = [ports[0]] * len(names)
        return ",".join(
            f"{name or 'local socket'}:{port or self.port}" for name, port in zip(names, ports, strict=True)
        )


def _settings_as_options(
    kept: list[tuple[str, str]], fields: Mapping[str, str]
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Return parameters (encoded, and as a mapping) with all that are settings of the server moved to `options`."""
    known = _LIBPQ.split()
    settings = {unquote(key): unquote_plus(value) for key, value in kept if unquote(key) not in known}
    if not settings:
        return kept, dict(fields)
    options = with_settings(fields.get("options", ""), settings)
    kept = [(key, value) for key, value in kept if unquote(key) in known and unquote(key) != "options"]
    kept += [("options", quote(options, safe=""))] if options else []
    return kept, {unquote(key): unquote(value) for key, value in kept}


def _plain(key: str, name: str, value: str) -> str:
    """Return a value as it is, for a key=value string; what comes from outside must be one value of its key."""
    if key in ("host", "hostaddr", "port"):
        check_column(name, value, r"[,/@]", "a host")
    elif key == "options":
        as_option(name, value)
    return value


def _check_libpq(given: Mapping[str, str], unknown: Collection[str], *, shown: bool) -> None:
    for key, value in given.items():
        if key not in _LIBPQ.split():
            if is_setting(key, _LIBPQ.split(), in_url=shown):
                continue
            hint = did_you_mean(key, _LIBPQ.split()) if shown else ""
            where = "https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"
            named = f" {key!r}" if shown and re.fullmatch(r"[a-z_]{1,40}", key) else ""
            raise DsnError(f"the DSN has a parameter{named} that libpq does not know", hint or f"see {where}")
        if key in unknown or not value:
            continue
        if key in _CHOICES and value not in _CHOICES[key]:
            raise DsnError(f"the DSN has a wrong value for {key!r}", f"it is {either(_CHOICES[key])}")
        if key in _NUMBERS and not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value):
            raise DsnError(f"the DSN has a wrong value for {key!r}", "it is a whole number")


DSN = LibpqForm(
    engine="postgres",
    schemes=("postgres", "postgresql"),
    port="5432",
    parameters=(
        "x-migrations-table",
        "x-migrations-table-quoted",
        "x-statement-timeout",
        "x-multi-statement",
        "x-multi-statement-max-size",
        "x-lock-strategy",
        "x-lock-table",
        "x-no-lock",
        "x-transaction-lock",
    ),
    # golang-migrate's drivers for PostgreSQL go by these names; libpq knows one.
    other_schemes={"pgx": "postgres", "pgx4": "postgres", "pgx5": "postgres"},
)
