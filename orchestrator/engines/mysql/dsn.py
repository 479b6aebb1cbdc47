"""DSNs of MySQL and MariaDB as golang-migrate reads them: `mysql://user:password@tcp(host:port)/database?key=value`."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, unquote, unquote_plus

from orchestrator.engines.url import (
    HOLE,
    Address,
    DsnError,
    Holes,
    check_column,
    check_database,
    check_parameters,
    check_scheme,
    host_and_port,
    is_ours,
    put,
)
from orchestrator.phrases import either
from orchestrator.records import dataclass

_FORM = "write mysql://user:password@tcp(host:3306)/{database}, or unix(/path/of/the.sock) instead of tcp(…)"
_NETWORK = re.compile(r"(?P<kind>[a-z0-9]*)(?:\((?P<address>.*)\))?", re.DOTALL)
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Parameters of the Go driver. What is none of them is sent as SET name = value.
_OF_THE_DRIVER = frozenset(
    (
        *("allowAllFiles", "allowCleartextPasswords", "allowNativePasswords", "allowOldPasswords", "charset"),
        *("checkConnLiveness", "clientFoundRows", "collation", "columnsWithAlias", "compress", "connectionAttributes"),
        *("interpolateParams", "loc", "maxAllowedPacket", "multiStatements", "parseTime", "readTimeout"),
        *("rejectReadOnly", "serverPubKey", "timeout", "tls", "writeTimeout"),
    )
)
_CHARSETS = ("utf8mb4", "utf8", "utf8mb3")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_IN_A_DSN = {
    "autocommit": "orch commits by itself",
    "init_connect": "it is of the server",
    "transaction_read_only": "orch could not write",
    "tx_read_only": "orch could not write",
    "sql_log_bin": "replicas would miss the migration",
    "wsrep_on": "the other nodes would miss the migration",
    "gtid_next": "a second transaction would get the same id",
    "skip_replication": "replicas could miss the migration",
    "server_id": "a replica with this id would miss the migration",
    "gtid_seq_no": "a second transaction would get the same number",
    "pseudo_thread_id": "orch finds its lock by it",
    "timestamp": "the history would have a wrong time",
    "sql_select_limit": "orch could not read all of its records",
    "completion_type": "a COMMIT would begin another transaction, or end the session",
    "character_set_client": "migration files are UTF-8",
}
_TLS = ("true", "false", "skip-verify")


class Parts(NamedTuple):
    """The parts of a DSN, as they stand in it: `network` is the text between `@` and the last `/`."""

    scheme: str
    user: str
    password: str
    has_password: bool
    network: str
    database: str
    query: str

    def __repr__(self) -> str:
        return f"Parts({self.scheme}://…)"

    def text(self) -> str:
        """Return the DSN."""
        login = self.user + (":" + self.password if self.has_password else "")
        login = login + "@" if login else ""
        query = f"?{self.query}" if self.query else ""
        return f"{self.scheme}://{login}{self.network}/{self.database}{query}"


def split(text: str) -> Parts:
    """Split a DSN as the Go driver does: at the last slash, the last `@` before it, and the first colon."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise DsnError("the DSN has no scheme", "it begins with mysql://")
    before, slash, after = rest.rpartition("/")
    if not slash:
        raise DsnError("the DSN names no database", _FORM)
    if "(" in after or "@" in after.partition("?")[0]:
        raise DsnError("the DSN has a '/' behind the host", "in a parameter write %2F for it")
    login, at, network = before.rpartition("@")
    if not at:
        network = before
    user, colon, password = login.partition(":")
    database, _, query = after.partition("?")
    return Parts(scheme, user, password, bool(colon), network, database, query)


class Network(NamedTuple):
    """How a server is reached: over TCP, or a socket of this machine."""

    host: str
    port: str
    socket: str = ""


