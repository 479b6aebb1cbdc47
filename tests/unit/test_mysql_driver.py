"""PyMySQL is loaded without cryptography, and a login that needs cryptography loads it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pymysql

_LIGHT = """
import sys
import orchestrator.engines.mysql.engine
print([name for name in ("cryptography", "dataclasses", "inspect") if name in sys.modules])
"""
# As caching_sha2_password does it without TLS, in several threads at the same time.
_LOGIN = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import orchestrator.engines.mysql.engine
from pymysql import _auth

key = open(sys.argv[1], "rb").read()
together = threading.Barrier(8)

def encrypted(at):
    together.wait()
    return _auth.sha2_rsa_encrypt(b"sesame", b"salt", key)

with ThreadPoolExecutor(8) as pool:
    sent = list(pool.map(encrypted, range(8)))

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

private = serialization.load_pem_private_key(open(sys.argv[2], "rb").read(), None)
way = padding.OAEP(mgf=padding.MGF1(algorithm=hashes.SHA1()), algorithm=hashes.SHA1(), label=None)
print({_auth._xor_password(private.decrypt(one, way), b"salt") for one in sent})
"""
_ABSENT = """
import sys
import orchestrator.engines.mysql.engine
from pymysql import _auth

sys.modules["cryptography"] = None
try:
    _auth.sha2_rsa_encrypt(b"sesame", b"salt", b"")
except RuntimeError as error:
    print(error)
"""


def _run(program: str, *arguments: object, path: str = "") -> str:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_engine_loads_neither_cryptography_nor_dataclasses() -> None:
    assert _run(_LIGHT) == "[]"


def test_a_login_that_encrypts_its_password_loads_cryptography(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (tmp_path / "private").write_bytes(private.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    public = private.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "public").write_bytes(public)
    assert _run(_LOGIN, tmp_path / "public", tmp_path / "private") == str({b"sesame\0"})


def test_without_cryptography_the_driver_says_what_is_missing() -> None:
    assert "'cryptography' package is required" in _run(_ABSENT)


def test_another_release_of_the_driver_loads_what_it_needs(tmp_path: Path) -> None:
    other = tmp_path / "pymysql"
    shutil.copytree(Path(pymysql.__file__).parent, other)
    login = other / "_auth.py"
    login.write_text(login.read_text().replace("sha2_rsa_encrypt", "encrypt"))
    assert "'cryptography'" in _run(_LIGHT, path=str(tmp_path))
