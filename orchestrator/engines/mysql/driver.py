"""PyMySQL without cryptography, which it imports for one kind of login only: caching_sha2_password or sha256_password
without TLS. The import takes a fifth of the CPU time of a run that has nothing to do. Such a login imports it now.

The first module that needs PyMySQL takes it from here.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Sequence
from importlib import import_module, reload
from typing import Any

_LATER = "cryptography"
_mutex = threading.Lock()


class _NotYet:
    """Hides a package from the imports of one thread; other threads find it."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        """Raise ModuleNotFoundError for the package; return None for any other, which is to be looked for elsewhere."""
        del path, target
        if name.partition(".")[0] == _LATER and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def _load() -> None:
    if "pymysql" in sys.modules or _LATER in sys.modules:
        return  # somebody else has loaded it: nothing is saved
    finder: Any = _NotYet()
    sys.meta_path.insert(0, finder)
    try:
        login: Any = import_module("pymysql._auth")
    finally:
        sys.meta_path.remove(finder)
    if not hasattr(login, "sha2_rsa_encrypt"):  # of another release of PyMySQL: it loads what it needs
        reload(login)
        return

    def encrypt(*arguments: Any) -> Any:
        """Let the driver load what it needs, which puts its own function in the place of this one, and call that."""
        with _mutex:
            if login.sha2_rsa_encrypt is encrypt:
                reload(login)
        return login.sha2_rsa_encrypt(*arguments)

    login.sha2_rsa_encrypt = encrypt


_load()
import pymysql as pymysql  # noqa: E402 - only now
