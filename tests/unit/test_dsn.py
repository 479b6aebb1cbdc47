"""DSN templates, the variables in them, what drivers make of the result, and that no secret is ever shown."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from pymongo.uri_parser import parse_uri

from orchestrator.engines import dialect
from orchestrator.engines.url import DsnError
from orchestrator.errors import InvalidError, InvalidGroup
from orchestrator.manifest import source
from orchestrator.manifest.dsn import (
    Redactor,
    check_overrides,
    check_template,
    override_variable,
    read_address,
    read_env_file,
    resolve,
    resolve_all,
)
from orchestrator.model import Database, Mark, Target
from orchestrator.secret import Secret

POSTGRES = "postgres://${USER}:${PASSWORD}@${HOST:-localhost}:${PORT:-5432}/{database}?sslmode=${MODE:-prefer}"
MONGO = "mongodb://${USER}:${PASSWORD}@${HOST:-localhost}:${PORT:-27017}/{database}?authSource=admin"
CONNINFO = "host=${HOST:-localhost} port=5432 user=${USER} password='${PASSWORD}' dbname={database}"
NASTY = "p@ss:/?#% w'o\"r\\d+&=;ก"

passwords = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zl", "Zp"]), min_size=1, max_size=20)


def database(dsn: str, engine: str = "postgres", name: str = "inventory") -> Database:
    return Database(f"{engine}-{name}", engine, name, dsn, Path("m"), mark=Mark("databases.yaml", 7, 5))


def target(dsn: str, env: dict[str, str] | None = None, engine: str = "postgres", name: str = "inventory") -> Target:
    return resolve(database(dsn, engine, name), env or {}, Redactor(), "orch_history")


def refused(dsn: str, env: dict[str, str] | None = None, engine: str = "postgres") -> InvalidError:
    with pytest.raises(InvalidError) as caught:
        target(dsn, env, engine)
    return caught.value


def everything_said(error: InvalidError) -> str:
    errors = error.errors if isinstance(error, InvalidGroup) else (error,)
    return "\n".join(f"{one.where} {one.what} {one.detail} {one.hint} {one!r}" for one in errors)


# ---------------------------------------------------------------- any password works as it is


@settings(deadline=None)
@given(passwords, passwords, names)
@example(NASTY, NASTY, NASTY)
def test_postgresql_gets_user_password_and_name_as_they_are(user: str, password: str, name: str) -> None:
    assume(len(name.encode()) <= 63)
    for template in (POSTGRES, CONNINFO):
        made = target(template, {"USER": user, "PASSWORD": password}, name=name)
        seen = conninfo_to_dict(made.url.reveal())
        assert (seen["user"], seen["password"], seen["dbname"]) == (user, password, name)
        assert (seen["host"], seen["port"]) == ("localhost", "5432")
        assert made.database == name
        assert made.endpoint == "localhost:5432"
        assert "dbname" not in conninfo_to_dict(read_address(made.url.reveal(), "postgres").server_key)


@settings(deadline=None)
@given(passwords, passwords)
@example(NASTY, NASTY)
def test_mongodb_gets_user_and_password_as_they_are(user: str, password: str) -> None:
    made = target(MONGO, {"USER": user, "PASSWORD": password}, "mongo")
    seen = parse_uri(made.url.reveal())
    assert (seen["username"], seen["password"], seen["database"]) == (user, password, "inventory")
    assert seen["nodelist"] == [("localhost", 27017)]
    assert seen["options"]["authSource"] == "admin"
    assert parse_uri(read_address(made.url.reveal(), "mongo").server_key)["database"] is None


def test_query_values_are_encoded_too() -> None:
    made = target("postgres://h/d?options=${O}&application_name=a", {"O": "-c search_path=a&b"})
    assert conninfo_to_dict(made.url.reveal())["options"] == "-c search_path=a&b"


# ---------------------------------------------------------------- shapes of DSNs


@pytest.mark.parametrize(
    ("dsn", "url", "name", "endpoint", "server_key"),
    [
        ("postgres://h/{database}", "postgres://h/inventory", "inventory", "h:5432", "postgres://h/"),
        ("postgresql://u@h:1/x", "postgresql://u@h:1/x", "x", "h:1", "postgresql://u@h:1/"),
        ("POSTGRES://h/x", "postgres://h/x", "x", "h:5432", "postgres://h/"),
        (
            "postgres://h1:1,h2:2/x?sslmode=require",
            "postgres://h1:1,h2:2/x?sslmode=require",
            "x",
            "h1:1,h2:2",
            "postgres://h1:1,h2:2/?sslmode=require",
        ),
        ("postgres://h1,h2/x", "postgres://h1,h2/x", "x", "h1:5432,h2:5432", "postgres://h1,h2/"),
        (
            "postgres:///x?host=/var/run/postgresql",
            "postgres:///x?host=/var/run/postgresql",
            "x",
            "/var/run/postgresql:5432",
            "postgres:///?host=/var/run/postgresql",
        ),
        ("postgres://%2Frun%2Fpg/x", "postgres://%2Frun%2Fpg/x", "x", "/run/pg:5432", "postgres://%2Frun%2Fpg/"),
        ("postgres:///x", "postgres:///x", "x", "local socket:5432", "postgres:///"),
        (
            "postgres:///x?host=a,b&port=1,2",
            "postgres:///x?host=a,b&port=1,2",
            "x",
            "a:1,b:2",
            "postgres:///?host=a,b&port=1,2",
        ),
        ("postgres://[::1]:5/x", "postgres://[::1]:5/x", "x", "[::1]:5", "postgres://[::1]:5/"),
        (
            "postgres://h?dbname=x&sslmode=require",
            "postgres://h/x?sslmode=require",
            "x",
            "h:5432",
            "postgres://h/?sslmode=require",
        ),
        ("postgres://h/a%20b", "postgres://h/a%20b", "a b", "h:5432", "postgres://h/"),
        ("postgres://h/a/b", "postgres://h/a/b", "a/b", "h:5432", "postgres://h/"),
        ("postgres://u:p:q@h/x", "postgres://u:p%3Aq@h/x", "x", "h:5432", "postgres://u:p%3Aq@h/"),
        ("postgres://u:p%40q@h/x", "postgres://u:p%40q@h/x", "x", "h:5432", "postgres://u:p%40q@h/"),
        ("postgres://${E:-}:${E:-}@h/x", "postgres://h/x", "x", "h:5432", "postgres://h/"),
        ("host=/run dbname=x", "host='/run' dbname='x'", "x", "/run:5432", "host='/run'"),
        (
            "host=a,b port=1,2 dbname='a b'",
            "host='a,b' port='1,2' dbname='a b'",
            "a b",
            "a:1,b:2",
            "host='a,b' port='1,2'",
        ),
    ],
)
def test_postgresql_dsns(dsn: str, url: str, name: str, endpoint: str, server_key: str) -> None:
    made = target(dsn)
    assert (made.url.reveal(), made.database, made.endpoint) == (url, name, endpoint)
    assert made.server_key == Secret(server_key).id
    assert conninfo_to_dict(made.url.reveal())["dbname"] == name
    check_template(dsn, "postgres")


@pytest.mark.parametrize(
    ("dsn", "name", "endpoint", "server_key"),
    [
        ("mongodb://h/{database}", "inventory", "h:27017", "mongodb://h/"),
        ("mongodb://h:1,g:2/x?replicaSet=r", "x", "h:1,g:2", "mongodb://h:1,g:2/?replicaSet=r"),
        ("mongodb://u:p@h/x?authSource=admin", "x", "h:27017", "mongodb://u:p@h/?authSource=admin"),
        ("mongodb://u:p@h/x", "x", "h:27017", "mongodb://u:p@h/x"),  # x is asked for the password: a login of its own
        ("mongodb+srv://u:p@c.example.net/x?authsource=admin", "x", "c.example.net", None),
        ("mongodb://%2Ftmp%2Fm.sock/x", "x", "/tmp/m.sock", "mongodb://%2Ftmp%2Fm.sock/"),
    ],
)
def test_mongodb_dsns(dsn: str, name: str, endpoint: str, server_key: str | None) -> None:
    made = target(dsn, engine="mongo")
    assert (made.database, made.endpoint) == (name, endpoint)
    assert server_key is None or made.server_key == Secret(server_key).id


def test_a_target_shows_no_secret() -> None:
    made = target(POSTGRES, {"USER": "u", "PASSWORD": "sekret"})
    assert repr(made) == "Target(postgres-inventory at localhost:5432)"
    assert made.history_name == "orch_history"


def test_databases_of_one_login_share_a_server_key() -> None:
    env = {"USER": "u", "PASSWORD": "p"}
    for template, engine in ((POSTGRES, "postgres"), (MONGO, "mongo"), (CONNINFO, "postgres")):
        keys = {target(template, env, engine, name).server_key for name in ("a", "b")}
        assert len(keys) == 1
        assert keys != {target(template, {**env, "USER": "v"}, engine).server_key}


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_golang_migrates_parameters_never_reach_the_driver(engine: str) -> None:
    scheme = {"postgres": "postgres", "mongo": "mongodb"}[engine]
    names = dialect(engine).dsn.parameters
    given = {key: f"v {key}" if key.endswith(("-table", "-collection")) else "1" for key in names}
    locking = {"x-lock-strategy": "advisory", "x-no-lock": "false", "x-transaction-lock": "false"}
    given |= {key: value for key, value in locking.items() if key in given}
    query = "&".join(f"{key}={value.replace(' ', '%20')}" for key, value in given.items())
    first, last = {"postgres": ("application_name=a", "options=c"), "mongo": ("appname=a", "b=c")}[engine]
    made = target(f"{scheme}://h/x?{first}&{query}&{last}", engine=engine)
    assert made.url.reveal() == f"{scheme}://h/x?{first}&{last}"
    assert made.server_key == Secret(f"{scheme}://h/?{first}&{last}").id
    assert made.parameters == given


def test_unknown_parameters_get_a_suggestion() -> None:
    error = refused("postgres://h/x?x-migration-table=t")
    assert error.what == "database 'postgres-inventory': the DSN has the unknown parameter 'x-migration-table'"
    assert error.hint == "did you mean 'x-migrations-table'?"
    assert "unknown parameter" in refused("host=h dbname=d x-foo=1").what


# ---------------------------------------------------------------- variables


@pytest.mark.parametrize(
    ("template", "env", "password"),
    [
        ("${P}", {"P": "x"}, "x"),
        ("${P}", {"P": ""}, ""),
        ("${P:-d}", {}, "d"),
        ("${P:-d}", {"P": ""}, "d"),
        ("${P:-d@/}", {}, "d@/"),
        ("${P:-}", {}, ""),
        ("${P:?say}", {"P": "x"}, "x"),
        ("a$$b", {}, "a$b"),
        ("a-${P}-${Q}", {"P": "@", "Q": ":"}, "a-@-:"),
        ("{database}", {}, "inventory"),
    ],
)
def test_variables(template: str, env: dict[str, str], password: str) -> None:
    assert conninfo_to_dict(target(f"postgres://u:{template}@h/x", env).url.reveal()).get("password", "") == password


@pytest.mark.parametrize("env", [{}, {"P": ""}])
def test_a_demanded_variable(env: dict[str, str]) -> None:
    assert refused("postgres://u:${P:?ask Ann}@h/x", env).what == "database 'postgres-inventory': P: ask Ann"
    assert "P: is not set, or empty" in refused("postgres://u:${P:?}@h/x", env).what


def test_unset_variables_are_named_all_at_once_with_the_database() -> None:
    error = refused(POSTGRES)
    assert error.what == "database 'postgres-inventory' needs USER and PASSWORD, which are not set"
    assert error.where == Mark("databases.yaml", 7, 5)
    assert "USER_FILE" in error.hint
    assert "ORCH_DSN_POSTGRES_INVENTORY" in error.hint
    both = refused("postgres://${USER}:${P:?ask Ann}@h/x")
    assert isinstance(both, InvalidGroup)
    assert [one.what for one in both.errors] == [
        "database 'postgres-inventory' needs USER, which is not set",
        "database 'postgres-inventory': P: ask Ann",
    ]


def test_what_many_databases_lack_is_told_once() -> None:
    many = [replace(database(POSTGRES), id=f"postgres-{number}") for number in range(300)]
    with pytest.raises(InvalidError) as caught:
        resolve_all(many, {}, Redactor(), "orch_history")
    assert caught.value.what == (
        "300 databases (postgres-0, postgres-1, postgres-2, postgres-3, postgres-4 and 295 more) "
        "need USER and PASSWORD, which are not set"
    )
    for way in ("USER_FILE and PASSWORD_FILE", "--env-file", "--embedded"):
        assert way in caught.value.hint
    env = {"USER": "u", "PASSWORD": "p", "USER_FILE": "/nowhere"}
    with pytest.raises(InvalidError, match=r"^300 databases \(.*\): USER and USER_FILE are both set$"):
        resolve_all(many, env, Redactor(), "orch_history")


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"x", "x"),
        (b"x\n", "x"),
        (b"x\r\n", "x"),
        (b"x\n\n", "x\n"),
        (b" x ", " x "),
        (b"\xef\xbb\xbfx", "x"),
        (b"", ""),
    ],
)
def test_a_variable_from_a_file(tmp_path: Path, content: bytes, password: str) -> None:
    file = tmp_path / "a secret"
    file.write_bytes(content)
    made = target("postgres://u:${P}@h/x", {"P_FILE": str(file)})
    assert conninfo_to_dict(made.url.reveal()).get("password", "") == password


def test_files_that_do_not_serve(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"sekret\0\n")
    dsn = "postgres://u:${P}@h/x"
    assert "P and P_FILE are both set" in refused(dsn, {"P": "x", "P_FILE": str(file)}).what
    assert "P and P_FILE are both set" in refused(dsn, {"P": "", "P_FILE": str(file)}).what
    assert "P holds a NUL character" in refused(dsn, {"P_FILE": str(file)}).what
    assert "P_FILE: cannot read" in refused(dsn, {"P_FILE": str(tmp_path / "none")}).what
    assert "P_FILE: not a path" in refused(dsn, {"P_FILE": "a\0b"}).what
    file.write_bytes(b"sekret\xff")
    with pytest.raises(InvalidError, match="the file is not UTF-8") as caught:
        read_env_file(file, {})
    assert caught.value.hint == "save the file as UTF-8"
    assert "P_FILE: the file is not UTF-8" in refused(dsn, {"P_FILE": str(file)}).what
    file.write_bytes(b"x" * (1024 * 1024 + 1))
    assert "P_FILE: the file is larger than 1 MiB" in refused(dsn, {"P_FILE": str(file)}).what
    assert "needs P," in refused(dsn, {"P_FILE": ""}).what
    assert "not UTF-8" in refused(dsn, {"P": "sekret\udcff"}).what


def test_a_pipe_that_nobody_writes_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "PIPE_SECONDS", 0.1)
    os.mkfifo(pipe := tmp_path / "pipe")
    for _ in range(2):
        error = refused("postgres://u:${P}@h/x", {"P_FILE": str(pipe)})
        assert "P_FILE: cannot read" in error.what
        assert "nobody has written all of it within 0.1 s" in error.what


@pytest.mark.parametrize("host", ["a@b", "a/b", "a?b", "a#b", "a b", "a\\b"])
def test_a_host_is_only_a_host(host: str) -> None:
    error = refused(POSTGRES, {"USER": "u", "PASSWORD": "p", "HOST": host})
    assert "the value of HOST cannot be part of a host" in error.what
    assert host not in error.what


def test_a_variable_in_a_query_is_a_value() -> None:
    for template in ("postgres://h/x?${P}", "postgres://h/x?sslmode=a&x-${P}=1"):
        assert "can only be a value" in refused(template, {"P": "sekret"}).what


def test_a_variable_that_holds_the_beginning_or_all_of_a_dsn() -> None:
    url = "postgres://u:p%40q@h:1/x?sslmode=disable"
    assert target("${DSN}", {"DSN": url}).url.reveal() == url
    assert (
        target("${BASE}/{database}?options=${B}", {"BASE": "postgres://u:p@h", "B": "&"}).url.reveal()
        == "postgres://u:p@h/inventory?options=%26"
    )
    assert target("${SCHEME:-postgres}://u:${P}@h/x", {"P": "@"}).url.reveal() == "postgres://u:%40@h/x"
    assert target("${C} dbname={database}", {"C": "host=h user=u"}, name="a b").database == "a b"
    assert "a key twice" in refused("dbname=x user=${A} user=${B}", {"A": "sekret", "B": "b"}).what
    assert "the value of DSN, with which the DSN begins, is neither a URL" in refused("${DSN}", {"DSN": "sekret"}).what
    for template, env in (("${DSN:-}", {}), ("${DSN}", {"DSN": ""}), ("${DSN:-}/{database}", {"DSN": ""})):
        assert "the value of DSN, with which the DSN begins, is empty" in refused(template, env).what
    assert "ambiguous" in refused("${DSN}", {"DSN": "postgres://u:p@ss@h/x"}).what
    assert "names no database" in refused("${DSN}", {"DSN": "postgres://u:p@h"}).what
    assert "{database}" not in target("${DSN}", {"DSN": "postgres://h/x"}).url.reveal()


# ---------------------------------------------------------------- overrides


def test_an_override_wins(tmp_path: Path) -> None:
    assert override_variable("postgres-inventory") == "ORCH_DSN_POSTGRES_INVENTORY"
    assert override_variable("mongo-a.b c-ก1") == "ORCH_DSN_MONGO_A_B_C__1"
    name = "ORCH_DSN_POSTGRES_INVENTORY"
    env = {name: "postgres://u:${x}$y@h/{database}"}
    assert conninfo_to_dict(target(POSTGRES, env).url.reveal())["password"] == "${x}$y"
    file = tmp_path / "dsn"
    file.write_text("postgres://h/other\n")
    assert target(POSTGRES, {f"{name}_FILE": str(file)}).database == "other"
    assert target(POSTGRES, {name: "", "USER": "u", "PASSWORD": "p"}).endpoint == "localhost:5432"
    error = refused(POSTGRES, {name: "postgresql+psycopg://u:sekret@h/x"})
    assert error.what.startswith(f"database 'postgres-inventory': {name}: the DSN begins with 'postgresql+…://'")
    assert "sekret" not in everything_said(error)


def test_an_override_that_means_two_databases() -> None:
    twins = [database(POSTGRES, name="a.b"), database(POSTGRES, name="a-b"), database(POSTGRES, name="a-b-file")]
    check_overrides(twins, {"ORCH_DSN_POSTGRES_C": "x", "ORCH_DSN_POSTGRES_A_B": ""})
    with pytest.raises(InvalidError, match=r"ORCH_DSN_POSTGRES_A_B is set.*: postgres-a.b, postgres-a-b"):
        check_overrides(twins, {"ORCH_DSN_POSTGRES_A_B": "sekret"})
    with pytest.raises(InvalidError, match="ORCH_DSN_POSTGRES_A_B_FILE is set"):
        check_overrides(twins, {"ORCH_DSN_POSTGRES_A_B_FILE": "x"})


# ---------------------------------------------------------------- a dotenv file


def test_env_file(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    text = """\
# a comment

