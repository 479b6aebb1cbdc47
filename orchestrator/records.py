"""`dataclass`, `field`, `replace` and `NamedTuple` as in the standard library, for the modules that every run loads.

The standard library compiles several functions for each class when it is defined, and imports `inspect`: a third of the
CPU time of a run that has nothing to do. Here a class compiles its constructor when it has made some instances without
one, and most classes of such a run make fewer. `fields`, `asdict` and `replace` of `dataclasses` take these records too.
A type checker sees the names of the standard library; only what the functions below take works.
"""

from __future__ import annotations

from _collections import _tuplegetter  # type: ignore[import-not-found] # as in collections.namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn

_FEW = 32
"""Instances that are made before the constructor is compiled: compiling it takes about as long as making so many."""
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

    def value(self) -> Any:
        """Return the default of one instance, or _NOTHING."""
        return self.default if self.default_factory is _NOTHING else self.default_factory()


class _Record:
    """The fields of a class whose instances are records."""

    def __init__(self, fields: Mapping[str, _Field], *, frozen: bool) -> None:
        self.fields = fields
        self.frozen = frozen
        self.instances = 0
        self.lent: dict[type, Any] = {}  # dataclasses with these fields, by the class that was asked
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
        namespace["__init__"] = lambda self, /, *given, **named: _init(made, self, given, named)
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


def _bound(
    names: Sequence[str], default: Callable[[str], Any], given: Sequence[Any], named: Mapping[str, Any]
) -> list[Any] | None:
    """Return the values of a call in the order of the names; None for a call that is wrong."""
    values, used = list(given), 0
    for name in names[len(given) :]:
        used += name in named
        values.append(named[name] if name in named else default(name))
        if values[-1] is _NOTHING:
            return None
    return values if len(values) == len(names) and used == len(named) else None


def _init(made: Any, self: Any, given: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Fill one of the first instances; or compile `made.__init__`, which also says what is wrong with a call."""
    record: _Record = made.__record__
    record.instances += 1
    values = None
    if record.instances <= _FEW:
        values = _bound(made.__match_args__, lambda name: record.fields[name].value(), given, named)
    if values is None:
        made.__init__ = _constructor(made)
        made.__init__(self, *given, **named)
        return
    for name, value in zip(made.__match_args__, values, strict=True):
        _put(self, name, value)
    for name, one in record.fields.items():
        if not one.init and (value := one.value()) is not _NOTHING:
            _put(self, name, value)
    if hasattr(self, "__post_init__"):
        self.__post_init__()


def _constructor(made: Any) -> Any:
    record: _Record = made.__record__
    known: dict[str, Any] = {"__put": _put, "__nothing": _NOTHING}
    parameters, lines = ["self"], []
    for name, one in record.fields.items():
        value = name
        if one.default_factory is not _NOTHING:
            known[f"__make_{name}"] = one.default_factory
            parameters += [f"{name}=__nothing"] if one.init else []
            value = f"__make_{name}() if {name} is __nothing else {name}" if one.init else f"__make_{name}()"
        elif one.default is not _NOTHING:
            known[f"__default_{name}"] = one.default
            parameters += [f"{name}=__default_{name}"] if one.init else []
            value = name if one.init else f"__default_{name}"
        elif one.init:
            parameters.append(name)
        else:
            continue  # __post_init__ sets it
        lines.append(f" __put(self, {name!r}, {value})" if record.frozen else f" self.{name} = {value}")
    if hasattr(made, "__post_init__"):
        lines.append(" self.__post_init__()")
    exec(f"def __init__({', '.join(parameters)}):\n" + ("\n".join(lines) or " pass"), known)  # noqa: S102 - our own names
    constructor: Any = known["__init__"]
    constructor.__qualname__ = f"{made.__qualname__}.__init__"
    return constructor


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
        if owner not in self._record.lent:  # making it takes 3 ms
            import dataclasses

            fields = []
            for name, one in self._record.fields.items():
                settings = {key: value for key, value in vars(one).items() if key != "type" and value is not _NOTHING}
                fields.append((name, one.type, dataclasses.field(**settings)))
            made = dataclasses.make_dataclass(owner.__name__, fields, frozen=self._record.frozen)
            self._record.lent[owner] = made
        return getattr(self._record.lent[owner], self._name)


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
        instances = count(1)
        namespace["__new__"] = lambda _cls, /, *given, **named: _new(made, next(instances), _cls, given, named)
        made: Any = type(name, (_Tuple,), namespace)
        return made


def _new(made: Any, instance: int, kind: type, given: Sequence[Any], named: Mapping[str, Any]) -> Any:
    """Make one of the first instances; or compile `made.__new__`, which also says what is wrong with a call."""
    if instance <= _FEW:
        values = _bound(made._fields, lambda name: made._field_defaults.get(name, _NOTHING), given, named)
        if values is not None:
            return tuple.__new__(kind, values)
    parameters = ", ".join(made._fields)
    new = eval(f"lambda _cls, {parameters}: __make(_cls, ({parameters},))", {"__make": tuple.__new__})  # noqa: S307 - our names
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
