"""The one reader of option dataclasses for the command line.

tyro splits the arguments and draws the help; what a value means, and what is wrong with it, is said by the options
themselves, so a sentence about a bad value is the same here, on the web page and in Python.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import itertools
import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn, TypeVar

import tyro
from tyro.constructors import PrimitiveConstructorSpec

from sinwave.errors import InputError
from sinwave.options import Option, check, facts

__all__ = ["parse"]

T = TypeVar("T")

_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}
_HELP = {"-h", "--help"}


class _Unset:
    """The value of an option that the command line does not name."""


_UNSET: Final = _Unset()


def parse(cls: type[T], arguments: Sequence[str], program: str) -> T:
    """The options of the dataclass `cls` as `arguments` give them.

    `--help` prints the help and raises `SystemExit(0)`; everything that is wrong raises `InputError`.
    """
    try:
        options = cls(**_split(cls, arguments, program))
        check(options)
        return options
    except InputError as error:
        raise InputError(f"{error} (see {program} --help)") from None


def _split(cls: type[Any], arguments: Sequence[str], program: str) -> dict[str, Any]:
    """The named values, each as its option's kind reads it."""
    if arguments and arguments[0].replace("_", "-").startswith("--tyro-"):
        raise InputError(f"unknown option {arguments[0]}")
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            # Nothing is required yet, so that a misspelled name is reported before what is missing because of it.
            given, unknown = tyro.cli(
                _twin(cls, lenient=True), prog=program, args=arguments, add_help=False, return_unknown_args=True
            )
    except SystemExit:
        raise InputError(_first_sentence(complaint.getvalue())) from None
    if _HELP & set(unknown):
        tyro.cli(_twin(cls, lenient=False), prog=program, args=["--help"])
    if unknown:
        _reject(cls, unknown)
    for option in facts(cls):
        if option.required and getattr(given, option.name) is _UNSET:
            raise InputError(f"{_display(option)} is missing")
        if getattr(given, option.name) == []:
            raise InputError(f"missing value for argument '{_display(option)}'")
    return {
        option.name: _read(option, getattr(given, option.name))
        for option in facts(cls)
        if getattr(given, option.name) is not _UNSET
    }


def _twin(cls: type[Any], *, lenient: bool) -> type[Any]:
    """A dataclass that tyro understands, with the fields of `cls` as raw strings, so that `cls` need not know tyro."""
    fields = [
        (option.name, _annotation(option), dataclasses.field(default=_default(option, lenient=lenient), kw_only=True))
        for option in facts(cls)
    ]
    return dataclasses.make_dataclass(cls.__name__, fields, namespace={"__doc__": cls.__doc__})


def _default(option: Option, *, lenient: bool) -> Any:
    if option.facts.counted or option.kind is bool:
        return option.default
    return dataclasses.MISSING if option.required and not lenient else _UNSET


def _annotation(option: Option) -> Any:
    known = option.facts
    described = tyro.conf.arg(
        help=known.help, help_behavior_hint=_hint(option), aliases=None if known.short is None else (known.short,)
    )
    if known.counted:
        return Annotated[tyro.conf.UseCounterAction[int], described]
    if option.kind is bool:
        return Annotated[tyro.conf.FlagCreatePairsOff[bool], described]
    raw = PrimitiveConstructorSpec(
        nargs="*" if option.several else 1,
        metavar=_display(option) if known.positional else _metavar(option),
        instance_from_str=lambda words: list(words) if option.several else words[0],
        is_instance=lambda value: True,
        str_from_instance=lambda value: [""],
    )
    return Annotated[Any, raw, described, tyro.conf.Positional] if known.positional else Annotated[Any, raw, described]


def _hint(option: Option) -> str:
    if option.required or option.default is None or option.kind is bool or option.facts.counted:
        return ""  # tyro itself says what is required
    shown = " ".join(map(str, option.default)) if option.several else option.default
    return f"(default: {shown})" if shown != "" else ""


def _display(option: Option) -> str:
    """How people call the option: `--max-pixels`, or `SOURCE` where it needs no name."""
    if option.facts.positional:
        return option.facts.metavar or option.name.upper()
    return "--" + option.name.replace("_", "-")


def _metavar(option: Option) -> str:
    one = "{" + ",".join(option.choices) + "}" if option.choices else _METAVARS[option.kind]
    one = option.facts.metavar or one
    return f"{one}..." if option.several else one


def _read(option: Option, value: Any) -> Any:
    """The value that a word stands for; a word that stands for none is left for `check` to complain about.

    Several values are several words, or, as a path may hold a comma but nothing else does, one word with commas.
    """
    if isinstance(value, list):
        words = value if option.kind is Path else [part for word in value for part in word.split(",")]
        return tuple(_read(option, word) for word in words)
    if not isinstance(value, str) or not value or option.kind is str:
        return value
    try:
        return option.kind(value)
    except ValueError:
        return value


def _reject(cls: type[Any], unknown: Sequence[str]) -> NoReturn:
    """Name the first unknown option, or else the first word too many."""
    names = [word.partition("=")[0] for word in unknown if re.match(r"--?[A-Za-z]", word)]
    if not names:
        raise InputError(f"unexpected argument {unknown[0]!r}")
    flags = [_display(option) for option in facts(cls) if not option.facts.positional]
    close = get_close_matches(names[0], flags, n=1)
    raise InputError(f"unknown option {names[0]}" + (f"; did you mean {close[0]}?" if close else ""))


def _first_sentence(box: str) -> str:
    """The text of tyro's box up to its first rule or full stop: one line, whatever the box looks like."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[0-9;]*m", "", box).splitlines()]
    body = [line for line in lines if line and not line.startswith(("╭", "╰"))]
    text = " ".join(itertools.takewhile(lambda line: set(line) != {"─"}, body))
    sentence = text.partition(". ")[0].rstrip(".")
    return sentence[:1].lower() + sentence[1:] or "these arguments make no sense"
