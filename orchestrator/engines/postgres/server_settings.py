"""Server settings in a PostgreSQL DSN: lib/pq and pgx send to the server what they do not know, libpq wants `options`."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping

from orchestrator.engines.url import LOCK_TIMEOUT, SECRET, DsnError
from orchestrator.patterns import regex

_NAME = regex(r"[A-Za-z_][A-Za-z0-9_$]*(?:\.[A-Za-z_][A-Za-z0-9_$]*)*")
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


_LOCK_TIMEOUT = regex(r"(?:-c\s*|--)lock[_-]timeout=((?:\\.|\S)+)", re.IGNORECASE)
_OPTION = regex(r"(?:-c\s*|--)([^\s=]+)=((?:\\.|[^\s\\])*)", re.DOTALL)
_TIME = regex(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s|min|h|d)?\s*")
_SECONDS = {"us": 0.000_001, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0, None: 0.001}
_YES = ("1", "t", "true")


def check_locking(ours: Mapping[str, str], unknown: Collection[str] = ()) -> None:
    """Raise DsnError for golang-migrate's parameters by which it would not take the lock that orch takes.

    Parameters in `unknown` have no value yet and are not judged.
    """
    ours = {name: value for name, value in ours.items() if name not in unknown}
    strategy = ours.get("x-lock-strategy", "")
    if strategy not in ("", "advisory"):
        what = "the DSN has another x-lock-strategy than advisory"
        raise DsnError(
            f"{what}: orch would not see golang-migrate's lock, which is then a row of a table, nor that one ours",
            "remove it from the DSNs of both; orch waits for the advisory lock by short tries, so that a run that hangs "
            "is named and does not stop others for ever",
        )
    for name in ("x-no-lock", "x-transaction-lock"):
        if ours.get(name, "").lower() in _YES:
            why = (
                "orch does not migrate without the lock"
                if name == "x-no-lock"
                else "orch holds its lock for a whole run"
            )
            hint = "remove it; behind PgBouncer give orch a DSN of the server itself, or pool_mode = session"
            raise DsnError(f"the DSN has {name}, and {why}", hint)


def lock_timeout(options: str) -> dict[str, str]:
    """Return the parameter of a target by which libpq's `options` limit waits for locks of tables; {} if they do not."""
    given = _LOCK_TIMEOUT.findall(options)
    time = _TIME.fullmatch(given[-1].replace("\\", "")) if given else None
    return {LOCK_TIMEOUT: str(float(time[1]) * _SECONDS[time[2]])} if time else {}


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


def secret_settings(options: str) -> Iterator[str]:
    """Yield the values in libpq's `options` that are secrets, by the names of their settings."""
    for found in _OPTION.finditer(options):
        if SECRET.search(found[1]):
            yield re.sub(r"\\(.)", r"\1", found[2], flags=re.DOTALL)


def without_secrets(options: str) -> str:
    """Return libpq's `options` without the settings whose values are secrets."""
    return _OPTION.sub(lambda found: "" if SECRET.search(found[1]) else found[0], options).strip()
