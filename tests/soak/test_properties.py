"""Random lives of a database (files added, edited, deleted; runs, rollbacks, golang-migrate, kills) against a simple model."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, cast

import psycopg
import pytest
from estate import Estate, Figure, start
from golang import Crash, Crashed, GolangError, GolangMongo, GolangPostgres
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from kill import Ended, Forge
from memory_engine import Killed, Memory, Store

from orchestrator.engines.base import Engine, Limits
from orchestrator.events import DatabaseFailed
from orchestrator.execution.executor import Executor
from orchestrator.execution.reading import plan_of
from orchestrator.execution.run import Run
from orchestrator.execution.survey import survey
from orchestrator.manifest.redact import Redactor
from orchestrator.model import Database, Direction, File, Migration, Target, VersionRow
from orchestrator.planning.history import reconcile
from orchestrator.planning.plan import Request
from orchestrator.planning.repair import resolutions
from orchestrator.planning.resolution import Signature
from orchestrator.secret import Secret

# ---------------------------------------------------------------- worlds: where a life takes place


class World(Protocol):
    """One database with its files, and who works on it. Effects are names with how many times each is there."""

    kinds: tuple[str, ...]
    points: int
    """About how many kill points a run has."""

    def write(self, version: int, kind: str, edits: int) -> None: ...

    def delete(self, version: int) -> None: ...

    def apply(self, kill_at: int = 0) -> int | None: ...

    def rollback(self, to: int, kill_at: int = 0) -> int | None: ...

    def accept(self, version: int) -> None: ...

    def mark(self, version: int, applied: bool) -> None: ...

    def golang(self, way: str, steps: int, crash_at: Crash | None) -> None: ...

    def unlock(self) -> None: ...

    def effects(self) -> dict[str, int]: ...

    def expected(self, files: dict[int, str]) -> dict[str, int]: ...

    def version_row(self) -> tuple[int, bool]: ...

    def applied(self) -> list[int]: ...

    def close(self) -> None: ...


class MemoryWorld:
    """Everything in this process: Executor and Migrator on the memory engine."""

    kinds = ("plain", "alone", "mixed", "blind", "empty")
    points = 16
    texts: ClassVar[dict[str, tuple[str, str]]] = {
        "plain": ("add {v}\nadd {v}b", "remove {v}b\nremove {v}"),
        "alone": ("alone add {v}", "alone remove {v}"),
        "mixed": ("add {v}\nalone add {v}b\nadd {v}c", "remove {v}c\nalone remove {v}b\nremove {v}"),
        "blind": ("add {v}\nblind add {v}b\nalone add {v}c", "alone remove {v}c\nblind remove {v}b\nremove {v}"),
        "empty": ("", ""),
    }

    def __init__(self, transactions: bool) -> None:
        self.store = Store(transactions=transactions, exists=True)
        self.engine = Memory(self.store)
        self.files: dict[str, str] = {}
        self.said: list[DatabaseFailed] = []

    def write(self, version: int, kind: str, edits: int) -> None:
        up, down = self.texts[kind]
        self.files[f"{version}.up"] = up.format(v=version) + "\n" * (2 * version + edits)  # no two are alike
        self.files[f"{version}.down"] = down.format(v=version)

    def delete(self, version: int) -> None:
        del self.files[f"{version}.up"], self.files[f"{version}.down"]

    def migrations(self) -> tuple[Migration, ...]:
        def file(name: str) -> File:
            return File(name, Path(name), "sha256:" + hashlib.sha256(self.files[name].encode()).hexdigest())

        versions = sorted(int(name.partition(".")[0]) for name in self.files if name.endswith("up"))
        return tuple(Migration(v, f"m{v}", file(f"{v}.up"), file(f"{v}.down")) for v in versions)

    def _run(self, request: Request, kill_at: int) -> int | None:
        while True:
            code = self._run_once(request, kill_at)
            if code != 5 or not self._resolve_doubt():
                return code
            kill_at = 0

    def _run_once(self, request: Request, kill_at: int) -> int | None:
        database = Database("memory-db", "memory", "db", "", Path())
        target = Target("memory-db", "memory", Secret(""), "db", "here", "here")
        failed: list[DatabaseFailed] = []
        run = Run(
            run_id="r", actor="me", tool="t", databases={database.id: database}, targets={database.id: target},
            catalogs={database.id: self.migrations()}, engines={"memory": cast(Engine, self.engine)},
            read_script=lambda _, file: self.engine.parse(file, self.files[file.path]), redact=Redactor(),
            sink=lambda event: failed.append(event) if isinstance(event, DatabaseFailed) else None,
        )  # fmt: skip
        self.store.points, self.store.kill_at = 0, kill_at
        try:
            plan = plan_of(run, [database], survey(run), request)
            code = Executor(run, plan).execute().exit_code
        except Killed:
            return None
        assert all(event.failure.kind != "internal" for event in failed), failed
        self.said = failed
        return code

    def _resolve_doubt(self) -> bool:
        """Answer as somebody would who looked: the model's things show whether it was done."""
        history = Memory(self.store)
        with history.connect(None) as session:  # type: ignore[arg-type]
            found = session.read_history()
            partial = reconcile(self.migrations(), found).partial
            if partial is None or not partial.in_flight:
                return False
            script = self.engine.parse(None, self.files[f"{partial.version}.{partial.direction.value}"])  # type: ignore[arg-type]
            verb, _, schema_object = script.statements[partial.applied].body.rpartition(" ")
            done = bool(self.store.schema_objects[schema_object]) == (verb == "add")
            self._take(f"statement-{'' if done else 'not-'}done")
        return True

    def _take(self, flag: str) -> None:
        self.store.kill_at = 0
        with self.engine.connect(None) as session:  # type: ignore[arg-type]
            history = session.read_history()
            offered = {
                way.flag: way for way in resolutions(self.migrations(), history, Signature("me", "r", "t", "looked"))
            }
            way = offered[flag]
            session.commit((), way.attempts, way.version_row, Limits())

    def apply(self, kill_at: int = 0) -> int | None:
        return self._run(Request(Direction.UP), kill_at)

    def rollback(self, to: int, kill_at: int = 0) -> int | None:
        return self._run(Request(Direction.DOWN, to=to), kill_at)

    def accept(self, version: int) -> None:
        self._take(f"accept {version}.up")

    def mark(self, version: int, applied: bool) -> None:
        self._take(f"mark-{'' if applied else 'not-'}applied {version}")

    def golang(self, way: str, steps: int, crash_at: Crash | None) -> None:
        if self.store.locked and not self.store.transactions:
            raise GolangError("can't acquire database lock")
        versions = [m.version for m in self.migrations()]
        for _ in range(steps):
            version, dirty = self.version_row()
            if dirty:
                raise GolangError("dirty")
            if way == "up":
                above = [v for v in versions if v > version]
                if not above:
                    return
                source = target = above[0]
            else:
                if version < 0:
                    return
                source, target = version, max((v for v in versions if v < version), default=-1)
            self.store.version_row = VersionRow(target, True)
            if crash_at == "dirty":
                raise Crashed
            for line in self.files[f"{source}.{way}"].strip().splitlines():
                self.store.do(line.removeprefix("alone ").removeprefix("blind "))
            if crash_at == "ran":
                raise Crashed
            self.store.version_row = VersionRow(None if target < 0 else target)

    def unlock(self) -> None:
        self.store.locked = False

    def effects(self) -> dict[str, int]:
        return self.store.state()

    def expected(self, files: dict[int, str]) -> dict[str, int]:
        lines = [line for version, kind in files.items() for line in self.texts[kind][0].format(v=version).splitlines()]
        return {line.rpartition(" ")[2]: 1 for line in sorted(lines, key=lambda line: line.rpartition(" ")[2])}

    def version_row(self) -> tuple[int, bool]:
        version_row = self.store.version_row
        return (
            (-1, False)
            if version_row is None
            else (-1 if version_row.version is None else version_row.version, version_row.dirty)
        )

    def applied(self) -> list[int]:
        with self.engine.connect(None) as session:  # type: ignore[arg-type]
            return list(reconcile(self.migrations(), session.read_history()).applied)

    def close(self) -> None:
        pass


