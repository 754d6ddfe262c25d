"""The pictures of folders, as metrics see them; what cannot be used is named in a sentence and left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from sinwave.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Collection", "OnRead", "collect", "picture_files"]

OnRead: TypeAlias = Callable[[Path], None]

SUFFIXES = frozenset((".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"))


@dataclass
class Collection:
    """Pictures (3, h, w) uint8 by the names of their files without suffix, and what is to be said of them."""

    pictures: dict[str, Tensor] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def add(self, file: Path, max_pixels: int) -> None:
        """Read a file, or say why that is impossible."""
        from sinwave.images import read, to_uint8

        try:
            picture = read(file, max_pixels=max_pixels, min_side=1)
        except InputError as error:
            self.remarks.append(str(error))
            return
        if picture.name in self.pictures:
            self.remarks.append(f"{file}: there is another file of the name {picture.name}, which was taken")
            return
        if picture.opaque is not None:
            self.remarks.append(f"{file}: what is transparent is measured as the mean color of the rest")
        self.pictures[picture.name] = to_uint8(picture.pixels)


def collect(
    places: Iterable[Path], max_pixels: int, *, besides: Path | None = None, on_read: OnRead = lambda file: None
) -> Collection:
    """The pictures of folders and files, apart from `besides` and from contact sheets that sinwave wrote."""
    found = Collection()
    for file in picture_files(places):
        on_read(file)
        if besides is not None and file.resolve() == besides.resolve():
            found.remarks.append(f"{file}: this is the source and no sample, so it is left out")
        elif _is_sheet(file):
            found.remarks.append(f"{file}: this is a contact sheet and no sample, so it is left out")
        else:
            found.add(file, max_pixels)
    return found


def picture_files(places: Iterable[Path]) -> Sequence[Path]:
    """The files named, and those of the folders named whose suffix is that of a picture, in order of their names."""
    files: list[Path] = []
    for place in places:
        if not place.is_dir():
            files.append(place)
            continue
        try:
            inside = sorted(file for file in place.iterdir() if file.suffix.lower() in SUFFIXES)
        except OSError as error:
            raise InputError(f"{place}: the folder cannot be read ({error.strerror or error})") from error
        if not inside:
            raise InputError(f"{place}: there is no picture in this folder")
        files += (file for file in inside if not file.name.startswith("."))
    return files


def _is_sheet(file: Path) -> bool:
    from sinwave.images import read_text

    try:
        text: Mapping[str, str] = read_text(file)
    except InputError:
        return False  # reading it will say what is wrong
    return text.get("sinwave:picture") == "sheet"
