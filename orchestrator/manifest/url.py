"""Reading a DSN (URL or libpq's key=value string) without any driver and without asking DNS.

Nothing here repeats the text of a DSN in an error: what was taken for a port may be half a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus, unquote_to_bytes

from orchestrator.manifest.names import did_you_mean, either, name_problem
from orchestrator.manifest.server_settings import is_setting, with_settings

IS_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\0-]*://")
_SCHEMES = {"postgres": ("postgres", "postgresql"), "mongo": ("mongodb", "mongodb+srv")}
# golang-migrate's drivers for PostgreSQL go by these names; libpq knows one.
_SAME_SCHEME = {"pgx": "postgres", "pgx4": "postgres", "pgx5": "postgres"}
_PORTS = {"postgres": "5432", "mongo": "27017"}
PARAMETERS = {
    "postgres": (
        "x-migrations-table",
        "x-migrations-table-quoted",
        "x-statement-timeout",
        "x-multi-statement",
        "x-multi-statement-max-size",
    ),
    "mongo": (
        "x-migrations-collection",
        "x-transaction-mode",
        "x-advisory-locking",
        "x-advisory-lock-collection",
        "x-advisory-lock-timeout",
        "x-advisory-lock-timeout-interval",
        "x-advisory-lock-timout",  # golang-migrate's own spelling
        "x-advisory-lock-timout-interval",
    ),
}
"""golang-migrate's parameters, which never reach a driver."""

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
_ENCODE = "percent-encode special characters: @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"
_SECRET = re.compile(r"password|secret|token|authmechanismproperties", re.IGNORECASE)


class DsnError(Exception):
    """What is wrong with a DSN or template, and a hint; free of secrets. Becomes an InvalidError with a place."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


class Url(NamedTuple):
    """The parts of a DSN, as they stand in it."""

    scheme: str
    user: str
    password: str
    has_password: bool
    hosts: str
    path: str
    query: str

    def text(self) -> str:
        """Return the DSN; without user and password if both are empty."""
        login = self.user + (":" + self.password if self.has_password else "")
        login = login + "@" if self.user or self.password else ""
        return f"{self.scheme}://{login}{self.hosts}/{self.path}{'?' if self.query else ''}{self.query}"


def split(text: str) -> Url:
    """Split a URL; DsnError where it is ambiguous, because a driver would take half a password for a host."""
    scheme, _, rest = text.partition("://")
    end = re.search(r"[/?#]", rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    login, _, hosts = authority.rpartition("@")
    path, _, query = tail.partition("?")
    if "@" in login or "@" in tail or "#" in tail:
        raise DsnError("the DSN is ambiguous: its user or password seems to hold special characters", _ENCODE)
    user, colon, password = login.partition(":")
    if re.search(r"%(?![0-9A-Fa-f]{2})", login + path + query):
        raise DsnError("the DSN has a '%' that encodes nothing", "a plain % is written %25")
    return Url(scheme, user, password, bool(colon), hosts, path.removeprefix("/"), query)


_PAIR = re.compile(r"\s*([^\s='\0]+)\s*=\s*('(?:[^'\\]|\\.)*'|(?!')(?:[^\s\\]|\\.)*)(?=\s|$)", re.DOTALL)


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


_QUOTED, _BACKSLASHED = r"(['\\])", r"\\\1"


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A DSN understood. Holds secrets: never printed."""

    url: str
    database: str
    endpoint: str
    server_key: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


def read_address(text: str, engine: str, *, filled: bool = True) -> Address:
    """Understand a DSN without templates; DsnError if it is malformed, for another engine, or names no database.

    Not `filled`: the values of its parameters are not known yet.
    """
    if IS_URL.match(text):
        return _read_url(text, engine, filled)
    if engine == "postgres" and "=" in text:
        return _read_conninfo(text, filled)
    raise DsnError("the DSN has no scheme", f"it begins with {either([f'{scheme}://' for scheme in _SCHEMES[engine]])}")


def _read_url(text: str, engine: str, filled: bool) -> Address:
    url = split(text)
    if engine == "postgres":
        url = url._replace(scheme=_SAME_SCHEME.get(url.scheme.lower(), url.scheme))
    _check_scheme(url.scheme, engine)
    if re.search(r"[\x00-\x20\x7f]", text):
        raise DsnError("the DSN holds a space or a control character", "percent-encode it: a space is %20")
    pairs = [part.partition("=") for part in url.query.split("&") if part]
    if not all(equals for _, equals, _ in pairs):
        raise DsnError("the DSN has a query parameter without '='", _ENCODE)
    fields = {unquote(key): unquote(value) for key, _, value in pairs}
    ours = {unquote(key): unquote_plus(value) for key, _, value in pairs if _is_ours(key)}
    _check_parameters(ours, engine)
    if engine == "postgres":
        _check_libpq({key: value for key, value in fields.items() if not _is_ours(key)}, filled=filled, shown=True)
    path = url.path
    kept = [(key, value) for key, _, value in pairs if not _is_ours(key)]
    if engine == "postgres" and "dbname" in fields:  # libpq lets it win over the path
        path = quote(fields["dbname"], safe="")
        kept = [(key, value) for key, value in kept if unquote(key) != "dbname"]
    if engine == "postgres":
        kept, fields = _settings_as_options(kept, fields)
    elif engine == "mongo":
        kept = [_go_option(key, value) for key, value in kept]
        kept = [pair for pair in kept if pair[0]]
    _check_database(unquote(path), engine)
    secrets = [url.password, unquote(url.password)]
    secrets += [form for key, value in kept if _SECRET.search(key) for form in (value, unquote(value))]
    url = url._replace(
        scheme=url.scheme.lower(),
        user=quote(unquote_to_bytes(url.user), safe=""),
        password=quote(unquote_to_bytes(url.password), safe=""),
        path=path,
        query="&".join(f"{key}={value}" for key, value in kept),
    )
    hosts = [_host_and_port(part) for part in url.hosts.split(",")]
    if engine == "postgres":
        endpoint = _libpq_endpoint(hosts, fields)
    else:
        if not all(host for host, _ in hosts):
            raise DsnError("the DSN names no host")
        bare = ("+srv" in url.scheme, *(host.endswith(".sock") for host, _ in hosts))
        endpoint = ",".join(host if any(bare) else f"{host}:{port or _PORTS[engine]}" for host, port in hosts)
    # MongoDB asks the database in the path for the password, unless authSource says which: then the login differs too.
    implied = engine == "mongo" and url.user and not any(key.lower() == "authsource" for key in fields)
    server_key = url if implied else url._replace(path="")
    return Address(url.text(), unquote(path), endpoint, server_key.text(), ours, tuple(secrets))


