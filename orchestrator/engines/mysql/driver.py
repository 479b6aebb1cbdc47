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
_KNOWN = {"sha2_rsa_encrypt", "_have_cryptography"}
"""What PyMySQL 1.1 has in `_auth`, and what is replaced there."""


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
    if not vars(login).keys() >= _KNOWN:  # of another release of PyMySQL: it loads what it needs
        reload(login)
        return
    encrypt = login.sha2_rsa_encrypt

    def encrypt_with_cryptography(password: bytes, salt: bytes, public_key: bytes) -> Any:
        if not login._have_cryptography:
            _add_cryptography(login)
        return encrypt(password, salt, public_key)

    login.sha2_rsa_encrypt = encrypt_with_cryptography


def _add_cryptography(login: Any) -> None:
    """Give the module of the driver what it would have imported itself. It raises an error of its own without it."""
    try:
        from cryptography.hazmat.backends import default_backend
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding
    except ImportError:
        return
    login.default_backend, login.hashes = default_backend, hashes
    login.serialization, login.padding = serialization, padding
    login._have_cryptography = True  # the last: another thread may log in just now


_load()
import pymysql as pymysql  # noqa: E402 - only now