class ServerWorld:
    """A real server, orch in a process that can be killed, and golang-migrate beside it."""

    kinds = ("plain", "alone", "mixed")
    points = 60
    texts: ClassVar[dict[str, dict[str, tuple[str, str]]]] = {
        "postgres": {
            "plain": ("INSERT INTO ledger VALUES ({v});", "DELETE FROM ledger WHERE v = {v};"),
            "alone": ("CREATE INDEX CONCURRENTLY i{v} ON ledger (v);", "DROP INDEX CONCURRENTLY i{v};"),
            "mixed": (
                "BEGIN; INSERT INTO ledger VALUES ({v}); COMMIT; BEGIN; INSERT INTO ledger VALUES ({v} + 1000000); COMMIT;",
                "BEGIN; DELETE FROM ledger WHERE v = {v}; COMMIT; BEGIN; DELETE FROM ledger WHERE v = {v} + 1000000; COMMIT;",
            ),
        },
        "mongo": {
            "plain": ('[{{"insert": "ledger", "documents": [{{"v": {v}}}]}}]',
                      '[{{"delete": "ledger", "deletes": [{{"q": {{"v": {v}}}, "limit": 0}}]}}]'),
            "alone": ('[{{"create": "c{v}"}}]', '[{{"drop": "c{v}"}}]'),
            "mixed": (
                '[{{"insert": "ledger", "documents": [{{"v": {v}}}]}}, {{"create": "c{v}"}}, '
                '{{"insert": "ledger", "documents": [{{"v": {v}, "b": 1}}]}}]',
                '[{{"drop": "c{v}"}}, {{"delete": "ledger", "deletes": [{{"q": {{"v": {v}}}, "limit": 0}}]}}]',
            ),
        },
    }  # fmt: skip

    def __init__(self, engine: str, forge: Forge) -> None:
        self.root = Path(tempfile.mkdtemp())
        self.engine = engine
        self.forge = forge
        self.estate = Estate(self.root, {engine: start("postgres-wheel" if engine == "postgres" else "mongod")})
        self.estate.manifest(f"  - {{name: db, server: {engine}, keep_text: false}}\n")
        self.estate.write(f"{engine}-db", {})
        self.directory = self.root / "migrations" / f"{engine}-db" / "schema"
        self.extension = "sql" if engine == "postgres" else "json"
        name = self.estate.prefix + "db"
        if engine == "postgres":
            self.dsn = self.estate.servers["postgres"].dsn(name)
            with psycopg.connect(self.estate.servers["postgres"].dsn("postgres"), autocommit=True) as connection:
                connection.execute(f'CREATE DATABASE "{name}"')
            self.estate.sql("db", "CREATE TABLE ledger (v int)")
            self._golang: GolangPostgres | GolangMongo = GolangPostgres(self.dsn, name, self.directory)
        else:
            self._golang = GolangMongo(self.estate.client(), name, self.directory)

    def _orch(self, *arguments: str, kill_at: int = -1) -> Ended:
        return self.forge.run([*arguments], self.root, self.estate.env, kill_at=kill_at)

    def write(self, version: int, kind: str, edits: int) -> None:
        for way, text in zip(("up", "down"), self.texts[self.engine][kind], strict=True):
            path = self.directory / f"{version}_m{version}.{way}.{self.extension}"
            path.write_text(
                text.format(v=version) + "\n" * (2 * version + edits if way == "up" else 0)
            )  # no two are alike

    def delete(self, version: int) -> None:
        for path in self.directory.glob(f"{version}_*"):
            path.unlink()

    def apply(self, kill_at: int = 0) -> int | None:
        return self._orch("apply", kill_at=kill_at or -1).code

    def rollback(self, to: int, kill_at: int = 0) -> int | None:
        return self._orch("rollback", f"{self.engine}-db", "--to", str(to), "--yes", kill_at=kill_at or -1).code

    def accept(self, version: int) -> None:
        path = f"migrations/{self.engine}-db/schema/{version}_m{version}.up.{self.extension}"
        ended = self._orch("repair", f"{self.engine}-db", "--accept", path)
        assert ended.code == 0, ended.output

    def mark(self, version: int, applied: bool) -> None:
        ended = self._orch("repair", f"{self.engine}-db", f"--mark-{'' if applied else 'not-'}applied", str(version))
        assert ended.code == 0, ended.output

    def golang(self, way: str, steps: int, crash_at: Crash | None) -> None:
        try:
            (self._golang.up if way == "up" else self._golang.down)(steps, crash_at)
        except Crashed:
            if self.engine == "mongo":
                self.estate.mongo("db")["migrate_advisory_lock"].delete_many({})
            raise

    def unlock(self) -> None:
        """What a killed run of ours left, where the next had nothing to do: golang-migrate would wait for it for ever."""
        if self.engine == "mongo":
            assert self._orch("unlock", "mongo-db", "--yes").code == 0

    def effects(self) -> dict[str, int]:
        if self.engine == "postgres":
            query = (
                "SELECT v::text, count(*) FROM ledger GROUP BY v UNION ALL SELECT indexrelid::regclass::text, indisvalid::int "
                "FROM pg_index WHERE indrelid = 'ledger'::regclass ORDER BY 1"
            )
            return {str(name): int(count) for name, count in self.estate.sql("db", query)}
        database, found = self.estate.mongo("db"), dict[str, int]()
        for document in database["ledger"].find():
            key = f"{document['v']}{'b' if 'b' in document else ''}"
            found[key] = found.get(key, 0) + 1
        names = database.list_collection_names(filter={"name": {"$regex": "^c[0-9]+$"}})
        return dict(sorted((found | dict.fromkeys(names, 1)).items()))

    def expected(self, files: dict[int, str]) -> dict[str, int]:
        found = dict[str, int]()
        for v, kind in files.items():
            if self.engine == "postgres":
                names = {"plain": [str(v)], "alone": [f"i{v}"], "mixed": [str(v), str(v + 1000000)]}[kind]
            else:
                names = {"plain": [str(v)], "alone": [f"c{v}"], "mixed": [str(v), f"c{v}", f"{v}b"]}[kind]
            found |= dict.fromkeys(names, 1)
        return found

    def version_row(self) -> tuple[int, bool]:
        if self.engine == "postgres" and self.estate.sql("db", "SELECT to_regclass('schema_migrations')") == [(None,)]:
            return (-1, False)
        try:
            return self._golang.version()
        finally:
            if isinstance(self._golang, GolangPostgres):
                self._golang.connection.close()

    def applied(self) -> list[int]:
        found: dict[str, Any] = json.loads(self._orch("status", "--output", "json").output)
        return list(found["databases"][0]["applied"])

    def close(self) -> None:
        self.estate.drop()
        shutil.rmtree(self.root)


