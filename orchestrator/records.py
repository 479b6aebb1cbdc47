"""`dataclass`, `field`, `replace` and `NamedTuple` as in the standard library, for the modules that every run loads.

The standard library compiles several functions for each class when it is defined, and imports `inspect`: a third of the
CPU time of a run that has nothing to do. Here a class compiles its constructor for its first instance, and most classes
have none in such a run. `fields`, `asdict` and `replace` of `dataclasses` take these records too. A type checker sees the
names of the standard library; only what the functions below take works.
"""

from __future__ import annotations

from _collections import _tuplegetter  # type: ignore[import-not-found] # as in collections.namedtuple
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

_NOTHING = object()
_put = object.__setattr__


class _Field:
    """A field of a record. `default_factory` makes a default for each instance."""

    def __init__(
        self,
        *,
        default: Any = _NOTHING,
        default_factory: Any = _NOTHING,
        init: bool = True,
        repr: bool = True,
        compare: bool = True,
    ) -> None:
        self.type = ""
        self.default = default
        self.default_factory = default_factory
        self.init = init
        self.repr = repr
        self.compare = compare


class _Record:
    """The fields of a class whose instances are records."""

    def __init__(self, fields: Mapping[str, _Field], *, frozen: bool) -> None:
        self.fields = fields
        self.frozen = frozen
        compared = [name for name, one in fields.items() if one.compare]
        # attrgetter is fastest, but makes no tuple of one value, nor of none.
        self.values: Callable[[Any], tuple[Any, ...]] = (
            attrgetter(*compared)
            if len(compared) > 1
            else lambda record: tuple(getattr(record, name) for name in compared)
        )


def _dataclass(
    cls: Any = None,
    /,
    *,
    init: bool = True,
    repr: bool = True,
    order: bool = False,
    frozen: bool = False,
    slots: bool = False,
) -> Any:
    """Return the class as a record; with the parameters of `dataclasses.dataclass`."""
    if cls is None:
        return partial(_dataclass, init=init, repr=repr, order=order, frozen=frozen, slots=slots)
    inherited: dict[str, _Field] = {}
    for base in reversed(cls.__mro__):
        inherited |= base.__record__.fields if "__record__" in base.__dict__ else {}
    own = _own_fields(cls)
    record = _Record(inherited | own, frozen=frozen)
    namespace: dict[str, Any] = {
        "__record__": record,
        "__dataclass_fields__": _Lent(record),
        "__dataclass_params__": _Lent(record),
        "__match_args__": tuple(name for name, one in record.fields.items() if one.init),
        "__eq__": _equal,
        "__hash__": _hash if frozen else None,
    }
    if repr:
        namespace["__repr__"] = _represent
    if order:
        namespace |= {"__lt__": _less, "__le__": _less_or_equal}  # Python derives > and >= from them
    if frozen:
        namespace |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    if frozen and slots:  # or copies would be made with the __setattr__ that refuses
        namespace |= {"__getstate__": _get_state, "__setstate__": _set_state}
    if slots:
        namespace["__slots__"] = tuple(name for name in own if name not in inherited)
    else:
        namespace |= {name: one.default for name, one in own.items() if one.default is not _NOTHING}
    if init:
        namespace["__init__"] = lambda *given, **named: _init_first(made, *given, **named)
    not_taken = {"__dict__", "__weakref__", *own}  # those of the old class serve none of its instances
    defined = {name: value for name, value in cls.__dict__.items() if name not in not_taken}
    made: Any = type(cls)(cls.__name__, cls.__bases__, namespace | defined)
    return made


def _own_fields(cls: type) -> dict[str, _Field]:
    fields = {}
    for name, type in cls.__annotations__.items():
        value = cls.__dict__.get(name, _NOTHING)
        fields[name] = value if isinstance(value, _Field) else _Field(default=value)
        fields[name].type = type
    return fields


def _init_first(made: Any, *given: Any, **named: Any) -> None:
    """Compile `made.__init__`, and call it for the first instance, which is given[0]."""
    record: _Record = made.__record__
    known: dict[str, Any] = {"put": _put, "NOTHING": _NOTHING}
    parameters, lines = ["self"], []
    for name, one in record.fields.items():
        value = name
        if one.default_factory is not _NOTHING:
            known[f"make_{name}"] = one.default_factory
            parameters += [f"{name}=NOTHING"] if one.init else []
            value = f"make_{name}() if {name} is NOTHING else {name}" if one.init else f"make_{name}()"
        elif one.default is not _NOTHING:
            known[f"default_{name}"] = one.default
            parameters += [f"{name}=default_{name}"] if one.init else []
            value = name if one.init else f"default_{name}"
        elif one.init:
            parameters.append(name)
        else:
            continue  # __post_init__ sets it
        lines.append(f" put(self, {name!r}, {value})" if record.frozen else f" self.{name} = {value}")
    if hasattr(made, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + ("\n".join(lines) or " pass"), known)  # noqa: S102 - our own names
    made.__init__ = known["__init__"]
    made.__init__.__qualname__ = f"{made.__qualname__}.__init__"
    made.__init__(*given, **named)


