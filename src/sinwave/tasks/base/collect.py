"""The pictures of folders, as metrics see them; what cannot be used is named in a sentence and left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sinwave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave.images import Picture

__all__ = ["Collection", "collect", "distinct", "notes", "picture_files", "pictures_below"]

SUFFIXES = frozenset((".bmp", ".dib", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
SUFFIXES |= {".pbm", ".pgm", ".pnm", ".ppm"}
"""Suffixes of the files that `read` opens."""


@dataclass
class Collection:
    """Pictures (3, h, w) uint8 by name, and remarks for the user."""

    pictures: dict[str, Tensor] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, file: Path, max_pixels: int, *, paired: bool = False) -> None:
        """Read a file, or say why that is impossible.

        Its name is that of the file without suffix. If it is taken, a picture to be `paired` by its name is left out,
        and any other is called by as much of its path as it takes.
        """
        from sinwave.images import read, to_uint8

        try:
            picture = read(file, max_pixels=max_pixels, min_side=1)
        except InputError as error:
            self.remarks.append(str(error))
            return
        self.remarks += notes(file, picture)
        if paired and file.stem in self.pictures:
            self.remarks.append(f"{file}: there is another file of the name {file.stem}, which was taken")
        else:
            self.pictures[distinct(file, file.stem, self.pictures)] = to_uint8(picture.pixels)


def collect(
    places: Iterable[Path], max_pixels: int, *, besides: Path | None = None, paired: bool = False
) -> Collection:
    """The pictures of folders and files, apart from `besides` and from contact sheets that sinwave wrote."""
    places = list(places)
    collection, files = Collection(), set[Path]()
    for file in picture_files(places):
        if file.resolve() in files:
            collection.remarks.append(f"{file}: this file was named twice and is taken once")
            continue
        files.add(file.resolve())
        if besides is not None and file.resolve() == besides.resolve():
            collection.remarks.append(f"{file}: this is the source and no sample, so it is left out")
        elif _is_sheet(file):
            collection.remarks.append(f"{file}: this is a contact sheet and no sample, so it is left out")
        else:
            collection.add(file, max_pixels, paired=paired)
    collection.remarks += [remark for place in places if (remark := _not_looked_at(place))]
    return collection


def picture_files(places: Iterable[Path]) -> Sequence[Path]:
    """The files named, and those of the folders named whose suffix is that of a picture, in order of their names."""
    files: list[Path] = []
    for place in places:
        if not place.is_dir():
            files.append(place)
            continue
        inside = [file for file in _inside(place) if _is_picture(file)]
        if not inside:
            raise InputError(f"{place}: there is no picture in this folder")
        files += inside
    return files


def pictures_below(folder: Path) -> Sequence[Path]:
    """The pictures in a folder and in those inside of it, in order of their names, without sheets of sinwave."""
    files = sorted(file for file in folder.rglob("*") if _is_picture(file) and not _is_sheet(file))
    if not files:
        raise InputError(f"{folder}: there is no picture in this folder")
    return files


def distinct(path: Path, name: str, taken: Iterable[str]) -> str:
    """`name`, or if it is taken, more and more of the absolute path, or a number in the end."""
    taken, parts = set(taken), path.absolute().parts
    names = [name, path.name, *("/".join(parts[-length:]) for length in range(2, len(parts)))]
    numbered = (f"{name} ({count})" for count in range(2, len(taken) + 3))
    return next(candidate for candidate in (*names, *numbered) if candidate not in taken)


def notes(file: Path, picture: Picture) -> list[str]:
    """Say what of a picture is not measured as it is in its file."""
    sentences = list(picture.notes)
    if picture.opaque is not None:
        # The last note of `read` is on transparency, and says what a generator does with it.
        share = 1 - picture.opaque.double().mean().item()
        sentences[-1] = f"{share:.0%} of the picture is transparent and is measured as the mean color of the rest"
    return [f"{file}: {note}" for note in sentences]


def _inside(folder: Path) -> list[Path]:
    try:
        return sorted(file for file in folder.iterdir() if not file.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: the folder cannot be read ({error.strerror or error})") from error


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.is_dir()


def _not_looked_at(place: Path) -> str | None:
    """A remark on what a folder holds besides pictures, folders inside it included."""
    if not place.is_dir():
        return None
    kinds = Counter(file.suffix or "folders" for file in _inside(place) if not _is_picture(file))
    listed = ", ".join(kind for kind, _ in kinds.most_common(5))
    return f"{place}: {kinds.total()} other files or folders were not looked at ({listed})" if kinds else None


def _is_sheet(file: Path) -> bool:
    from sinwave.images import read_text

    try:
        text: Mapping[str, str] = read_text(file)
    except InputError:
        return False  # reading it will say what is wrong
    return text.get("sinwave:picture") == "sheet"
