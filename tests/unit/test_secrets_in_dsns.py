"""Every secret that a DSN can hold is known as one, and is left out of what people see."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from orchestrator.engines.mongo.dsn import DSN as MONGO
from orchestrator.engines.postgres.dsn import DSN as POSTGRES
from orchestrator.engines.postgres.shell import shell
from orchestrator.manifest.redact import Redactor

SECRET = "ge%hei:m@1/'"
CODED = quote(SECRET, safe="")


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgres://u:{CODED}@h/d",
        f"postgres://u@h/d?password={CODED}",
        f"postgres://u@h/d?p%61ssword={CODED}",
        f"postgres://u@h/d?sslpassword={CODED}",
        f"postgres://u@h/d?scram_client_key={CODED}",
        f"postgres://u@h/d?oauth_client_secret={CODED}",
        f"postgres://u@h/d?app.jwt_secret={CODED}&search_path=a",
        f"postgres://u@h/d?options={quote('-c search_path=a --app.api-token=' + SECRET)}",
        "host=h dbname=d password='ge%hei:m@1/\\''",
        "host=h dbname=d scram_server_key='ge%hei:m@1/\\''",
        "host=h dbname=d app.api_token='ge%hei:m@1/\\''",
        "host=h dbname=d options='-capp.secret=ge%hei:m@1/\\''",
    ],
)
def test_the_secrets_of_a_postgresql_dsn_are_hidden(dsn: str) -> None:
    read = POSTGRES.read(dsn)
    shown = [POSTGRES.without_password(read.url), read.endpoint]
    if "sslpassword" not in dsn:
        shown += shell(read.url).arguments
    assert SECRET in read.secrets
    for text in shown:
        assert "hei" not in text
    assert not [
        part for part in (dsn, read.url, quote(read.url), f"at {SECRET}.") if "hei" in Redactor(read.secrets)(part)
    ]


def test_the_secrets_of_a_mongodb_dsn_are_hidden() -> None:
    read = MONGO.read(
        f"mongodb://k:p@h/d?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:{CODED},SERVICE_NAME:mongodb"
    )
    assert {"p", SECRET} <= {*read.secrets}
    assert "mongodb" not in read.secrets
    assert "hei" not in MONGO.without_password(read.url)


def test_a_shell_gets_what_the_dsn_says() -> None:
    assert shell(f"postgres://u@h/d?password={quote('a%41b')}").environment == {"PGPASSWORD": "a%41b"}
    assert shell(f"postgres://u:{quote('a%41b')}@h/d").environment == {"PGPASSWORD": "a%41b"}
    secret = shell(POSTGRES.read("postgres://u@h/d?app.secret=x&search_path=a").url)
    assert secret.environment == {"PGOPTIONS": "-c app.secret=x -c search_path=a"}
    assert secret.arguments == ("postgres://u@h/d",)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE USER a IDENTIFIED BY 'geheim'",
        'ALTER USER a IDENTIFIED WITH mysql_native_password BY "geheim"',
        "ALTER USER a IDENTIFIED VIA ed25519 USING PASSWORD('geheim')",
        "SET PASSWORD = 'geheim'",
        "SET PASSWORD = PASSWORD('geheim')",
        "SET PASSWORD FOR 'a'@'%' = 'geheim'",
        "check the manual near 'IDENTIFIED BY 'gehei",
        "ALTER ROLE a PASSWORD U&'geheim'",
        "CHANGE MASTER TO MASTER_PASSWORD='geheim'",
    ],
)
def test_a_password_in_a_statement_is_hidden_although_nobody_knows_it(statement: str) -> None:
    assert "gehei" not in Redactor()(statement)


def test_what_is_encoded_twice() -> None:
    twice = quote(CODED, safe="")
    assert Redactor([SECRET])(f"http://h/?next={twice}&x=1") == "http://h/?next=***&x=1"
    assert Redactor([SECRET]).once_more(f"http://h/?next={twice}&x=1") == "http://h/?next=***&x=1"
