"""The one reader of option dataclasses for the command line.

argparse splits the arguments and lays out the help; what a value means, and what is wrong with it, is said by the
options themselves, so a sentence about a bad value is the same here, on the web page and in Python.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from inspect import cleandoc
from pathlib import Path
from typing import Any, NoReturn, cast

from sinwave.errors import InputError
from sinwave.options import Option, check, facts

__all__ = ["metavar", "own_first", "parse_together", "peek", "usage"]

_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT", Path: "PATH"}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are errors of ours."""

    def error(self, message: str) -> NoReturn:
        """Raise it as one sentence."""
        name, _, complaint = message.removeprefix("argument ").partition(": ")
        if "expected" in complaint:
            raise InputError(f"missing value for argument {name!r}")
        raise InputError(f"{name}: {complaint}" if complaint else message)


def parse_together(
    classes: Sequence[type[Any]], arguments: Sequence[str], program: str, *, more: list[str] | None = None
) -> tuple[Any, ...]:
    """Make the options of several dataclasses, none of which has an option of another; the first one's help leads.

    `--help` prints the help and raises `SystemExit(0)`; what is wrong raises `InputError`. Words beyond those that have
    a place are an error, or added to `more`.
    """
    try:
        values = _values(classes, _with_hyphens(arguments), program, more)
        made_of = [
            {option.name: values[option.name] for option in facts(cls) if option.name in values} for cls in classes
        ]
        results = tuple(cls(**own) for cls, own in zip(classes, made_of, strict=True))
        for result in results:
            check(result)
        return results
    except InputError as error:
        raise InputError(f"{error} (see {program} --help)") from None


def peek(cls: type[Any], name: str, arguments: Sequence[str]) -> str | None:
    """Look up the word that stands for one option, whatever the other arguments are."""
    option = next(option for option in facts(cls) if option.name == name)
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    _add(parser, option)
    named, _ = parser.parse_known_args(_with_hyphens(arguments))
    return cast("str | None", getattr(named, name, None))


def usage(classes: Sequence[type[Any]], program: str) -> str:
    """Lay out the help: the first docstring, and every option in the order of its declaration."""
    places = [metavar(option, bare=True) for option in _options(classes) if option.facts.positional]
    words, about = " ".join([program, "[-h] [OPTIONS]", *places]), cleandoc(classes[0].__doc__ or "")
    parser = _Parser(prog=program, usage=words, description=about, formatter_class=_Formatter, add_help=False)
    positional, named = parser.add_argument_group("arguments"), parser.add_argument_group("options")
    named.add_argument("-h", "--help", action="store_true", help="show this help")
    for option in own_first(classes):
        _add(positional if option.facts.positional else named, option)
    return parser.format_help()


def own_first(classes: Sequence[type[Any]]) -> list[Option]:
    """List the options of dataclasses, those that a class declares itself before those that it inherits."""
    ordered = []
    for cls in classes:
        declared = [vars(base).get("__annotations__", {}) for base in cls.__mro__]
        owners = {name: depth for depth, names in reversed(list(enumerate(declared))) for name in names}
        ordered += sorted(facts(cls), key=lambda option: 0 if option.facts.positional else 1 + owners[option.name])
    return ordered


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Options in one column as wide as most need; an option's value is named once."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {action.metavar}"


def _options(classes: Sequence[type[Any]]) -> list[Option]:
    return [option for cls in classes for option in facts(cls)]


def _with_hyphens(arguments: Sequence[str]) -> list[str]:
    """Spell `--max_pixels=7` as `--max-pixels=7`."""
    words = list(arguments)
    end = words.index("--") if "--" in words else len(words)
    for index, word in enumerate(words[:end]):
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            words[index] = name.replace("_", "-") + equals + value
    return words


