"""Sources of a run: pictures one by one, and for every one a folder inside of the output and a name of its own there.

Two sources of one name, such as a/x.png and b/x.jpg, would write to one file: the first in the order of their paths
keeps its name, and the other is called x-jpg, or x-b, whatever the order in which they were given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from sinwave.errors import InputError
from sinwave.option_kinds import Source

__all__ = ["Place", "Results", "named", "places"]


_FILMS = frozenset((".m4v", ".mkv", ".mov", ".mp4", ".webm"))


class Place(NamedTuple):
    """A source, and the folder inside of the output and the name of its results."""

    source: Source
    folder: Path
    name: str


class Results(NamedTuple):
    """The sources, and a sentence on results of earlier runs among them that are left out."""

    places: Sequence[Place]
    note: str | None = None


def places(source: Source, verb: str, output: Path) -> Results:
    """List the source, or those of a folder one by one, but for what `sinwave VERB` has written there."""
    from sinwave.tasks.base.collect import pictures_below

    folder = source.path
    if folder is None or not folder.is_dir():
        return Results([Place(source, Path(), source.name)])
    files, results = pictures_below(folder), output.resolve()
    if folder.resolve() in results.parents:  # what is written there is no source of the next run
        files = [file for file in files if results not in file.resolve().parents]
    sources = [file for file in files if not _is_written_by(verb, file)]
    listed = [Place(Source.accept(file), file.parent.relative_to(folder), file.stem) for file in sources]
    count = len(files) - len(listed)
    pictures = "1 picture is" if count == 1 else f"{count} pictures are"
    note = f"{folder}: {pictures} left out, results of sinwave {verb}; to use one, name its file"
    if count and not listed:
        raise InputError(note)
    notes = [note] if count else []
    films = sum(file.suffix.lower() in _FILMS for file in folder.rglob("*"))
    if films:
        notes.append(f"{folder}: {films} film{'s are' if films > 1 else ' is'} left out; to use one, name its file")
    return Results(listed, "; ".join(notes) or None)


def named(listed: Sequence[Place]) -> Sequence[Place]:
    """Give every file a name that no other one has in its folder; upper and lower case are the same to some systems."""
    files = {(place.folder, path.resolve()): path for place in listed if (path := place.source.path)}
    ordered = sorted(files, key=str)
    first = {(folder, files[folder, file].stem.casefold()): (folder, file) for folder, file in reversed(ordered)}
    keepers, taken, chosen = set(first.values()), set(first), dict[tuple[Path, Path], str]()
    for folder, file in ordered:
        names = _names(files[folder, file])
        name = next(name for name in names if (folder, file) in keepers or (folder, name.casefold()) not in taken)
        taken.add((folder, name.casefold()))
        chosen[folder, file] = name
    return [
        place._replace(name=chosen[place.folder, path.resolve()]) if (path := place.source.path) else place
        for place in listed
    ]


def _names(path: Path) -> Iterator[str]:
    """Give names that say more and more of where a file is."""
    stem, suffix, parent = path.stem, path.suffix[1:].lower(), path.resolve().parent.name
    yield from dict.fromkeys([stem, f"{stem}-{suffix}", f"{stem}-{parent}", f"{stem}-{parent}-{suffix}"])
    number = 2
    while True:
        yield f"{stem}-{number}"
        number += 1


def _is_written_by(verb: str, file: Path) -> bool:
    from sinwave.images import read_text

    try:
        text: Mapping[str, str] = read_text(file)
    except InputError:
        return False  # reading it will say what is wrong
    return text.get("sinwave:command", "").startswith(f"sinwave {verb} ")
