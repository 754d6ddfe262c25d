"""Write docs/cli.md and docs/python-api.md from the code: `python docs/generate.py`; `--check` only compares."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import sinwave
from sinwave.cli import COMMANDS
from sinwave.cli.info import Info
from sinwave.cli.parse import metavar, own_first
from sinwave.cli.show import Showing
from sinwave.metrics.cards import CARDS
from sinwave.options import Option
from sinwave.python.frames import Frames
from sinwave.python.keywords import Common, Drawn, Enlarged, Keeping, Watched
from sinwave.python.photo import Photo
from sinwave.python.super_resolver import SuperResolver
from sinwave.systems.table import SYSTEMS
from sinwave.tasks import DRAWING, task_of
from sinwave.tasks.adapt import SYSTEM, Adapt, choices
from sinwave.tasks.base.enlarging import Enlarging
from sinwave.tasks.base.machine import Hardware, Machine
from sinwave.tasks.base.run import Output
from sinwave.tasks.base.task import EditTask, EngineTask, KeepingTask, Task
from sinwave.tasks.demo import Demo
from sinwave.tasks.evaluate import Evaluate, Measuring
from sinwave.tasks.export import Export
from sinwave.tasks.report import Report
from sinwave.tasks.train import RunOptions, TrainOptions

HERE = Path(__file__).parent
_OTHERS: dict[str, type[Any]] = {
    "evaluate": Evaluate,
    "report": Report,
    "demo": Demo,
    "export": Export,
    "info": Info,
    "train": TrainOptions,
    "adapt": Adapt,
}
_SHARED: dict[str, list[type[Any]]] = {
    "Every command": [Showing],
    "Generate, animate, upscale, restore, edits, train, adapt": [Machine],
    "Train and adapt": [RunOptions],
    "Generate, animate, upscale, restore, edits": [Output, Hardware, Task],
    "Generate, animate, edits": [EngineTask],
    "Animate, edits": [EditTask],
    "Animate, edits (not blend, place, retarget, tile)": [KeepingTask],
    "Upscale and restore": [Enlarging],
    "Evaluate and report": [Measuring],
}


def cli() -> str:
    """Describe every command; options that many share stand once, at the end."""
    lines = ["# The command line", "", "Options that several commands share follow [at the end](#every-command).", ""]
    shared = {(option.name, option.facts) for classes in _SHARED.values() for option in own_first(classes)}
    for name, command in COMMANDS.items():
        cls = task_of(name) if name in DRAWING else _OTHERS[name]
        classes = [cls, choices()] if cls is Adapt else [cls]
        words = [metavar(option, bare=True) for option in own_first([cls]) if option.facts.positional]
        lines += [f"## {name}", "", f"`{' '.join(['sinwave', name, *words])}`: {command.summary}.", ""]
        lines += [*_list(o for o in own_first(classes) if (o.name, o.facts) not in shared), ""]
    for name in (name for name, system in SYSTEMS.items() if system.options and name != SYSTEM):
        lines += [f"## train --system {name}", "", *_list(own_first([SYSTEMS[name].door("options")])), ""]
    used = {(o.name, o.facts) for cls in (*map(task_of, DRAWING), *_OTHERS.values(), Showing) for o in own_first([cls])}
    used |= {(o.name, o.facts) for cls in (Machine, Output, Hardware) for o in own_first([cls])}
    seen: set[tuple[str, Any]] = set()
    for title, classes in _SHARED.items():
        options = [o for o in own_first(classes) if o.name != "source" and (o.name, o.facts) in used - seen]
        seen |= {(option.name, option.facts) for option in options}
        lines += [f"## {title}", "", *_list(options), ""]
    return "\n".join(lines).rstrip() + "\n"


def _list(options: Any) -> Iterator[str]:
    for option in options:
        text = f"- `{_name(option)}`: {option.facts.help}".replace(f": {', '.join(CARDS)}", " ([Metrics](metrics.md))")
        plain = option.required or option.facts.counted or option.default is False
        default = None if plain or option.default == () else option.default
        yield text if default is None or "(default:" in text else f"{text} (default: {default})"


def _name(option: Option) -> str:
    if option.facts.positional:
        return metavar(option, bare=True)
    name = f"--{option.name.replace('_', '-')}"
    if option.kind is not bool and not option.facts.counted:
        name += " " + metavar(option).strip("{}").replace(",", "|")
    return f"{option.facts.short}, {name}" if option.facts.short else name


def python_api() -> str:
    """List the public face: signatures and first sentences."""
    lines = [
        "# Python",
        "",
        "Functions, classes and errors of `import sinwave`. `PathType`: text or a path; `PictureLike`: a path, bytes, "
        "a Pillow picture, an array or a `Photo`; `SizeLike`: `(height, width)` or text. For a `Region` or `Place`, "
        "give the command line's text. `on_event` gets sentences, such as warnings.",
        "",
    ]
    for name in sinwave.__all__:
        value = getattr(sinwave, name)
        if inspect.isfunction(value):
            lines += [f"## sinwave.{name}", "", *_signature(f"sinwave.{name}", value), _sentence(value), ""]
        elif inspect.isclass(value) and issubclass(value, Exception):
            lines += [f"`sinwave.{name}`", _sentence(value), ""]
    for cls in (Photo, Frames, SuperResolver):
        lines += [f"## {cls.__name__}", "", _paragraph(cls), ""]
        for name, member in vars(cls).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            shown = [f"`{name}`"] if isinstance(member, property) else _signature(name, function)
            lines += [*shown, _sentence(function), ""]
    for options in (Watched, Drawn, Common, Keeping, Enlarged):
        lines += [f"## Options: {options.__name__}", "", "```text", inspect.getdoc(options) or "", "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def _signature(name: str, function: Any) -> list[str]:
    text = str(inspect.signature(function)).replace("(self, ", "(").replace("(self)", "()").replace("(cls, ", "(")
    text = re.sub(r"""(: |-> )(['"])(.*?)\2(?=[,) ]|$)""", r"\1\3", text)
    text = re.sub(r"\*\*\w+: Unpack\[(\w+)\]", r"**options: \1", text)
    text = re.sub(r"(\w+): (?:int|float|str|bool) = ", r"\1=", text)  # the default says it
    text = text.replace("str | PathLike[str]", "PathType")
    text = re.sub(r"<function (silent|<lambda>)[^>]*>", "silent", text)
    return [f"    {name}{text}", ""]


def _sentence(value: Any) -> str:
    return (inspect.getdoc(value) or "").partition("\n")[0]


def _paragraph(value: Any) -> str:
    return (inspect.getdoc(value) or "").strip()


def main(arguments: Sequence[str]) -> int:
    """Write the files, or compare them with what would be written."""
    stale = []
    for file, text in ((HERE / "cli.md", cli()), (HERE / "python-api.md", python_api())):
        if arguments == ["--check"]:
            if not file.exists() or file.read_text("utf-8") != text:
                stale.append(file.name)
        else:
            file.write_text(text, "utf-8")
    if stale:
        print(f"{', '.join(stale)}: not as the code says; run python docs/generate.py")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
