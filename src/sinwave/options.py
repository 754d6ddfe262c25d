"""Options are declared once, as fields of a frozen dataclass; the command line, the web page and jobs read them here.

    @dataclass(frozen=True, kw_only=True)
    class Generate:
        \"\"\"Draw new pictures that look like SOURCE.\"\"\"      # the help of the command

        source: Path = option(help="a picture", positional=True)     # no default: must be given
        variation: float = option(0.7, "0 = the picture itself, 1 = a new composition", low=0, high=1)

        def __post_init__(self) -> None:
            check(self)

A field is a bool, int, float, str or Path, a `Literal` of strings, `tuple[one of these, ...]`, or any of them `| None`.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from sinwave.errors import InputError

__all__ = ["Facts", "Option", "check", "facts", "from_json", "option", "to_json"]

T = TypeVar("T")

_KINDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


@dataclass(frozen=True)
class Facts:
    """What a reader must know of an option beyond its name, type and default."""

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
    """A dataclass field that carries its `Facts`; without a default it must be given.

    `low` and `high` are allowed values themselves. `short` is a second spelling on the command line (`-n`), `metavar`
    stands for the value in its help; `positional` options need no name there, and `counted` ones count how often they
    are named (`-vv` is 2).
    """
    if not help:
        raise TypeError("an option needs a help sentence")
    known = Facts(help, low, high, choices, short, metavar, positional, counted)
    return dataclasses.field(default=default, metadata={Facts: known})


@dataclass(frozen=True)
class Option:
    """One declared option with its type taken apart: `tuple[int, ...] | None` is several of kind int, optional."""

    name: str
    kind: type
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
        return "finite" if self.kind is float else _KINDS[self.kind]


def facts(cls: type) -> tuple[Option, ...]:
    """The options that a dataclass declares, in their order."""
    hints = get_type_hints(cls)
    return tuple(_option(cls, field, hints[field.name]) for field in dataclasses.fields(cls))


def _option(cls: type, field: dataclasses.Field[Any], hint: Any) -> Option:
    known: Facts | None = field.metadata.get(Facts)
    if known is None:
        raise TypeError(f"{cls.__name__}.{field.name} must be declared with option(...)")
    optional, several, choices = False, False, known.choices
    if get_origin(hint) in (Union, types.UnionType) and len(get_args(hint)) == 2 and type(None) in get_args(hint):
        optional = True
        hint = next(part for part in get_args(hint) if part is not type(None))
    if get_origin(hint) is tuple and get_args(hint)[1:] == (...,):
        several, hint = True, get_args(hint)[0]
    if get_origin(hint) is Literal:
        choices, hint = get_args(hint), str
    if hint not in _KINDS:
        raise TypeError(f"{cls.__name__}.{field.name} has the type {hint}, which no reader of options knows")
    return Option(field.name, hint, field.default, known, choices, optional, several)


def check(options: Any) -> None:
    """Raise `InputError`, one sentence, for the first value whose type, range or choice is not allowed."""
    for declared in facts(type(options)):
        value = getattr(options, declared.name)
        if value is None and declared.optional:
            continue
        if declared.several and not isinstance(value, tuple):
            raise InputError(f"{declared.spoken} must be several values, not {value!r}")
        for item in value if declared.several else (value,):
            _check_item(declared, item)


def _check_item(declared: Option, value: Any) -> None:
    low, high = declared.facts.low, declared.facts.high
    if not _is_a(declared.kind, value):
        raise InputError(f"{declared.spoken} must be {_KINDS[declared.kind]}, not {value!r}")
    unbounded = isinstance(value, float) and not math.isfinite(value)
    outside = (low is not None and value < low) or (high is not None and value > high)
    unknown = declared.choices is not None and value not in declared.choices
    if unbounded or outside or unknown:
        raise InputError(f"{declared.spoken} must be {declared.allowed}, not {value!r}")


def _is_a(kind: type, value: Any) -> bool:
    # Python calls True a 1 and tells 1 from 1.0; users do neither.
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def to_json(options: Any) -> dict[str, Any]:
    """The values as JSON knows them; `from_json` makes equal options of them."""
    return dict(_to_json(options))


def _to_json(options: Any) -> Iterator[tuple[str, Any]]:
    for declared in facts(type(options)):
        value = getattr(options, declared.name)
        if declared.several and value is not None:
            yield declared.name, [str(item) if declared.kind is Path else item for item in value]
        else:
            yield declared.name, str(value) if isinstance(value, Path) else value


def from_json(cls: type[T], values: Mapping[str, Any]) -> T:
    """The options that `values` describe; a name that `cls` does not declare is an error."""
    declared = {each.name: each for each in facts(cls)}
    for name in values:
        if name not in declared:
            close = get_close_matches(name, declared, n=1)
            raise InputError(f"there is no option {name!r}" + (f"; did you mean {close[0]!r}?" if close else ""))
    for each in declared.values():
        if each.required and each.name not in values:
            raise InputError(f"{each.spoken} is missing")
    return cls(**{name: _from_json(declared[name], value) for name, value in values.items()})


def _from_json(declared: Option, value: Any) -> Any:
    # What does not fit stays as it is: `check` says what is wrong with it.
    if declared.several and isinstance(value, list):
        return tuple(_from_json(dataclasses.replace(declared, several=False), item) for item in value)
    return Path(value) if declared.kind is Path and isinstance(value, str) else value