def _values(classes: Sequence[type[Any]], arguments: list[str], program: str, more: list[str] | None) -> dict[str, Any]:
    """The named values, read according to the kinds of their options."""
    end = arguments.index("--") if "--" in arguments else len(arguments)
    if {"-h", "--help"} & set(arguments[:end]):
        print(usage(classes, program), end="")
        raise SystemExit(0)
    parser = _Parser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for option in _options(classes):
        if not option.facts.positional:
            _add(parser, option)
    given, rest = parser.parse_known_args(arguments[:end])
    unknown = [word.partition("=")[0] for word in rest if re.match(r"--?[A-Za-z]", word)]
    if unknown:
        _reject(unknown[0], _options(classes))
    words = [*rest, *arguments[end + 1 :]]
    values = vars(given) | dict(_positional(_options(classes), words))
    if words and more is None:
        raise InputError(f"unexpected argument {words[0]!r}")
    if more is not None:
        more += words
    for option in _options(classes):
        if option.required and option.name not in values:
            raise InputError(f"{_display(option)} is missing")
        if values.get(option.name) == []:
            raise InputError(f"missing value for argument '{_display(option)}'")
    return {option.name: _read(option, values[option.name]) for option in _options(classes) if option.name in values}


def _positional(options: Sequence[Option], words: list[str]) -> Iterator[tuple[str, Any]]:
    """Take from the words without a name what each option needs, in order; one takes all that the others leave."""
    options = [option for option in options if option.facts.positional]
    for index, option in enumerate(options):
        if not words:
            return
        count = max(1, len(words) - (len(options) - index - 1)) if option.several else 1
        taken, words[:count] = words[:count], []
        yield option.name, taken if option.several else taken[0]


def _add(parser: Any, option: Option) -> None:
    """Add an option whose value is read as words, so that nothing is wrong with it yet."""
    text = option.facts.help.replace("%", "%%") + _hint(option)
    if option.facts.positional:
        parser.add_argument(option.name, metavar=metavar(option, bare=True), nargs="?", help=text)
        return
    names = [name for name in (option.facts.short, _display(option)) if name]
    if option.facts.counted:
        parser.add_argument(*names, dest=option.name, action="count", help=text)
    elif option.kind is bool:
        value = not option.default
        names = names if value else ["--no-" + _display(option).removeprefix("--")]
        parser.add_argument(*names, dest=option.name, action="store_const", const=value, help=text)
    else:
        nargs = "*" if option.several else None
        parser.add_argument(*names, dest=option.name, metavar=metavar(option), nargs=nargs, help=text)


def _hint(option: Option) -> str:
    if option.required:
        return " (required)"
    if option.default is None or option.kind is bool or option.facts.counted:
        return ""
    shown = " ".join(map(str, option.default)) if option.several else str(option.default)
    return f" (default: {shown})" if shown else ""


def _display(option: Option) -> str:
    """Name the option as people do: `--max-pixels`, or `SOURCE` where it needs no name."""
    if option.facts.positional:
        return option.facts.metavar or option.name.upper()
    return "--" + option.name.replace("_", "-")


def metavar(option: Option, *, bare: bool = False) -> str:
    """Stand for the value of an option in its help."""
    if bare:
        name = _display(option)
    elif option.choices:
        name = "{" + ",".join(option.choices) + "}"
    else:
        name = option.facts.metavar or _METAVARS.get(option.kind) or option.kind.metavar
    return f"{name}..." if option.several else name


def _read(option: Option, value: Any) -> Any:
    """Read a word; one that makes no sense is left for `check` to complain about.

    Several values are several words, or, as a path may hold a comma but nothing else does, one word with commas.
    """
    if isinstance(value, list):
        paths = option.kind is Path or hasattr(option.kind, "path")
        words = value if paths else [part for word in value for part in word.split(",")]
        return tuple(_read(option, word) for word in words)
    if not isinstance(value, str) or not value or option.kind not in (int, float, Path):
        return value
    try:
        return option.kind(value)
    except ValueError:
        return value


def _reject(name: str, options: Sequence[Option]) -> NoReturn:
    close = get_close_matches(name, [_display(option) for option in options if not option.facts.positional], n=1)
    raise InputError(f"unknown option {name}" + (f"; did you mean {close[0]}?" if close and close[0] != name else ""))
