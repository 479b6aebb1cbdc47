"""DSNs of SQLite as golang-migrate reads them: what follows `sqlite3://` or `sqlite://` is a path, taken as it stands."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote, unquote, unquote_plus

from orchestrator.engines.url import (
    HOLE,
    Address,
    DsnError,
    Holes,
    check_column,
    check_parameters,
    check_scheme,
    is_ours,
    put,
)
from orchestrator.patterns import regex
from orchestrator.phrases import either
from orchestrator.records import dataclass

# What Go leaves as it is in a path; of everything else golang-migrate makes %XX, and looks for a file of that name.
_SAME_IN_GO = "/!$&'()*+,;=:@[]%~"
_ONLY_OF_URIS = ("mode", "vfs", "immutable", "nolock", "cache", "psow")
_TIMEOUT = regex(r"[0-9]{1,9}")
_LONGEST = 504  # bytes of a path that SQLite opens: it keeps 8 of its 512 for "-journal"
_ON, _OFF = ("1", "true", "yes", "on"), ("0", "false", "no", "off")  # as mattn's driver reads them, in any case


@dataclass(frozen=True, slots=True)
class FileForm:
    """How a DSN that is the path of a file is read. A relative path begins at the directory of the manifest."""

    engine: str
    schemes: tuple[str, ...]
    parameters: tuple[str, ...]
    port: str = ""

    def read(self, text: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
        """Understand a DSN without templates; `database` is the name of the file, `endpoint` its directory."""
        scheme, separator, rest = text.partition("://")
        if not separator:
            raise DsnError("the DSN has no scheme", f"it begins with {either([f'{one}://' for one in self.schemes])}")
        check_scheme(scheme, self.engine, self.schemes)
        path, _, query = rest.partition("?")
        _check_path(path)
        if "#" in query:
            raise DsnError("the DSN holds a '#', which golang-migrate makes part of the last value", "write it as %23")
        pairs = [part.partition("=") for part in query.split("&") if part]
        if not all(equals for _, equals, _ in pairs):
            raise DsnError("the DSN has a query parameter without '='", "a plain & or = in a value is percent-encoded")
        ours = {unquote(key): unquote_plus(value) for key, _, value in pairs if is_ours(key)}
        check_parameters(ours, self.parameters)
        for key, _, value in pairs:
            _check_parameter(unquote(key), None if unquote(key) in unknown else unquote(value))
        whole = _whole(str((base or Path.cwd()).absolute()), path)
        directory, _, name = whole.rpartition("/")
        kept = "&".join(f"{key}={value}" for key, _, value in pairs if not is_ours(key))
        return Address(
            f"{self.schemes[0]}://{quote(whole)}{'?' if kept else ''}{kept}",
            name,
            directory or "/",
            f"{self.engine} {directory or '/'}",
            ours,
        )

    def fill(self, skeleton: str, holes: Holes) -> str | None:
        """Return a DSN with each HOLE filled by its value as it is."""
        return put(skeleton, holes, _part_of_path) if "://" in skeleton.replace(HOLE, "") else None

    def retarget(self, url: str, name: str) -> str:
        """Return the DSN of another file in the same directory."""
        path, mark, query = url.partition("?")
        return f"{path.rpartition('/')[0]}/{quote(name)}{mark}{query}"

    def login(self, url: str) -> str:
        """Return nothing: a file has no login."""
        del url
        return ""

    def without_password(self, url: str) -> str:
        """Return the DSN: it has no password."""
        return url

    def parts(self, url: str) -> tuple[dict[str, str], bool]:
        """Return no host: no container can take the place of a file."""
        del url
        return {}, False

    def within(self, url: str) -> str:
        """Return nothing: an entry is the whole file."""
        del url
        return ""


def path_of(url: str) -> str:
    """Return the path of the file that a DSN names, once it is read."""
    return unquote(url.partition("://")[2].partition("?")[0])


def options_of(url: str) -> dict[str, str]:
    """Return the parameters of a DSN for the session, as both drivers of golang-migrate spell them."""
    found: dict[str, str] = {}
    for part in url.partition("?")[2].split("&"):
        key, _, value = part.partition("=")
        key, value = unquote(key), unquote(value)
        if key == "_pragma" and (pragma := re.fullmatch(r"\s*(\w+)\s*[(=]\s*'?([\w-]+)'?\s*\)?\s*", value)):
            found[pragma[1].lower()] = pragma[2].lower()
        elif name := _NAMES.get(key):
            found[name] = value.lower()
    return found


_NAMES = {
    "_foreign_keys": "foreign_keys",
    "_fk": "foreign_keys",
    "_busy_timeout": "busy_timeout",
    "_timeout": "busy_timeout",
    "_recursive_triggers": "recursive_triggers",
    "_rt": "recursive_triggers",
    "_case_sensitive_like": "case_sensitive_like",
    "_cslike": "case_sensitive_like",
}


def is_on(value: str) -> bool:
    """Whether a parameter of a DSN that is a yes or a no is a yes."""
    return value.lower() in _ON


def _whole(base: str, path: str) -> str:
    """Return the path of a file from the root. What `..` means below a link only the file system knows: there it stays."""
    given = f"/{os.path.join(base, path).lstrip('/')}"  # noqa: PTH118 - strings: a fleet may have very many files
    whole = os.path.normpath(given)
    if ".." in given and os.path.realpath(os.path.dirname(given)) != os.path.realpath(os.path.dirname(whole)):  # noqa: PTH120
        whole = given
    if (size := len(whole.encode(errors="replace"))) > _LONGEST:
        raise DsnError(
            f"the path of the file is {size:,} bytes long, and SQLite opens none of more than {_LONGEST}",
            "keep the file in a directory with a shorter path, or name it through a link",
        )
    return whole


def _part_of_path(name: str, value: str) -> str:
    if found := re.search(r"[?#&\0]", value):
        raise DsnError(f"the value of {name or '{database}'} holds {found[0]!r}, which cannot be in the path of a DSN")
    check_column(name, value, r"[/\\%]|^\.\.?$", "the path of a file")
    return value


def _check_path(path: str) -> None:
    if not path or path.endswith("/"):
        raise DsnError("the DSN names no file", "write sqlite3://{database}.db, or sqlite3:///whole/path/{database}.db")
    if path.startswith((":memory:", "file:")):
        what = "a database in memory is gone when orch ends" if path[0] == ":" else "a file: URI is not taken"
        raise DsnError(f"the DSN is no path of a file: {what}", "write sqlite3:///whole/path/{database}.db")
    if "#" in path or re.search(r"%(?![0-9A-Fa-f]{2})", path):
        raise DsnError("the path in the DSN holds a '#', or a '%' that encodes nothing", "name the file without it")
    if (in_go := quote(path, safe=_SAME_IN_GO)) != path:
        raise DsnError(
            "the path in the DSN holds a space or another character that golang-migrate would look for as %XX",
            f"a relative path begins at the manifest; or write what golang-migrate makes of it: {in_go}",
        )


def _check_parameter(key: str, value: str | None) -> None:
    if key in _ONLY_OF_URIS:
        raise DsnError(f"the DSN has the parameter {key!r}, which golang-migrate passes over", "remove it")
    if value is not None and _NAMES.get(key) == "busy_timeout" and not _TIMEOUT.fullmatch(value):
        raise DsnError(f"the DSN has a wrong value for {key!r}", "it is a number of milliseconds")
    if value is not None and _NAMES.get(key, "busy_timeout") != "busy_timeout" and value.lower() not in _ON + _OFF:
        raise DsnError(f"the DSN has a wrong value for {key!r}", "write 1 or 0")


DSN = FileForm(
    engine="sqlite",
    schemes=("sqlite3", "sqlite"),
    parameters=("x-migrations-table", "x-no-tx-wrap"),
)