# ---------------------------------------------------------------- the life, and the model of it


class Life(RuleBasedStateMachine):
    """The model: which versions have a file, which are applied, which were edited or lost their file after that."""

    make: ClassVar[Any]
    steps: ClassVar[int] = 0
    kills: ClassVar[int] = 0

    def __init__(self) -> None:
        super().__init__()
        self.world: World = type(self).make()
        self.files: dict[int, str] = {}
        self.done: dict[int, str] = {}
        self.edited: set[int] = set()
        self.accepted: set[int] = set()
        self.unseen = False  # golang-migrate ran, and orch has not written that down yet

    def teardown(self) -> None:
        self.world.close()

    @property
    def top(self) -> int:
        return max(self.done, default=0)

    @property
    def missing(self) -> set[int]:
        return set(self.done) - set(self.files)

    @property
    def late(self) -> list[int]:
        return [v for v in self.files if v not in self.done and v < self.top]

    @property
    def pending(self) -> list[int]:
        return [v for v in self.files if v not in self.done]

    def free(self) -> bool:
        """Whether an apply may do anything."""
        return not self.late and not (self.edited & set(self.files))

    @rule(kind=st.integers(0, 9), gap=st.integers(1, 3))
    def add_a_file(self, kind: int, gap: int) -> None:
        if len(self.files) < 8:
            version = max([0, *self.files, *self.done]) + gap
            self.files[version] = self.world.kinds[kind % len(self.world.kinds)]
            self._write_first(version)

    @precondition(lambda self: not self.unseen and self.top > len(self.done) + len(self.late))
    @rule()
    def add_a_file_too_late(self) -> None:
        version = next((v for v in range(1, self.top) if v not in self.files and v not in self.done), None)
        if version is not None and len(self.late) < 2:
            self.files[version] = "plain"
            self._write_first(version)

    def _write_first(self, version: int) -> None:
        """Write a new file; an older one with this version may have been edited and deleted."""
        self.accepted.discard(version)
        self.world.write(version, self.files[version], 0)

    @precondition(lambda self: self.late)
    @rule()
    def take_it_away_again(self) -> None:
        for version in self.late:
            del self.files[version]
            self.world.delete(version)

    @precondition(lambda self: self.done and not self.edited and not self.unseen)
    @rule(which=st.integers(0, 9))
    def edit_an_applied_file(self, which: int) -> None:
        version = sorted(self.done)[which % len(self.done)]
        if version in self.files:
            self.edited.add(version)
            self.world.write(version, self.files[version], 1 - (version in self.accepted))

    @precondition(lambda self: self.edited & set(self.files))
    @rule(accept=st.booleans())
    def mend_or_accept_the_edit(self, accept: bool) -> None:
        for version in self.edited & set(self.files):
            if accept:
                self.world.accept(version)
                self.accepted ^= {version}
            else:
                self.world.write(version, self.files[version], version in self.accepted)
            self.edited.discard(version)

    @precondition(lambda self: self.pending and not self.unseen)
    @rule()
    def delete_a_pending_file(self) -> None:
        version = self.pending[-1]
        del self.files[version]
        self.world.delete(version)

    @precondition(lambda self: self.done and not self.missing and not self.edited and not self.unseen)
    @rule(which=st.integers(0, 9))
    def delete_and_bring_back_an_applied_file(self, which: int) -> None:
        """While it is away nothing goes down past it."""
        version = sorted(self.done)[which % len(self.done)]
        kind = self.files.pop(version)
        self.world.delete(version)
        assert self.world.rollback(0) == 5
        self.files[version] = kind
        self.world.write(version, kind, version in self.accepted)

    @rule()
    def apply(self) -> None:
        self._finish()

    def _finish(self) -> None:
        if self.free():
            code = self.world.apply()
            assert code == 0, f"{code}: {self.files} {self.done} {getattr(self.world, 'said', '')}"
            self.unseen = False
            self.done |= {v: self.files[v] for v in self.pending}
        else:
            assert self.world.apply() == 5

    @precondition(lambda self: self.free() and self.pending)
    @rule(at=st.integers(0, 999), meddle=st.booleans())
    def apply_and_be_killed(self, at: int, meddle: bool) -> None:
        if self.world.apply(kill_at=1 + at % self.world.points) is None:
            Life.kills += 1
            if meddle:
                with suppress(GolangError, psycopg.Error):
                    self.world.golang("up", 1, None)
        self._finish()

    @precondition(lambda self: self.done)
    @rule(which=st.integers(0, 9), at=st.integers(0, 999))
    def roll_back(self, which: int, at: int) -> None:
        """With `at` it is killed, and then run again."""
        standing = [0, *sorted(self.done)]
        to = standing[which % len(standing)]
        on_top = {max(self.done)} & self.edited  # the newest may be edited: its down file counts
        if (self.edited & set(self.files)) - on_top:
            assert self.world.rollback(to) == 5
            return
        if at and self.world.rollback(to, kill_at=1 + at % self.world.points) is None:
            Life.kills += 1
        code = self.world.rollback(to)
        assert code == 0, f"{code}: {self.files} {self.done} {getattr(self.world, 'said', '')}"
        self.unseen = False
        self._went_down([v for v in self.done if v > to])
        self.accepted ^= self.edited - set(self.done)  # what is pending now is what was written last
        self.edited &= set(self.done)

    def _went_down(self, versions: list[int]) -> None:
        for version in versions:
            del self.done[version]

    @precondition(lambda self: not self.late and not self.edited)
    @rule(way=st.sampled_from(["up", "down"]), steps=st.integers(1, 2))
    def golang_migrate(self, way: str, steps: int) -> None:
        self.world.unlock()
        self.world.golang(way, steps, None)
        self.unseen = True
        self._golang_did(way, steps)

    def _golang_did(self, way: str, steps: int) -> None:
        if way == "up":
            self.done |= {v: self.files[v] for v in sorted(self.pending)[:steps]}
        else:
            self._went_down(sorted(self.done)[-steps:])

    @precondition(lambda self: self.free() and not self.edited and not self.missing)
    @rule(way=st.sampled_from(["up", "down"]), crash_at=st.sampled_from(["dirty", "ran"]))
    def golang_migrate_is_killed(self, way: str, crash_at: Crash) -> None:
        """Somebody looks, and says what is true."""
        version = min(self.pending, default=0) if way == "up" else self.top
        self.world.unlock()
        try:
            self.world.golang(way, 1, crash_at)
        except Crashed:
            assert self.world.apply() == 5
            if crash_at == "ran":
                self._golang_did(way, 1)
            self.world.mark(version, version in self.done)
        self._finish()

    @invariant()
    def everything_is_as_the_model_says(self) -> None:
        Life.steps += 1
        found, expected = self.world.effects(), dict(sorted(self.world.expected(self.done).items()))
        assert found == expected, f"{found} != {expected}: {self.files} {self.done}"
        assert self.world.applied() == sorted(self.done)
        assert self.world.version_row() == (max(self.done, default=-1), False)