def _equal(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__record__.values(self) == self.__record__.values(other)


def _less(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__record__.values(self) < self.__record__.values(other)


def _less_or_equal(self: Any, other: Any) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    return self.__record__.values(self) <= self.__record__.values(other)


def _hash(self: Any) -> int:
    return hash(self.__record__.values(self))


def _represent(self: Any) -> str:
    shown = (f"{name}={getattr(self, name)!r}" for name, one in self.__record__.fields.items() if one.repr)
    return f"{self.__class__.__qualname__}({', '.join(shown)})"


def _refuse_to_set(_self: Any, name: str, _value: object) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refuse_to_delete(_self: Any, name: str) -> NoReturn:
    from dataclasses import FrozenInstanceError

    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _get_state(self: Any) -> list[Any]:
    return [getattr(self, name) for name in self.__record__.fields]


def _set_state(self: Any, state: Iterable[Any]) -> None:
    for name, value in zip(self.__record__.fields, state, strict=True):
        _put(self, name, value)


def _replace(record: Any, /, **changes: Any) -> Any:
    """Return a copy of a record with other values in some fields. It may be one of the standard library."""
    cls = type(record)
    if not hasattr(cls, "__record__"):
        import dataclasses

        return dataclasses.replace(record, **changes)
    for name, one in cls.__record__.fields.items():
        if one.init and name not in changes:
            changes[name] = getattr(record, name)
    return cls(**changes)


class _Lent:
    """An attribute of a class that `dataclasses` looks for; it is that of a dataclass with the same fields."""

    def __init__(self, record: _Record) -> None:
        self._record = record

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, _instance: object, owner: type) -> Any:
        import dataclasses

        fields = []
        for name, one in self._record.fields.items():
            settings = {key: value for key, value in vars(one).items() if key != "type" and value is not _NOTHING}
            fields.append((name, one.type, dataclasses.field(**settings)))
        return getattr(dataclasses.make_dataclass(owner.__name__, fields, frozen=self._record.frozen), self._name)


class _Tuple(tuple[Any, ...]):
    """What all classes that derive from `NamedTuple` can do, under the names that the standard library gives it."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()

    @classmethod
    def _make(cls, values: Iterable[Any]) -> Any:
        made = tuple.__new__(cls, values)
        if len(made) != len(cls._fields):
            raise TypeError(f"Expected {len(cls._fields)} arguments, got {len(made)}")
        return made

    def _replace(self, /, **changes: Any) -> Any:
        made = self._make(map(changes.pop, self._fields, self))
        if changes:
            raise ValueError(f"Got unexpected field names: {list(changes)!r}")
        return made

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def __repr__(self) -> str:
        shown = (f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"{self.__class__.__name__}({', '.join(shown)})"

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)


class _Maker(type):
    """Makes a class that derives from `NamedTuple` a plain subclass of `_Tuple`."""

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        if not bases:
            return super().__new__(cls, name, bases, namespace)
        fields = tuple(namespace.get("__annotations__", ()))
        defaults = {field: namespace[field] for field in fields if field in namespace}
        namespace |= {field: _tuplegetter(number, "") for number, field in enumerate(fields)}
        namespace |= {"__slots__": (), "_fields": fields, "_field_defaults": defaults, "__match_args__": fields}
        namespace["__new__"] = lambda _cls, /, *given, **named: _new_first(made, _cls, *given, **named)
        made: Any = type(name, (_Tuple,), namespace)
        return made


def _new_first(made: Any, kind: type, /, *given: Any, **named: Any) -> Any:
    """Compile `made.__new__`, and call it for the first instance."""
    parameters = ", ".join(made._fields)
    new = eval(f"lambda _cls, {parameters}: make(_cls, ({parameters},))", {"make": tuple.__new__})  # noqa: S307 - our names
    new.__name__, new.__qualname__ = "__new__", f"{made.__qualname__}.__new__"
    new.__defaults__ = tuple(made._field_defaults.values())
    made.__new__ = staticmethod(new)
    return new(kind, *given, **named)


if TYPE_CHECKING:
    from dataclasses import dataclass, field, replace
    from typing import NamedTuple
else:
    dataclass, field, replace = _dataclass, _Field, _replace

    class NamedTuple(metaclass=_Maker):
        """The base of classes whose instances are tuples with names."""


__all__ = ["NamedTuple", "dataclass", "field", "replace"]
