"""Why no server of a DSN could be used, where the driver says no more than that there is none: asked again, and told."""

from __future__ import annotations

import re
import socket
from typing import Any

from pymongo import MongoClient, ReadPreference
from pymongo.errors import NetworkTimeout, PyMongoError

from orchestrator.engines.mongo import errors
from orchestrator.errors import ConnectError
from orchestrator.model import Target
from orchestrator.patterns import regex

PATIENCE = 2_000  # milliseconds for each question


def why(client: MongoClient[Any], target: Target, error: Exception) -> ConnectError | None:
    """Return our error for a client that found no server to use, None if nothing more is known than `error` says."""
    if fault := _tls_fault(client):
        return _tls_error(fault, target)
    hosts = client.topology_description.server_descriptions()
    if not hosts:  # all that answered were put aside, as they belong to another replica set than the DSN names
        return _of_another_set(target)
    if not any(map(_has_address, hosts)):
        return errors.unresolved(target, str(error).partition(" (configured timeouts")[0])
    return None


def _of_another_set(target: Target) -> ConnectError | None:
    start, _, query = target.url.reveal().partition("?")
    options = [option for option in re.split("[&;]", query) if option.partition("=")[0].lower() != "replicaset"]
    with MongoClient[Any](f"{start}?{'&'.join(options)}", serverSelectionTimeoutMS=PATIENCE) as other:
        try:
            found = other.admin.command("hello", read_preference=ReadPreference.SECONDARY_PREFERRED).get("setName")
        except PyMongoError:
            return None
    told = f"is of the replica set '{found}'" if found else "is of no replica set"
    advice = f"write replicaSet={found} in the DSN" if found else "leave replicaSet out of the DSN"
    return ConnectError(f"{target.endpoint} {told}, and the DSN names another one", hint=advice, server_down=True)


def _has_address(server: tuple[str, int | None]) -> bool:
    """Whether a host has an address, which is asked again: the driver keeps only a text of it."""
    host, port = server
    try:
        return port is None or bool(socket.getaddrinfo(host, port))  # a Unix socket has no port
    except OSError:
        return False


_TLS_REASON = regex(r"\[SSL: (\w+)\]")  # OpenSSL's name of what went wrong; no host has this in its name
_CLOSED = "UNEXPECTED_EOF_WHILE_READING"


def _tls_fault(client: MongoClient[Any]) -> str:
    """Return what the driver says of a TLS handshake that no waiting will mend, if the last try to connect ended in one.

    A handshake that was cut may be of a server without TLS, or of a proxy whose server is starting: that one is asked.
    """
    servers = [server for server in client.topology_description.server_descriptions().values() if server.error]
    for server in servers:
        text = str(server.error)
        found = _TLS_REASON.search(text)
        if found and found[1] != _CLOSED:
            return text
        late = isinstance(server.error, NetworkTimeout)
        if client.options.pool_options._ssl_context and not late and _answers_without_tls(*server.address):
            return text
    return ""


def _answers_without_tls(host: str, port: int | None) -> bool:
    plain: MongoClient[Any] = MongoClient(host, port, directConnection=True, serverSelectionTimeoutMS=PATIENCE)
    with plain:
        try:
            plain.admin.command("hello")
        except PyMongoError:
            return False
    return True


def _tls_error(text: str, target: Target) -> ConnectError:
    """Return our error for a TLS handshake that failed."""
    found = _TLS_REASON.search(text)
    reason = found[1] if found else ""
    if reason == "CERTIFICATE_VERIFY_FAILED":
        hint = (
            "give the certificate of the authority that signed the server's: tlsCAFile=/path/to/ca.pem in the DSN; "
            "the host in the DSN must stand in the server's certificate"
        )
    elif reason in ("", "WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", _CLOSED):
        hint = "does the server speak TLS here? If not, leave tls=true out of the DSN, or look at its port"
    else:
        hint = errors.WANTS_CERTIFICATE
    detail = text.partition(" (configured timeouts")[0]
    return ConnectError(f"no TLS connection to {target.endpoint}", detail=detail, hint=hint, server_down=True)
