"""The same server and login, a scratch database."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import quote, unquote

from orchestrator.errors import UsageError
from orchestrator.manifest.names import name_problem
from orchestrator.manifest.url import IS_URL, conninfo, parse_conninfo, split
from orchestrator.model import Target


def retarget(target: Target, name: str) -> Target:
    """Return the target of a scratch database on the server of this one; UsageError if it cannot be called so."""
    if problem := name_problem(target.engine, name):
        raise UsageError(f"the name '{name}' {problem}")
    if not IS_URL.match(target.url):
        return replace(
            target, database=name, scratch=True, url=conninfo({**parse_conninfo(target.url), "dbname": name})
        )
    url = split(target.url)
    query = url.query
    if target.engine == "mongo" and url.user and not re.search(r"(^|&)authsource=", query, re.IGNORECASE):
        # Without it the login is looked up in the database of the URL, and that is about to change.
        query = "&".join([*filter(None, [query]), f"authSource={url.path}"])
    return replace(target, database=name, scratch=True, url=url._replace(path=quote(name, safe=""), query=query).text())


def login(target: Target) -> str:
    """Return the user of a target, who owns what is made there; '' where the DSN names none."""
    if IS_URL.match(target.url):
        return unquote(split(target.url).user)
    return parse_conninfo(target.url).get("user", "")


def without_password(target: Target) -> str:
    """Return the DSN of a target for people and logs: without its password."""
    if not IS_URL.match(target.url):
        fields = parse_conninfo(target.url)
        return conninfo({key: value for key, value in fields.items() if "password" not in key})
    url = split(target.url)
    query = "&".join(part for part in url.query.split("&") if not _SECRET.search(part.partition("=")[0]))
    return url._replace(password="", has_password=False, query=query).text()


_SECRET = re.compile(r"password|secret|token|authmechanismproperties", re.IGNORECASE)
