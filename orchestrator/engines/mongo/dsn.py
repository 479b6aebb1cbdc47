"""DSNs of MongoDB, as its drivers for Go and Python read them. Imports no driver."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from urllib.parse import quote, unquote

from orchestrator.engines.url import Address, UrlForm, normalized, secrets_of, split
from orchestrator.records import dataclass


@dataclass(frozen=True, slots=True)
class MongoForm(UrlForm):
    """How a DSN of MongoDB is read."""

    def read(self, text: str, *, unknown: Collection[str] = (), base: Path | None = None) -> Address:
        """Understand a DSN without templates. `unknown`: the parameters whose values are not known yet."""
        del unknown, base
        found = self.open(text)
        fields = {unquote(key) for key, _ in found.kept}
        kept = [_go_option(key, value) for key, value in found.kept]
        kept = [pair for pair in kept if pair[0]]
        url = normalized(found.url, unquote(found.url.path), kept)
        # MongoDB asks the database in the path for the password, unless authSource says which: then the login differs too.
        implied = url.user and not any(key.lower() == "authsource" for key in fields)
        server = url if implied else url._replace(path="")
        secrets = secrets_of(found.url, kept)
        return Address(url.text(), unquote(url.path), self.endpoint(url), server.text(), found.ours, secrets)

    def retarget(self, url: str, name: str) -> str:
        """Return the DSN of another database of the same server and login."""
        parts = split(url)
        query = parts.query
        if parts.user and not re.search(r"(^|&)authsource=", query, re.IGNORECASE):
            # Without it the login is looked up in the database of the URL, and that is about to change.
            query = "&".join([*filter(None, [query]), f"authSource={parts.path}"])
        return parts._replace(path=quote(name, safe=""), query=query).text()


def _go_option(key: str, value: str) -> tuple[str, str]:
    """Return an option of MongoDB's driver for Go as pymongo calls it; an empty name where it has none and needs none."""
    if unquote(key).lower() != "connect":
        return key, value
    return {"direct": ("directConnection", "true"), "automatic": ("", "")}.get(value.lower(), (key, value))


DSN = MongoForm(
    engine="mongo",
    schemes=("mongodb", "mongodb+srv"),
    port="27017",
    parameters=(
        "x-migrations-collection",
        "x-transaction-mode",
        "x-advisory-locking",
        "x-advisory-lock-collection",
        "x-advisory-lock-timeout",
        "x-advisory-lock-timeout-interval",
        "x-advisory-lock-timout",  # golang-migrate's own spelling
        "x-advisory-lock-timout-interval",
    ),
)