def _read_conninfo(text: str, filled: bool) -> Address:
    fields = parse_conninfo(text)
    ours = {key: fields.pop(key) for key in list(fields) if _is_ours(key)}
    _check_parameters(ours, "postgres")
    _check_libpq(fields, filled=filled, shown=False)  # a space in a password makes a key of what follows it
    settings = {key: fields.pop(key) for key in list(fields) if key not in _LIBPQ.split()}
    if options := with_settings(fields.get("options", ""), settings):
        fields["options"] = options
    database = fields.get("dbname", "")
    _check_database(database, "postgres")
    server = {key: value for key, value in fields.items() if key != "dbname"}
    secrets = tuple(value for key, value in fields.items() if _SECRET.search(key))
    endpoint = _libpq_endpoint([("", "")], fields)
    return Address(conninfo(fields), database, endpoint, conninfo(server), ours, secrets)


def _check_scheme(scheme: str, engine: str) -> None:
    allowed = _SCHEMES[engine]
    if scheme.lower() in allowed:
        return
    base, plus, _ = scheme.lower().partition("+")
    hint = f"it begins with {either([f'{known}://' for known in allowed])}"
    if plus and base in allowed:
        hint = f"write {base}:// instead; what stands behind the + names the driver of a Python library"
        raise DsnError(f"the DSN begins with '{base}+…://', which only a Python library understands", hint)
    if any(scheme.lower() in others for others in _SCHEMES.values()):
        raise DsnError(f"the DSN begins with '{scheme}://', and the engine is {engine}", hint)
    raise DsnError(f"the scheme of the DSN is not one of {engine}", hint)


def _check_database(name: str, engine: str) -> None:
    if not name:
        raise DsnError(
            "the DSN names no database", "end it with /{database}, before any '?'; or write dbname={database}"
        )
    if problem := name_problem(engine, name):
        raise DsnError(f"the name of the database in the DSN {problem}")


def _is_ours(key: str) -> bool:
    return unquote(key).startswith("x-")


def _check_parameters(given: Mapping[str, str], engine: str) -> None:
    known = PARAMETERS[engine]
    for key in given:
        if key not in known:
            hint = did_you_mean(key, known) or f"those known are {', '.join(known)}"
            shown = repr(key) if re.fullmatch(r"x-[a-z-]{1,40}", key) else "x-…"
            raise DsnError(f"the DSN has the unknown parameter {shown}", hint)


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


def _go_option(key: str, value: str) -> tuple[str, str]:
    """Return an option of MongoDB's driver for Go as pymongo calls it; an empty name where it has none and needs none."""
    if unquote(key).lower() != "connect":
        return key, value
    return {"direct": ("directConnection", "true"), "automatic": ("", "")}.get(value.lower(), (key, value))


def _check_libpq(given: Mapping[str, str], *, filled: bool, shown: bool) -> None:
    for key, value in given.items():
        if key not in _LIBPQ.split():
            if is_setting(key, _LIBPQ.split(), in_url=shown):
                continue
            hint = did_you_mean(key, _LIBPQ.split()) if shown else ""
            where = "https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS"
            named = f" {key!r}" if shown and re.fullmatch(r"[a-z_]{1,40}", key) else ""
            raise DsnError(f"the DSN has a parameter{named} that libpq does not know", hint or f"see {where}")
        if not filled or not value:
            continue
        if key in _CHOICES and value not in _CHOICES[key]:
            raise DsnError(f"the DSN has a wrong value for {key!r}", f"it is {either(_CHOICES[key])}")
        if key in _NUMBERS and not re.fullmatch(r"\s*[+-]?[0-9]{1,9}\s*", value):
            raise DsnError(f"the DSN has a wrong value for {key!r}", "it is a whole number")


def _host_and_port(part: str) -> tuple[str, str]:
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%[^\[\]]+)?\]|[^:\[\]]*)(?::([0-9]{0,5}))?", part)
    if not found or (found[2] and not 0 < int(found[2]) < 65536):
        raise DsnError(
            "the host part of the DSN is not host:port",
            "a port is a number up to 65535, an IPv6 address stands in [brackets]; in a password, " + _ENCODE,
        )
    return unquote(found[1]), found[2] or ""


def _libpq_endpoint(hosts: list[tuple[str, str]], fields: Mapping[str, str]) -> str:
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
    default = _PORTS["postgres"]
    return ",".join(f"{name or 'local socket'}:{port or default}" for name, port in zip(names, ports, strict=True))
