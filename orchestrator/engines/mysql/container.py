"""MariaDB or MySQL in a container: an official image as a service of a compose file."""

from __future__ import annotations

from typing import Any

from orchestrator.engines.dialect import Container, ContainerLogin
from orchestrator.model import CreateOptions

CHARSET = "utf8mb4"
"""What a database gets for which the manifest names no character set: the default of old servers is latin1."""


# The image makes every other user for one database alone, and orch creates databases: so the user is root.
def _service(login: ContainerLogin) -> dict[str, Any]:
    if login.password_file:
        environment = {"MYSQL_ROOT_PASSWORD_FILE": login.password_file}
    else:
        environment = {"MYSQL_ALLOW_EMPTY_PASSWORD": "1"}
    # Over TCP: while the image initializes the server it listens on its socket only, and restarts afterwards. Both
    # programs say "alive" also to a login that they do not know.
    test = "$$(command -v mariadb-admin || command -v mysqladmin) ping --silent --host=127.0.0.1 --protocol=tcp"
    return {
        "environment": environment,
        "command": [f"--character-set-server={CHARSET}"],
        "healthcheck": {"test": ["CMD-SHELL", test], "interval": "2s", "timeout": "5s", "retries": 60},
    }


def create_statement(name: str, options: CreateOptions) -> str:
    """Return the SQL that creates a database."""
    collation = options.collation
    charset = options.encoding or (collation.partition("_")[0] if collation else CHARSET)
    text = f"CREATE DATABASE {_identifier(name)} CHARACTER SET {_word(charset)}"
    return text + (f" COLLATE {_word(collation)}" if collation else "") + ";\n"


def _identifier(text: str) -> str:
    return "`" + text.replace("`", "``") + "`"


def _word(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


CONTAINER = Container(
    image="mariadb:11.4",
    user="root",
    volume="/var/lib/mysql",
    accepts={"tls": ("false",)},
    user_required=True,
    password_required=False,
    login_parameter="",
    logins={"MYSQL_USER": "MYSQL_USER", "MYSQL_PASSWORD": "MYSQL_PASSWORD"},
    database="MYSQL_DATABASE",
    service=_service,
    create_statement=create_statement,
)
