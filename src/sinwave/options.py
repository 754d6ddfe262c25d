"""Options are declared once, as fields of a frozen dataclass; the command line, the web page and jobs read them here.

    @dataclass(frozen=True, kw_only=True)
    class Generate:
        \"\"\"Draw new pictures that look like SOURCE.\"\"\"      # the help of the command

        source: Picture = option(help="a picture", positional=True)     # no default: must be given
        variation: float = option(0.7, "0 = the picture itself, 1 = a new composition", low=0, high=1)

        def __post_init__(self) -> None:
            check(self)

A field is a bool, int, float, str or Path, a `Literal` of strings, a kind (see `Kind` and `sinwave.option_kinds`),
`tuple[one of these, ...]`, or any of them `| None`.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Hashable, Mapping
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar, Union, get_args, get_origin, get_type_hints

from sinwave.errors import InputError

__all__ = ["Facts", "Kind", "Option", "check", "facts", "from_file", "from_json", "option", "to_json"]

T = TypeVar("T")

_BASIC: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


class Kind(Protocol):
    """A type of option with a form of its own, such as a picture or a size."""

    noun: ClassVar[str]
    """The end of the sentence "... must be": "a picture"."""
    metavar: ClassVar[str]

    @classmethod
    def accept(cls, value: Any) -> Any:
        """Make an instance of whatever a Python program or a command line gives; a `TypeError` refuses it."""

    def to_json(self) -> Any:
        """Make a value of JSON that `accept` takes."""


@dataclass(frozen=True)
class Facts:
    """The facts of an option beyond its name, type and default."""

    help: str
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] | None = None
    short: str | None = None
    metavar: str | None = None
    positional: bool = False
    counted: bool = False


def option(
    default: Any = MISSING,
    help: str = "",
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] | None = None,
    short: str | None = None,
    metavar: str | None = None,
    positional: bool = False,
    counted: bool = False,
) -> Any:
    """Declare a dataclass field that carries its `Facts`; without a default it must be given.

    `low` and `high` are allowed values themselves. `short` is a second spelling on the command line (`-n`), `metavar`
    stands for the value in its help; `positional` options need no name there, and `counted` ones count how often they
    are named (`-vv` is 2).
    """
    if not help:
        raise TypeError("an option needs a help sentence")
    metadata = {Facts: Facts(help, low, high, choices, short, metavar, positional, counted)}
    return dataclasses.field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Option:
    """A declared option with its type taken apart: `tuple[int, ...] | None` is several of kind int, optional."""

    name: str
    kind: type[Any]
    default: Any
    facts: Facts
    choices: tuple[str, ...] | None = None
    optional: bool = False
    several: bool = False

    @property
    def required(self) -> bool:
        """Whether the option has no default."""
        return self.default is MISSING

    @property
    def spoken(self) -> str:
        """The name as it stands in a sentence."""
        return self.name.replace("_", " ")

    @property
    def noun(self) -> str:
        """The kind of value as it stands in a sentence."""
        return _BASIC[self.kind] if self.kind in _BASIC else str(self.kind.noun)

    @property
    def allowed(self) -> str:
        """The sentence's end: what a value must be."""
        low, high = self.facts.low, self.facts.high
        if self.choices is not None:
            return f"one of {', '.join(self.choices)}"
        if low is not None and high is not None:
            return f"between {low:g} and {high:g}"
        if low is not None:
            return f"at least {low:g}"
        if high is not None:
            return f"at most {high:g}"
        return "finite" if self.kind is float else self.noun


def facts(cls: type) -> tuple[Option, ...]:
    """List the options that a dataclass declares, in their order."""
    return _facts(cls)


@cache
def _facts(cls: Hashable) -> tuple[Option, ...]:
    assert isinstance(cls, type)
    hints = get_type_hints(cls)
    return tuple(_option(cls, field, hints[field.name]) for field in dataclasses.fields(cls) if field.init)