def network_of(text: str) -> Network:
    """Return what a network address means; DsnError if it is none."""
    found = _NETWORK.fullmatch(text)
    kind, address = (found["kind"], found["address"]) if found else ("", None)
    if not text:
        return Network("127.0.0.1", "3306")
    if found is None or kind not in ("tcp", "unix"):
        raise DsnError("the DSN does not say how the server is reached", _FORM)
    if kind == "unix":
        return Network("localhost", "", unquote(address or "/tmp/mysql.sock"))  # noqa: S108 - where the driver looks
    host, port = host_and_port(address or "127.0.0.1:3306")
    if not host:
        raise DsnError("the DSN names no host", _FORM)
    return Network(host, port or "3306")


def pairs_of(query: str) -> list[tuple[str, str]]:
    """Return the parameters of a DSN as they stand in it."""
    found = [part.partition("=") for part in query.split("&") if part]
    if not all(equals for _, equals, _ in found):
        raise DsnError("the DSN has a query parameter without '='", "in a value write %26 for & and %3D for =")
    return [(key, value) for key, _, value in found]


@dataclass(frozen=True, slots=True)
class MysqlForm:
    """How a DSN of the Go driver is read and written."""

    engine: str
    schemes: tuple[str, ...]
    port: str
    parameters: tuple[str, ...]

    def read(self, text: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
        """Understand a DSN without templates; user and password may stand in it raw or percent-encoded."""
        del base
        check_scheme(text.partition("://")[0] if "://" in text else "", self.engine, self.schemes)
        parts = split(text)
        if re.search(r"[\x00-\x1f\x7f]", text):
            raise DsnError("the DSN holds a control character", "percent-encode it")
        for part in (parts.user, parts.password, parts.query):
            if _BAD_PERCENT.search(part):
                raise DsnError("the DSN has a '%' that encodes nothing", "a plain % is written %25")
        network = network_of(parts.network)
        user, password = unquote_plus(parts.user), unquote_plus(parts.password)
        pairs = [(unquote(key), unquote_plus(value)) for key, value in pairs_of(parts.query)]
        ours = {key: value for key, value in pairs if is_ours(key)}
        kept = [(key, value) for key, value in pairs if not is_ours(key)]
        check_parameters(ours, self.parameters)
        check_database(parts.database)
        _check(ours, kept, unknown)
        # The driver gets the files of a certificate with the rest.
        kept += [(key, value) for key, value in ours.items() if key.startswith("x-tls-")]
        reach = _quoted(network)
        query = "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in kept)
        whole = Parts(
            self.schemes[0],
            quote(user, safe=""),
            quote(password, safe=""),
            parts.has_password,
            reach,
            quote(parts.database, safe=""),
            query,
        )
        return Address(
            whole.text(),
            parts.database,
            network.socket or f"{network.host}:{network.port}",
            whole._replace(database="").text(),
            ours,
            tuple(filter(None, (parts.password, password, quote(password, safe="")))),
        )

    def fill(self, skeleton: str, holes: Holes) -> str | None:
        """Return a DSN with each HOLE filled, every value encoded for its place; None if this is no form of a DSN."""
        if "://" not in skeleton.replace(HOLE, ""):
            return None
        parts = split(skeleton)
        if any(HOLE in part.partition("=")[0] for part in parts.query.split("&")):
            raise DsnError("a variable in the query of a DSN can only be a value: ?key=${VAR}")
        return parts._replace(
            scheme=put(parts.scheme, holes, _plain),
            user=put(parts.user, holes, _encoded),
            password=put(parts.password, holes, _encoded),
            network=put(parts.network, holes, _plain),
            database=put(parts.database, holes, _name),
            query=put(parts.query, holes, _encoded),
        ).text()

    def retarget(self, url: str, name: str) -> str:
        """Return the DSN of another database of the same server and login."""
        return split(url)._replace(database=quote(name, safe="")).text()

    def login(self, url: str) -> str:
        """Return the user of a DSN, or an empty text."""
        return unquote(split(url).user)

    def without_password(self, url: str) -> str:
        """Return a DSN for people and logs: without its password."""
        return split(url)._replace(password="", has_password=False).text()

    def parts(self, url: str) -> tuple[dict[str, str], bool]:
        """Return host, port, user, password and the parameters in lower case, and whether it is a single known host."""
        parts = split(url)
        found = _NETWORK.fullmatch(parts.network)
        kind, address = (found["kind"], found["address"] or "") if found else ("", "")
        host, _, port = address.rpartition(":") if ":" in address.rpartition("]")[2] else (address, "", "")
        if kind == "unix":
            host, port = unquote(address), ""
        fields = {"host": host, "port": port, "user": unquote(parts.user), "password": parts.password}
        return fields | {key.lower(): unquote(value) for key, value in pairs_of(parts.query)}, True

    def within(self, url: str) -> str:
        """Return nothing: a database has no parts."""
        del url
        return ""


def _quoted(network: Network) -> str:
    if network.socket:
        # The characters at which a DSN is cut must not stand in it; the driver's own form has the path raw.
        return f"unix({quote(network.socket, safe='')})"
    host = f"[{network.host.strip('[]')}]" if ":" in network.host else network.host
    return f"tcp({host}:{network.port})"


def _check(ours: dict[str, str], kept: list[tuple[str, str]], unknown: Collection[str]) -> None:
    if "tls" not in unknown:
        _check_tls(ours, dict(kept).get("tls", ""))
    if "x-no-lock" not in unknown and ours.get("x-no-lock", "").lower() in ("1", "t", "true"):
        raise DsnError(
            "the DSN has x-no-lock, and orch does not migrate without the lock",
            "remove it; a Galera cluster, where GET_LOCK is of one node alone, is not supported yet",
        )
    for key, value in kept:
        if key == "charset" and "charset" not in unknown and value.split(",")[0] not in _CHARSETS:
            raise DsnError("the DSN has a charset other than utf8mb4", "remove it: migration files are UTF-8")
        if key in _OF_THE_DRIVER:
            continue
        if not _VARIABLE.fullmatch(key):
            raise DsnError("the DSN has a parameter that is no name of a variable", "see docs/engines.md")
        if why := _NOT_IN_A_DSN.get(key.lower()):
            raise DsnError(f"the DSN sets {key.lower()}: {why}", "remove it")


def _check_tls(ours: dict[str, str], tls: str) -> None:
    if tls.lower() == "preferred":
        raise DsnError(
            "the DSN has tls=preferred, with which golang-migrate fails", "write tls=true or tls=skip-verify"
        )
    if any(key.startswith("x-tls-") for key in ours) and (not tls or tls in _TLS[1:]):
        raise DsnError("the DSN has x-tls-… without tls=", "add tls=custom")
    if tls and tls not in _TLS and not any(key.startswith("x-tls-") for key in ours):
        raise DsnError("the DSN has a wrong value for 'tls'", f"it is {either(_TLS)}, or a name beside x-tls-ca")


def variables_of(url: str) -> dict[str, str]:
    """Return what a DSN sets for the session, as the Go driver sends it: SET name = value."""
    pairs = ((unquote(key), unquote(value)) for key, value in pairs_of(split(url).query))
    return {key: value for key, value in pairs if key not in _OF_THE_DRIVER and not is_ours(key)}


def _encoded(_name: str, value: str) -> str:
    return quote(value, safe="")


def _plain(name: str, value: str) -> str:
    if re.search(r"[@?#()\s]", value):
        raise DsnError(f"the value of {name or '{database}'} cannot be part of a host: it holds one of @ ? # ( )")
    check_column(name, value, r"[,:/%]", "a host")
    return value


def _name(name: str, value: str) -> str:
    if found := re.search(r"[/?@()\0]", value):
        raise DsnError(f"the value of {name or '{database}'} holds {found[0]!r}, which cannot be in a DSN")
    return value


DSN = MysqlForm(
    engine="mysql",
    schemes=("mysql",),
    port="3306",
    parameters=(
        "x-migrations-table",
        "x-no-lock",
        "x-statement-timeout",
        "x-tls-ca",
        "x-tls-cert",
        "x-tls-key",
        "x-tls-insecure-skip-verify",
    ),
)
