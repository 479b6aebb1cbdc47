"""Records behave as the classes of the standard library do that they stand for."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import subprocess
import sys
import typing
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest

from orchestrator.model import Mark
from orchestrator.patterns import regex
from orchestrator.records import NamedTuple, dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Ours:
    a: int
    b: list[int] = field(default_factory=list)
    c: str = field(default="c", repr=False, compare=False)
    d: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "d", self.a + 1)


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    a: int
    b: list[int] = dataclasses.field(default_factory=list)
    c: str = dataclasses.field(default="c", repr=False, compare=False)
    d: int = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "d", self.a + 1)


@dataclass(frozen=True, slots=True)
class Derived(Ours):
    e: int = 5

    @property
    def twice(self) -> int:
        return 2 * self.a


@dataclass(frozen=True, order=True)
class Ordered:
    a: int
    b: str = ""


@dataclass
class Changing:
    a: int = 1
    b: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Empty:
    pass


class OurTuple(NamedTuple):
    a: int
    b: str = "b"

    def twice(self) -> int:
        return 2 * self.a


class Kinds(NamedTuple):
    kind: str
    made: int
    given: int = 3


class TheirTuple(typing.NamedTuple):
    a: int
    b: str = "b"


def raised(call: Callable[[Any], object], cls: type) -> str:
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        call(cls)
    return f"{caught.type.__name__}: {caught.value}"


def test_a_field_may_have_any_name() -> None:
    assert Kinds(kind="k", made=1) == Kinds("k", 1) == ("k", 1, 3)
    assert Kinds("k", 1, given=4)._replace(kind="l") == ("l", 1, 4)


def test_a_record_is_made_shown_and_compared_as_a_dataclass_is() -> None:
    ours, theirs = Ours(1, c="x"), Theirs(1, c="x")
    assert repr(ours) == repr(theirs).replace("Theirs", "Ours") == "Ours(a=1, b=[], d=2)"
    assert ours == Ours(1, [], "y")
    assert ours != Ours(2)
    assert ours.__eq__(theirs) is NotImplemented
    assert ours.b is not Ours(1).b
    assert not hasattr(ours, "__dict__")
    assert (Derived(3, e=6).d, Derived(3).e, Derived(3).twice) == (4, 5, 6)
    assert Derived(1) != ours
    assert Empty() == Empty()
    assert repr(Empty()) == "Empty()"
    wrong: tuple[Callable[[Any], Any], ...] = (
        lambda cls: cls(),
        lambda cls: cls(1, [], "", 2),
        lambda cls: cls(1, e=2),
    )
    for call in wrong:
        assert raised(call, Ours).replace("Ours", "") == raised(call, Theirs).replace("Theirs", "")
    match ours:
        case Ours(a, [], c):
            assert (a, c) == (1, "x")


def test_a_frozen_record_refuses_to_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'a'"):
        Ours(1).a = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'a'"):
        del Ours(1).a
    changing = Changing()
    assert vars(changing) == {"a": 1, "b": []}
    changing.a = 2
    assert changing == Changing(2)
    with pytest.raises(TypeError, match="unhashable"):
        hash(changing)


def test_records_have_an_order_and_a_hash() -> None:
    assert Ordered(1, "b") < Ordered(2, "a") < Ordered(2, "b")
    assert Ordered(2) > Ordered(1)
    assert Ordered(1) >= Ordered(1) <= Ordered(1)
    assert max(Mark("a", 1), Mark("a", 2)) == Mark("a", 2)
    assert len({Ordered(1), Ordered(1), Ordered(2)}) == 2


def test_records_are_copied_pickled_and_replaced() -> None:
    one = Ours(1, [2], "x")
    for same in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert (same, same.c, same.d) == (one, "x", 2)
    assert replace(one, a=5) == dataclasses.replace(one, a=5) == Ours(5, [2])
    assert replace(one, a=5).d == 6
    assert replace(Theirs(1), a=2) == Theirs(2)
    assert pickle.loads(pickle.dumps(OurTuple(1))) == OurTuple(1)
    assert type(copy.deepcopy(OurTuple(1))) is OurTuple


def test_dataclasses_takes_a_record_for_one_of_its_own() -> None:
    assert dataclasses.is_dataclass(Ours)
    assert dataclasses.asdict(Derived(1)) == {"a": 1, "b": [], "c": "c", "d": 2, "e": 5}
    shown = [(one.name, one.type, one.init, one.compare) for one in dataclasses.fields(Ours)]
    assert shown == [(one.name, one.type, one.init, one.compare) for one in dataclasses.fields(Theirs)]

    @dataclasses.dataclass(frozen=True)
    class Further(Ours):
        z: int = 0

    assert Further(1, z=2).z == 2


def test_a_named_tuple_is_one_of_typing() -> None:
    ours = OurTuple(1)
    assert tuple(ours) == TheirTuple(1) == (1, "b")
    assert ours == (1, "b")
    assert repr(ours) == repr(TheirTuple(1)).replace("Their", "Our")
    assert (ours.twice(), OurTuple(b="x", a=2)) == (2, (2, "x"))
    assert (OurTuple._fields, OurTuple._field_defaults) == (TheirTuple._fields, TheirTuple._field_defaults)
    assert ours._replace(b="y")._asdict() == {"a": 1, "b": "y"}
    assert type(OurTuple._make([1, "x"])) is OurTuple
    assert not hasattr(ours, "__dict__")
    wrong: tuple[Callable[[Any], Any], ...] = (
        lambda cls: cls(1)._replace(c=2),
        lambda cls: cls._make([1]),
        lambda cls: setattr(cls(1), "a", 2),
    )
    for call in wrong:
        assert raised(call, OurTuple) == raised(call, TheirTuple)
    for arguments in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            OurTuple(*arguments)


def test_the_first_instances_are_made_as_all_later_ones_are() -> None:
    made: Any = dataclass(frozen=True, slots=True)(
        type(
            "Made", (), {"__annotations__": {"a": int, "b": list, "c": str}, "b": field(default_factory=list), "c": "c"}
        )
    )
    for number in range(60):
        shown = [repr(one) for one in (made(number), made(number, [1]), made(c="x", a=number), made(number, [], c="y"))]
        assert shown == [
            f"Made(a={number}, b=[], c='c')",
            f"Made(a={number}, b=[1], c='c')",
            f"Made(a={number}, b=[], c='x')",
            f"Made(a={number}, b=[], c='y')",
        ]
        assert made(number).b is not made(number).b
        assert Ours(number).d == Derived(number).d == number + 1
        assert (
            OurTuple(number)
            == OurTuple(a=number)
            == OurTuple(b="b", a=number)
            == OurTuple(number, "b")
            == (number, "b")
        )
    new: Any
    for wrong in ({}, {"a": 1, "d": 2}):
        for new in (made, dataclass(frozen=True)(type("New", (), {"__annotations__": {"a": int}}))):
            with pytest.raises(TypeError):
                new(**wrong)
    new = dataclass(type("Newer", (), {"__annotations__": {"a": int}}))
    with pytest.raises(TypeError, match="multiple values"):
        new(1, a=1)


def test_a_field_may_be_called_as_what_a_constructor_uses() -> None:
    names = dict.fromkeys(("put", "make", "kind", "given", "named", "made", "cls", "NOTHING", "default_put"), int)
    makes: Any = type(NamedTuple)
    two = makes("Two", (NamedTuple,), {"__annotations__": names})
    one: Any = dataclass(frozen=True)(type("One", (), {"__annotations__": names}))
    for _ in range(40):
        assert list(vars(one(**dict.fromkeys(names, 3))).values()) == [3] * len(names)
        assert two(**dict.fromkeys(names, 3)) == (3,) * len(names)


def test_the_first_instances_can_be_made_by_many_threads_at_once() -> None:
    for _ in range(20):
        made: Any = dataclass(frozen=True, slots=True)(type("Made", (), {"__annotations__": {"a": int}}))
        together = Barrier(8)

        def make(number: int, made: Any = made, together: Barrier = together) -> int:
            together.wait()
            return int(made(number).a)

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(make, range(8))) == list(range(8))


def test_a_pattern_is_compiled_when_it_is_used() -> None:
    pattern = regex(r"(?P<word>[a-z]+)", re.IGNORECASE)
    found = pattern.fullmatch("Word")
    assert found
    assert found["word"] == "Word"
    assert pattern.sub("x", "a b") == "x x"
    assert (pattern.pattern, pattern.groupindex) == (r"(?P<word>[a-z]+)", {"word": 1})
    with pytest.raises(AttributeError, match="nothing"):
        getattr(pattern, "nothing")  # noqa: B009


def test_a_pattern_can_be_copied_before_and_after_it_is_used() -> None:
    pattern = regex("a+")
    for _ in range(2):
        for same in (copy.copy(pattern), copy.deepcopy(pattern)):
            assert same.fullmatch("aaa")
        assert pattern.fullmatch("a")


def test_what_others_compile_while_they_are_imported_is_compiled_when_it_is_used() -> None:
    program = (
        "import re\n"
        "from orchestrator.patterns import compiled_when_used\n"
        "with compiled_when_used():\n"
        "    import yaml\n"
        "    assert re.compile('a').match('a')\n"
        "assert isinstance(re.compile('a'), re.Pattern)\n"
        "text = 'a: [1, 0x1f, 1.5, .inf, 2001-12-14t21:59:43.10-05:00, yes, ~, b, 1:30]\\n'\n"
        "c = yaml.load(text, yaml.CSafeLoader)\n"
        "assert c == yaml.safe_load(text), c\n"
        "print(c, yaml.safe_dump(c))\n"
        "try: yaml.safe_load('a\\x00')\n"
        "except yaml.YAMLError as error: print(error)\n"
    )
    without = program.replace("with compiled_when_used():", "if True:")
    ours, theirs = (
        subprocess.run([sys.executable, "-c", one], capture_output=True, text=True) for one in (program, without)
    )
    assert ours.returncode == 0, ours.stderr
    assert ours.stdout == theirs.stdout


def test_every_pattern_of_ours_can_be_compiled() -> None:
    program = (
        "import pkgutil, importlib, orchestrator.patterns as patterns\n"
        "made = []\n"
        "class Known(patterns.regex):\n"
        "    def __init__(self, *arguments):\n"
        "        super().__init__(*arguments); made.append(self)\n"
        "patterns.regex = Known\n"
        "import orchestrator\n"
        "for one in pkgutil.walk_packages(orchestrator.__path__, 'orchestrator.'):\n"
        "    if one.name not in ('orchestrator.__main__', 'orchestrator.views.otel'):\n"
        "        importlib.import_module(one.name)\n"
        "[one.pattern for one in made]; print(len(made))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100
