"""DSNs that are URLs: how every engine reads and rewrites them that has no other form of its own. Imports no driver."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from math import isfinite
from pathlib import Path
from urllib.parse import quote, unquote, unquote_plus, unquote_to_bytes

from orchestrator.patterns import regex
from orchestrator.phrases import did_you_mean, either
from orchestrator.records import NamedTuple, dataclass, field

IS_URL = regex(r"[A-Za-z][A-Za-z0-9+.\0-]*://")
HOLE = "\0"
"""Stands for a value while the structure of a DSN is found; templates and values never hold one."""
_ENCODE = "percent-encode special characters: @ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25"
SECRET = regex(r"password|secret|token|scram_\w+_key|authmechanismproperties", re.IGNORECASE)
"""Parameters whose values are secrets."""

Holes = Iterator[tuple[str, str]]
"""What stands in each hole of a DSN, in order: the name of the variable ('' for the database's name) and the value."""


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

    def __repr__(self) -> str:
        return f"Url({self.scheme}://…)"

    def text(self) -> str:
        """Return the DSN; without user and password if both are empty."""
        login = self.user + (":" + self.password if self.has_password else "")
        login = login + "@" if self.user or self.password else ""
        return f"{self.scheme}://{login}{self.hosts}/{self.path}{'?' if self.query else ''}{self.query}"


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A DSN understood. Holds secrets: never printed. The fields mean what they do in `Target`."""

    url: str
    database: str
    endpoint: str
    server_key: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()


class Reading(NamedTuple):
    """A URL whose form is right: its parts, golang-migrate's parameters decoded, and the others as they stand in it."""

    url: Url
    ours: Mapping[str, str]
    kept: list[tuple[str, str]]


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


@dataclass(frozen=True, slots=True)
class UrlForm:
    """How an engine whose DSNs are `scheme://user:password@host:port/database?key=value` reads and rewrites them.

    An engine with rules of its own derives from this. Every method raises DsnError for what it cannot read.

    Attributes:
        engine: the name of the engine.
        schemes: what a DSN begins with, before `://`; the first is the usual one.
        port: the port of a server where a DSN names none.
        parameters: golang-migrate's parameters (`x-…`), which never reach a driver.
        other_schemes: further schemes by which golang-migrate knows the engine, and what the driver calls them.
    """

    engine: str
    schemes: tuple[str, ...]
    port: str
    parameters: tuple[str, ...]
    other_schemes: Mapping[str, str] = field(default_factory=dict)

    def read(self, text: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
        """Understand a DSN without templates. `unknown`: the parameters whose values are not known yet."""
        del unknown, base
        found = self.open(text)
        url = normalized(found.url, unquote(found.url.path), found.kept)
        return Address(
            url.text(),
            unquote(url.path),
            self.endpoint(url),
            url._replace(path="").text(),
            found.ours,
            secrets_of(found.url, found.kept),
        )

    def fill(self, skeleton: str, holes: Holes) -> str | None:
        """Return a DSN with each HOLE filled, every value encoded for its place; None if this is no form of a DSN."""
        if IS_URL.match(skeleton):
            return _fill_url(skeleton, holes)
        return put(skeleton, holes, lambda _, value: value) if "=" in skeleton else None  # `read` says what is missing

    def retarget(self, url: str, name: str) -> str:
        """Return the DSN of another database of the same server and login."""
        return split(url)._replace(path=quote(name, safe="")).text()

    def login(self, url: str) -> str:
        """Return the user of a DSN, or an empty text."""
        return unquote(split(url).user)

    def without_password(self, url: str) -> str:
        """Return a DSN for people and logs: without its password."""
        parts = split(url)
        query = "&".join(part for part in parts.query.split("&") if not SECRET.search(unquote(part.partition("=")[0])))
        return parts._replace(password="", has_password=False, query=query).text()

    def parts(self, url: str) -> tuple[dict[str, str], bool]:
        """Return host, port, user, password and the parameters in lower case, and whether it is a single known host."""
        parts = split(url)
        hosts = parts.hosts
        name, _, number = hosts.rpartition(":") if ":" in hosts.rpartition("]")[2] else (hosts, "", "")
        fields = {"host": name, "port": number, "user": unquote(parts.user), "password": unquote(parts.password)}
        pairs = (part.partition("=") for part in parts.query.split("&"))
        fields |= {unquote(key).lower(): unquote(value) for key, _, value in pairs}  # as in libpq, the later one wins
        return fields, not parts.scheme.endswith("+srv") and "," not in fields.get("host", "")

    def within(self, url: str) -> str:
        """Return what of a DSN chooses a part of the database: two entries may share one that differ in this."""
        del url
        return ""

    # ------------------------------------------------------------ for engines that derive from this

    def open(self, text: str) -> Reading:
        """Check the form of a URL: scheme, characters, parameters."""
        if not IS_URL.match(text):
            hint = f"it begins with {either([f'{scheme}://' for scheme in self.schemes])}"
            raise DsnError("the DSN has no scheme", hint)
        url = split(text)
        url = url._replace(scheme=self.other_schemes.get(url.scheme.lower(), url.scheme))
        check_scheme(url.scheme, self.engine, self.schemes)
        if re.search(r"[\x00-\x20\x7f]", text):
            raise DsnError("the DSN holds a space or a control character", "percent-encode it: a space is %20")
        pairs = [part.partition("=") for part in url.query.split("&") if part]
        if not all(equals for _, equals, _ in pairs):
            raise DsnError("the DSN has a query parameter without '='", _ENCODE)
        ours = {unquote(key): unquote_plus(value) for key, _, value in pairs if is_ours(key)}
        check_parameters(ours, self.parameters)
        return Reading(url, ours, [(key, value) for key, _, value in pairs if not is_ours(key)])

    def endpoint(self, url: Url) -> str:
        """Return host:port[,…] for people."""
        hosts = [host_and_port(part) for part in url.hosts.split(",")]
        if not all(host for host, _ in hosts):
            raise DsnError("the DSN names no host")
        bare = "+srv" in url.scheme or any(host.endswith(".sock") for host, _ in hosts)
        return ",".join(host if bare else f"{host}:{port or self.port}" for host, port in hosts)


def normalized(url: Url, database: str, kept: list[tuple[str, str]]) -> Url:
    """Return a URL as a driver gets it: with these parameters only. DsnError if it names no database."""
    check_database(database)
    return url._replace(
        scheme=url.scheme.lower(),
        user=quote(unquote_to_bytes(url.user), safe=""),
        password=quote(unquote_to_bytes(url.password), safe=""),
        query="&".join(f"{key}={value}" for key, value in kept),
    )


def check_database(name: str) -> None:
    """Raise DsnError for a DSN that names no database."""
    if not name:
        raise DsnError(
            "the DSN names no database", "end it with /{database}, before any '?'; or write dbname={database}"
        )


def secrets_of(url: Url, kept: list[tuple[str, str]]) -> tuple[str, ...]:
    """Return the secrets of a URL, in the forms in which they may be shown."""
    found = [url.password, unquote(url.password)]
    for key, value in kept:
        inside = tuple(secrets_in(unquote(key), unquote(value)))
        found += (value, *inside) if unquote(value) in inside else inside
    return tuple(found)


def secrets_in(key: str, value: str) -> Iterator[str]:
    """Yield the secrets that a parameter of a DSN holds: its value, or parts of it."""
    if SECRET.search(key):
        yield value
        for part in value.split(",") if key.lower() == "authmechanismproperties" else ():
            name, _, inner = part.partition(":")
            if SECRET.search(name):
                yield inner


def check_scheme(scheme: str, engine: str, allowed: tuple[str, ...]) -> None:
    """Raise DsnError for a scheme that is not one of these."""
    if scheme.lower() in allowed:
        return
    base, plus, _ = scheme.lower().partition("+")
    hint = f"it begins with {either([f'{known}://' for known in allowed])}"
    if plus and base in allowed:
        hint = f"write {base}:// instead; what stands behind the + names the driver of a Python library"
        raise DsnError(f"the DSN begins with '{base}+…://', which only a Python library understands", hint)
    from orchestrator.engines import dialects

    if any(scheme.lower() in known.dsn.schemes for known in dialects()):
        raise DsnError(f"the DSN begins with '{scheme}://', and the engine is {engine}", hint)
    raise DsnError(f"the scheme of the DSN is not one of {engine}", hint)


def is_ours(key: str) -> bool:
    """Whether a parameter is one of golang-migrate's, which are no driver's."""
    return unquote(key).startswith("x-")


LOCK_TIMEOUT = "lock_timeout"
"""Among the parameters of a target: how long its DSN lets a statement wait for a lock of a table, in seconds."""


_SWITCHES = (
    *("x-multi-statement", "x-migrations-table-quoted", "x-advisory-locking", "x-no-lock", "x-transaction-lock"),
    *("x-tls-insecure-skip-verify", "x-no-tx-wrap", "x-transaction-mode"),
)
_NUMBERS = ("x-advisory-lock-timout", "x-advisory-lock-timeout", "x-statement-timeout")


def check_parameters(given: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Raise DsnError for a parameter of golang-migrate's form that its driver does not know, or a value that it cannot have.

    This holds before the variables of a DSN are known too: what stands for them, `1`, is a number and a switch.
    """
    for key, value in given.items():
        if key not in known:
            hint = did_you_mean(key, known) or f"those known are {', '.join(known)}"
            shown = repr(key) if re.fullmatch(r"x-[a-z-]{1,40}", key) else "x-…"
            raise DsnError(f"the DSN has the unknown parameter {shown}", hint)
        if key in _SWITCHES and value.lower() not in ("", "1", "t", "true", "0", "f", "false"):
            raise DsnError(f"{key} in the DSN is neither true nor false", f"for example {key}=true, or leave it out")
        if key in _NUMBERS and not _is_number(value):
            raise DsnError(
                f"{key} in the DSN must be a finite number, at least 0", f"for example {key}=60, or leave it out"
            )


def _is_number(text: str) -> bool:
    try:
        value = float(text or 0)
    except ValueError:
        return False
    return isfinite(value) and value >= 0


def host_and_port(part: str) -> tuple[str, str]:
    """Return host (decoded) and port of one host of a URL."""
    found = re.fullmatch(r"(\[[0-9A-Fa-f:.]+(?:%[^\[\]]+)?\]|[^:\[\]]*)(?::([0-9]{0,5}))?", part)
    if not found or (found[2] and not 0 < int(found[2]) < 65536):
        raise DsnError(
            "the host part of the DSN is not host:port",
            "a port is a number up to 65535, an IPv6 address stands in [brackets]; in a password, " + _ENCODE,
        )
    return unquote(found[1]), found[2] or ""


def _fill_url(skeleton: str, holes: Holes) -> str:
    """Return a URL with each HOLE filled, every value percent-encoded where that is possible."""
    url = split(skeleton)
    if any(HOLE in part.partition("=")[0] for part in url.query.split("&")):
        raise DsnError("a variable in the query of a DSN can only be a value: ?key=${VAR}")
    scheme = put(url.scheme, holes, _as_host)
    user = put(url.user, holes, _encoded)
    password = put(url.password, holes, _encoded)
    hosts = put(url.hosts, holes, _as_host)
    path = put(url.path, holes, _encoded)
    query = "&".join(
        put(part, holes, as_option if part.startswith("options=") else _encoded) for part in url.query.split("&")
    )
    return url._replace(scheme=scheme, user=user, password=password, hosts=hosts, path=path, query=query).text()


def put(text: str, holes: Holes, encode: Callable[[str, str], str]) -> str:
    """Return a part of a DSN with its holes filled; `encode` gets the name of the variable and the value."""
    return re.sub(HOLE, lambda _: encode(*next(holes)), text) if HOLE in text else text


def _encoded(_name: str, value: str) -> str:
    return quote(value, safe="")


def _as_host(name: str, value: str) -> str:
    if re.search(r"[@/?#\\\s]", value):
        raise DsnError(
            f"the value of {name or '{database}'} cannot be part of a host: it holds one of @ / ? # \\ or a space",
            "for a socket directory write ?host=… in the query",
        )
    check_column(name, value, r"[,:%]", "a host")
    return value


def as_option(name: str, value: str) -> str:
    """Return a value encoded for `options`, where a space would begin another setting of the session."""
    if not name:
        name = "{database}"
    check_column(name, value, r"[\s\\]", "the options of a session")
    return quote(value, safe="")


def check_column(name: str, value: str, forbidden: str, place: str) -> None:
    """Raise DsnError if the value of a column, which comes from outside, would be more than one part of a DSN."""
    if name.startswith("{") and (found := re.search(forbidden, value)):
        raise DsnError(f"the value of {name} cannot be part of {place}: it holds {found[0]!r}")