def _option(cls: type, field: dataclasses.Field[Any], hint: Any) -> Option:
    declared: Facts | None = field.metadata.get(Facts)
    if declared is None:
        raise TypeError(f"{cls.__name__}.{field.name} must be declared with option(...)")
    optional, several, choices = False, False, declared.choices
    if get_origin(hint) in (Union, types.UnionType) and len(get_args(hint)) == 2 and type(None) in get_args(hint):
        optional = True
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        several, hint = True, get_args(hint)[0]
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    if hint not in _BASIC and not hasattr(hint, "accept"):
        raise TypeError(f"{cls.__name__}.{field.name} has the type {hint}, which no reader of options has a form for")
    return Option(field.name, hint, field.default, declared, choices, optional, several)


def check(options: Any) -> None:
    """Turn the values of kinds into instances, and raise `InputError` for the first value that is not allowed."""
    for declared in facts(type(options)):
        value = getattr(options, declared.name)
        if value is None and declared.optional:
            continue
        if declared.several and not isinstance(value, tuple):
            raise InputError(f"{declared.spoken} must be several values, not {value!r}")
        items = [_checked(declared, item) for item in (value if declared.several else (value,))]
        if declared.kind not in _BASIC:
            object.__setattr__(options, declared.name, tuple(items) if declared.several else items[0])


def _checked(declared: Option, value: Any) -> Any:
    low, high = declared.facts.low, declared.facts.high
    if declared.kind not in _BASIC:
        return _accepted(declared, value)
    if not _is_a(declared.kind, value):
        raise InputError(f"{declared.spoken} must be {declared.noun}, not {value!r}")
    unbounded = isinstance(value, float) and not math.isfinite(value)
    outside = (low is not None and value < low) or (high is not None and value > high)
    unknown = declared.choices is not None and value not in declared.choices
    if unbounded or outside or unknown:
        raise InputError(f"{declared.spoken} must be {declared.allowed}, not {value!r}")
    return value


def _accepted(declared: Option, value: Any) -> Any:
    try:
        return value if isinstance(value, declared.kind) else declared.kind.accept(value)
    except TypeError:
        shown = repr(value) if isinstance(value, (str, int, float, bool, type(None), tuple)) else type(value).__name__
        raise InputError(f"{declared.spoken} must be {declared.noun}, not {shown}") from None
    except InputError as error:
        raise InputError(f"{declared.spoken} {error}" if str(error).startswith("must be ") else str(error)) from None


def _is_a(kind: type, value: Any) -> bool:
    # Python calls True a 1 and tells 1 from 1.0; users do neither.
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def to_json(options: Any, cls: type[Any] | None = None) -> dict[str, Any]:
    """Turn the values, or those that `cls` declares, into JSON, of which `from_json` makes equal options."""
    every = facts(cls or type(options))
    return {declared.name: _to_json(declared, getattr(options, declared.name)) for declared in every}


def _to_json(declared: Option, value: Any) -> Any:
    if isinstance(value, tuple) and declared.several:
        return [_to_json(dataclasses.replace(declared, several=False), item) for item in value]
    if value is not None and declared.kind not in _BASIC:
        return value.to_json()
    return str(value) if isinstance(value, Path) else value


def from_json(cls: type[T], values: Mapping[str, Any]) -> T:
    """Make the options that `values` describe; a name that `cls` does not declare is an error."""
    declared = {item.name: item for item in facts(cls)}
    for name in values:
        if name not in declared:
            close = get_close_matches(name, declared, n=1)
            raise InputError(f"there is no option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    for item in declared.values():
        if item.required and item.name not in values:
            raise InputError(f"{item.spoken} is missing")
    return cls(**{name: _from_json(declared[name], value) for name, value in values.items()})


def from_file(cls: type[T], values: Mapping[str, Any]) -> T:
    """Make the options that a model file has; a sentence says whose they are if they make no sense."""
    try:
        return from_json(cls, values)
    except InputError as error:
        raise InputError(f"the model's options make no sense: {error}") from error


def _from_json(declared: Option, value: Any) -> Any:
    # A value that does not fit stays as it is: `check` says what is wrong with it.
    if declared.several and isinstance(value, list):
        return tuple(_from_json(dataclasses.replace(declared, several=False), item) for item in value)
    return Path(value) if declared.kind is Path and isinstance(value, str) else value
