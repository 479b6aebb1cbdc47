"""Server settings in a PostgreSQL DSN: lib/pq and pgx send to the server what they do not know, libpq wants `options`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)*")
# In a key=value string a blank in a password makes a key of what follows it: one word is a setting only if it is one of these.
_WORDS = {"role", "timezone", "datestyle", "intervalstyle", "jit", "geqo", "bytea_output", "xmloption"}
# How Go's drivers talk to the server; it means nothing here.
_OF_GO = {
    "binary_parameters",
    "disable_prepared_binary_result",
    "default_query_exec_mode",
    "statement_cache_capacity",
    "statement_cache_mode",
    "description_cache_capacity",
}
_CLOSE = 0.87  # so near to a parameter of libpq that it is a slip of the pen


def is_setting(name: str, libpq: list[str], *, in_url: bool) -> bool:
    """Return whether a parameter that libpq does not know can be a setting of the server. `libpq`: what it knows."""
    from difflib import get_close_matches

    if not _NAME.fullmatch(name) or not (in_url or "_" in name or "." in name or name.lower() in _WORDS):
        return False
    close = get_close_matches(name.lower(), libpq, n=1, cutoff=_CLOSE)
    return name.lower().startswith("tcp_keepalives_") or not close


def with_settings(options: str, settings: Mapping[str, str]) -> str:
    """Return libpq's `options` with these settings at the end."""
    given = [options] if options else []
    for name, value in settings.items():
        if name not in _OF_GO:
            given.append(f"-c {name}=" + re.sub(r"([\\\s])", r"\\\1", value))
    return " ".join(given)