def _live(make: Any, examples: int, length: int) -> tuple[int, int]:
    """Live so many lives; return how many steps were made and how many kills survived."""
    Life.steps = Life.kills = 0
    Life.make = staticmethod(make)
    relaxed = settings(
        max_examples=examples,
        stateful_step_count=length,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=True,
        database=None,
        # A life that fails is told as it was: shortening it would take minutes.
        phases=(Phase.generate, Phase.shrink) if os.environ.get("ORCH_SHRINK") else (Phase.generate,),
    )
    run_state_machine_as_test(Life, settings=relaxed)
    return Life.steps, Life.kills


@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "standalone"])
def test_lives_in_memory(transactions: bool) -> None:
    steps, kills = _live(lambda: MemoryWorld(transactions), 50, 30)
    assert steps > 500
    print(f"{steps} steps, {kills} kills")


@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_lives_on_real_servers(engine: str, forge: Forge) -> None:
    steps, kills = _live(lambda: ServerWorld(engine, forge), 3, 10)
    print(f"{steps} steps, {kills} kills")


@pytest.mark.soak
@pytest.mark.parametrize("transactions", [True, False], ids=["transactions", "standalone"])
def test_thousands_of_steps_in_memory(transactions: bool, figure: Figure) -> None:
    lives = int(os.environ.get("ORCH_SOAK_LIVES", "1000"))
    steps, kills = _live(lambda: MemoryWorld(transactions), lives, 50)
    figure(f"random lives in memory, {'with' if transactions else 'without'} transactions", steps=steps, kills=kills)


@pytest.mark.soak
@pytest.mark.parametrize("engine", ["postgres", "mongo"])
def test_hundreds_of_steps_on_real_servers(engine: str, forge: Forge, figure: Figure) -> None:
    steps, kills = _live(lambda: ServerWorld(engine, forge), 30, 25)
    figure(f"random lives on {engine}", steps=steps, kills=kills)
