"""DSNs of MySQL as golang-migrate reads them, raw and encoded."""

from __future__ import annotations

import pytest

from orchestrator.engines import dialect
from orchestrator.engines.mysql.dsn import DSN, network_of, split, variables_of
from orchestrator.engines.mysql.lock import lock_name
from orchestrator.engines.url import DsnError


def test_the_name_of_the_lock_is_golang_migrates() -> None:
    assert lock_name("shop", "schema_migrations") == "2821548460"


@pytest.mark.parametrize(
    ("text", "user", "password", "endpoint"),
    [
        ("mysql://root:pw@tcp(db:3306)/shop", "root", "pw", "db:3306"),
        ("mysql://a@b:p:w@/1?x@tcp(db:3307)/shop", "a@b", "p:w@/1?x", "db:3307"),
        ("mysql://a%40b:p%3Aw%40%2F1%3Fx@tcp(db:3307)/shop", "a@b", "p:w@/1?x", "db:3307"),
        ("mysql://a:p+w@tcp(db)/shop", "a", "p w", "db:3306"),
        ("mysql://a:sesame@tcp([::1]:3306)/shop", "a", "sesame", "[::1]:3306"),
        ("mysql://a:sesame@unix(/run/mysqld/mysqld.sock)/shop", "a", "sesame", "/run/mysqld/mysqld.sock"),
        ("mysql://a@/shop", "a", "", "127.0.0.1:3306"),
    ],
)
def test_what_a_dsn_says(text: str, user: str, password: str, endpoint: str) -> None:
    address = DSN.read(text)
    fields, single = DSN.parts(address.url)
    assert (fields["user"], address.database, address.endpoint, single) == (user, "shop", endpoint, True)
    from urllib.parse import unquote

    assert unquote(fields["password"]) == password
    again = DSN.read(address.url)
    assert (again.url, again.endpoint, again.server_key) == (address.url, address.endpoint, address.server_key)
    assert not password or password in address.secrets
    other = DSN.retarget(address.url, "other")
    assert DSN.read(other).database == "other"
    assert not password or password not in DSN.without_password(address.url)


def test_parameters() -> None:
    address = DSN.read(
        "mysql://a:b@tcp(h)/d?x-migrations-table=m&tls=custom&x-tls-ca=%2Fetc%2Fx.pem&sql_mode=%27ANSI%27"
    )
    assert address.parameters == {"x-migrations-table": "m", "x-tls-ca": "/etc/x.pem"}
    assert variables_of(address.url) == {"sql_mode": "'ANSI'"}
    assert network_of(split(address.url).network).host == "h"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mysql://a:b@127.0.0.1:3306/d", "does not say how the server is reached"),
        ("mysql://a:b@tcp(h:3306)", "names no database"),
        ("mysql://a:b@tcp(h:3306)/", "names no database"),
        ("mysql://a:b@tcp(h)/d?tls=custom&x-tls-ca=/etc/x.pem", "does not say how"),
        ("mysql://a:b%@tcp(h)/d", "encodes nothing"),
        ("mysql://a:b@tcp(h)/d?x-no-lock=true", "without the lock"),
        ("mysql://a:b@tcp(h)/d?x-migration-table=t", "unknown parameter"),
        ("mysql://a:b@tcp(h)/d?tls=preferred", "golang-migrate fails"),
        ("mysql://a:b@tcp(h)/d?charset=latin1", "other than utf8mb4"),
        ("mysql://a:b@tcp(h)/d?autocommit=0", "sets autocommit"),
        ("mysql://a:b@tcp(h)/d?sql_select_limit=10", "could not read all of its records"),
        ("mysql://a:b@tcp(h)/d?completion_type=2", "end the session"),
        ("mysql://a:b@tcp(h)/d?Character_Set_Client=latin1", "files are UTF-8"),
        ("mysql://a:b@tcp(h)/d?a;b=1", "no name of a variable"),
        ("postgres://a:b@h/d", "postgres://"),
    ],
)
def test_what_is_refused(text: str, what: str) -> None:
    with pytest.raises(DsnError) as caught:
        DSN.read(text)
    assert what in caught.value.what
    assert "b" not in caught.value.what.split()


def test_names_have_no_characters_above_the_basic_plane() -> None:
    assert dialect("mysql").name_problem("ลูกค้า") == ""
    assert "no character above U+FFFF" in dialect("mysql").name_problem("t_\U0001f600")


def test_values_are_encoded_for_their_place() -> None:
    holes = iter([("U", "a@b"), ("P", "p+/@:%"), ("H", "db.example"), ("", "shop")])
    filled = DSN.fill("mysql://\0:\0@tcp(\0:3306)/\0", holes)
    assert filled is not None
    fields, _ = DSN.parts(DSN.read(filled).url)
    assert (fields["user"], fields["host"]) == ("a@b", "db.example")
    from urllib.parse import unquote

    assert unquote(fields["password"]) == "p+/@:%"


def test_the_call_of_the_client_holds_no_password() -> None:
    from orchestrator.engines.mysql.shell import shell

    call = shell(DSN.read("mysql://a:p%40w@tcp(h:3307)/shop").url)
    assert call.environment == {"MYSQL_PWD": "p@w"}
    assert call.arguments[:3] == ("--host=h", "--port=3307", "--protocol=tcp")
    assert "p@w" not in " ".join(call.arguments)