A=1
export B = two words # a comment
C='single $A \\n # all of it'
D="double \\"quoted\\" \\n \\$A" # a comment
E=
F=a#b
  G=x
H=# nothing
I="it's"
J="two
lines" # and a comment
K='also
two'
"""
    file.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert read_env_file(file, {"A": "from the environment", "Z": "z"}) == {
        "A": "from the environment",
        "B": "two words",
        "C": "single $A \\n # all of it",
        "D": 'double "quoted" \n $A',
        "E": "",
        "F": "a#b",
        "G": "x",
        "H": "",
        "I": "it's",
        "J": "two\nlines",
        "K": "also\ntwo",
        "Z": "z",
    }


@pytest.mark.parametrize(
    "line", ["sekret", "=sekret", "A='sekret", 'A="sekret', "A='sek'ret'", "1A=sekret", "A B=sekret"]
)
def test_env_file_with_a_wrong_line(tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"A=1\n{line}\n")
    with pytest.raises(InvalidError) as caught:
        read_env_file(file, {})
    assert str(caught.value.where) == f"{file}:2"
    assert "ret" not in everything_said(caught.value).replace(str(file), "")


def test_env_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="cannot read"):
        read_env_file(tmp_path / "none", {})


# ---------------------------------------------------------------- nothing is executed, nothing is shown


@pytest.mark.parametrize(
    "template", ["$(touch x)", "`touch x`", "${P:-$(touch x)}", "${P:-`touch x`}", "!touch x", "|touch x"]
)
def test_nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, template: str) -> None:
    monkeypatch.chdir(tmp_path)
    for env in ({}, {"P": "$(touch x)"}):
        with suppress(InvalidError):
            target(f"postgres://u:{template}@h/d", env)
    assert list(tmp_path.iterdir()) == []


secrets = passwords.map(lambda text: f"Zq{text}qZ")
templates = st.sampled_from(
    [
        POSTGRES,
        MONGO,
        CONNINFO,
        "${PASSWORD}",
        "postgres://${PASSWORD}",
        "postgres://u:${PASSWORD}",
        "postgres://${PASSWORD}/x",
        "postgres://h:${PASSWORD}/x",
        "postgres://u@h/${PASSWORD}",
        "postgres://u@h/x?${PASSWORD}",
        "postgres://u@h/x?x-${PASSWORD}=1",
        "postgres://u@h/x?password=${PASSWORD}",
        "mongodb://${PASSWORD}/x",
        "mongodb://u@h/${PASSWORD}",
        "${PASSWORD}=x",
        "a${PASSWORD}=x",
        "${PASSWORD}://h/x",
        "a${PASSWORD}://h/x",
        "${SCHEME}://u:p${PASSWORD}@h/x",
    ]
)


@settings(deadline=None)
@given(secrets, templates, st.sampled_from(["postgres", "mongo"]), st.booleans())
def test_no_error_shows_a_value(secret: str, template: str, engine: str, as_it_is: bool) -> None:
    """Either as a value, or written into the template or an override without any encoding."""
    env = {"USER": "u", "PASSWORD": secret, "SCHEME": secret}
    if as_it_is:
        env |= {f"ORCH_DSN_{engine.upper()}_INVENTORY": re.sub(r"\$\{\w+(:-\w+)?\}", lambda _: secret, template)}
    try:
        target(template, env, engine)
    except InvalidError as error:
        said = everything_said(error)
        assert not any(form in said for form in (secret, quote(secret), quote(secret, safe=""), repr(secret)[1:-1]))


@settings(deadline=None)
@given(secrets, st.sampled_from(["postgres://u:{}@h/x", "mongodb://{}:{}@h/x?authSource={}", "postgres://{}"]))
def test_no_error_shows_what_a_template_holds(secret: str, form: str) -> None:
    for engine in ("postgres", "mongo"):
        try:
            check_template(form.replace("{}", secret), engine)
        except DsnError as error:
            assert secret not in f"{error.what} {error.hint}"


# ---------------------------------------------------------------- the redactor

WAYS: list[Callable[[str], str]] = [
    str,
    quote,
    quote_plus,
    lambda s: quote(s, safe=""),
    lambda s: f"postgres://u:{s}@h/x",
]


@settings(deadline=None)
@given(secrets, st.sampled_from(WAYS))
@example("Zq" + NASTY, quote_plus)
def test_the_redactor_hides_what_was_resolved(secret: str, way: Callable[[str], str]) -> None:
    for template, engine in ((POSTGRES, "postgres"), (MONGO, "mongo"), (CONNINFO, "postgres")):
        redactor = Redactor()
        made = resolve(database(template, engine), {"USER": "u", "PASSWORD": secret}, redactor, "h")
        assert way(secret) not in redactor(f"before {way(secret)} after")
        for text in (made.url.reveal(), read_address(made.url.reveal(), engine).server_key):
            said = redactor(text)
            assert "***" in said
            assert secret not in said
            assert quote(secret, safe="") not in said


@pytest.mark.parametrize(
    ("dsn", "shown"),
    [
        ("postgres://u:lite%40ral@h/x", "lite@ral and lite%40ral"),
        ("postgres://u@h/x?password=lite%40ral", "lite@ral and lite%40ral"),
        ("postgres://u@h/x?sslpassword=literal", "literal"),
        ("dbname=x password='lit eral'", "lit eral"),
        ("dbname=x password='lit\\'eral'", "lit'eral and lit\\'eral"),
    ],
)
def test_passwords_written_into_a_template_are_hidden(dsn: str, shown: str) -> None:
    redactor = Redactor()
    resolve(database(dsn), {}, redactor, "h")
    assert redactor(shown).replace("***", "").replace(" and ", "") == ""


@pytest.mark.parametrize(
    ("secrets", "text", "expected"),
    [
        ([], "postgres://u:p@h/x", "postgres://u:***@h/x"),
        ([], "postgres://u:p@ss@h/x and mongodb+srv://v:w@g/y", "postgres://u:***@h/x and mongodb+srv://v:***@g/y"),
        ([], "'postgresql+asyncpg://u:p/w@h/x'", "'postgresql+asyncpg://u:***@h/x'"),
        ([], '{"a": "postgres://u:p@h/x", "b": "c@d"}', '{"a": "postgres://u:***@h/x", "b": "c@d"}'),
        ([], "host=h password='a b' user=u", "host=h password=*** user=u"),
        ([], "host=h password=ab user=u", "host=h password=*** user=u"),
        ([], "http://localhost:8080/path", "http://localhost:8080/path"),
        ([], "CREATE ROLE a LOGIN PASSWORD 'it''s' VALID;", "CREATE ROLE a LOGIN PASSWORD *** VALID;"),
        ([], "alter role a password E'\\'x' nologin", "alter role a password E*** nologin"),
        ([], "PASSWORD 'of two\nlines'", "PASSWORD ***"),
        ([], "PASSWORD 'its end is on\n^", "PASSWORD ***\n^"),
        ([], "PASSWORD $q$a$b$q$ x", "PASSWORD *** x"),
        ([], '{"createUser": "a", "pwd": "p\\"q", "roles": []}', '{"createUser": "a", "pwd": ***, "roles": []}'),
        ([], "password authentication failed for user 'a'", "password authentication failed for user 'a'"),
        (["abc"], "abc abcd xabc a-abc.", "*** abcd xabc a-abc."),
        (["ab1d"], "ab1d ab1de xab1d", "*** ***e x***"),
        (["postgres"], 'postgres-order: user "postgres" of postgres:5432', 'postgres-order: user "***" of ***:5432'),
        (["secret", "secret123"], "secret123 secret", "*** ***"),
        (["", "a"], "a bad day", "*** bad day"),
        (["p@ss"], "p@ss p%40ss", "*** ***"),
        (["a b+c"], "a b+c a%20b%2Bc a+b%2Bc", "*** *** ***"),
    ],
)
def test_the_redactor(secrets: list[str], text: str, expected: str) -> None:
    assert Redactor(secrets)(text) == expected
