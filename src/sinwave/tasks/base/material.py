"""Material to measure: pictures from folders, beside those that they are judged by.

A remark names what cannot be used and is left out. Nothing is resized, apart from the low-resolution
pictures that become the method "bicubic".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from sinwave.errors import InputError
from sinwave.images import read, to_uint8
from sinwave.metrics.evaluate import Method
from sinwave.resize import resize
from sinwave.tasks.base.collect import Collection, collect, distinct, notes

__all__ = ["BICUBIC", "Material", "restored", "samples_of", "sets"]

BICUBIC = "bicubic"


@dataclass(frozen=True, eq=False)
class Material:
    """The methods and their pictures, what whole sets are compared with, and remarks."""

    methods: tuple[Method, ...]
    references: Mapping[str, Tensor]
    remarks: tuple[str, ...]


def samples_of(source: Path, places: Sequence[Path], max_pixels: int, *, method: str = "samples") -> Material:
    """Samples beside the picture that they were made from."""
    picture = read(source, max_pixels=max_pixels)
    reference = to_uint8(picture.pixels)
    samples = _not_empty(collect(places, max_pixels, besides=source), places)
    pictures = {name: (sample, reference) for name, sample in samples.pictures.items()}
    remarks = (*notes(source, picture), *samples.remarks)
    return Material((Method(method, pictures),), {source.name: reference}, remarks)


def sets(fake: Path, real: Path, max_pixels: int) -> Material:
    """A set of generated pictures beside a set of real ones."""
    generated, references = (_not_empty(collect([place], max_pixels), [place]) for place in (fake, real))
    pictures = {name: (picture,) for name, picture in generated.pictures.items()}
    method = Method(fake.resolve().name or "generated", pictures)
    return Material((method,), references.pictures, (*generated.remarks, *references.remarks))


def restored(places: Sequence[Path], max_pixels: int) -> Material:
    """Restored pictures beside the true and the low-resolution ones; bicubic resampling is always one method."""
    low, true, *collections = (_not_empty(collect([place], max_pixels, paired=True), [place]) for place in places)
    remarks = [*low.remarks, *true.remarks, *_unpaired(low.pictures, true.pictures, places[0], places[1])]
    for name in sorted(set(low.pictures) & set(true.pictures)):
        if not _alike(low.pictures[name], true.pictures[name]):
            remarks.append(f"{places[0] / name}: it has other proportions than the true picture")
            del low.pictures[name], true.pictures[name]
    names = sorted(set(low.pictures) & set(true.pictures))
    if not names:
        raise InputError(f"no file in {places[0]} goes with one in {places[1]}: there is nothing to compare")
    bicubic = {name: _bicubic(low.pictures[name], true.pictures[name]) for name in names}
    methods = [Method(BICUBIC, bicubic)]
    for place, collection in zip(places[2:], collections, strict=True):
        remarks += collection.remarks
        pictures, left_out = _beside(collection.pictures, true.pictures, low.pictures, place)
        remarks += left_out
        if pictures:
            name = distinct(place.resolve(), place.resolve().name, [method.name for method in methods])
            methods.append(Method(name, pictures))
    if len(methods) == 1:
        raise InputError("no restored picture has the name and the size of a true one: there is nothing to measure")
    return Material(tuple(methods), {name: true.pictures[name] for name in names}, tuple(remarks))


def _not_empty(collection: Collection, places: Sequence[Path]) -> Collection:
    """Refuse a collection without pictures for the first of its reasons."""
    if not collection.pictures:
        first, *more = collection.remarks or [f"{', '.join(map(str, places))}: there is no picture to measure"]
        raise InputError(f"{first} (and {len(more)} more)" if more else first)
    return collection


def _unpaired(a: Mapping[str, Tensor], b: Mapping[str, Tensor], place_a: Path, place_b: Path) -> list[str]:
    missing = [f"{place_a / name}: {place_b} has no picture of that name" for name in sorted(set(a) - set(b))]
    return missing + [f"{place_b / name}: {place_a} has no picture of that name" for name in sorted(set(b) - set(a))]


def _beside(
    restored: Mapping[str, Tensor], true: Mapping[str, Tensor], low: Mapping[str, Tensor], place: Path
) -> tuple[Mapping[str, tuple[Tensor, ...]], list[str]]:
    """The restored pictures with their true and low ones, and why others have none."""
    paired = set(true) & set(low)
    remarks = [f"{place / name}: there is no pair of pictures of that name" for name in sorted(set(restored) - paired)]
    remarks += [f"{place / name}: this restored picture is missing" for name in sorted(paired - set(restored))]
    pictures = {}
    for name in sorted(set(restored) & paired):
        ours, theirs = (f"{picture.shape[2]} x {picture.shape[1]}" for picture in (restored[name], true[name]))
        if ours == theirs:
            pictures[name] = restored[name], true[name], low[name]
        else:
            remarks.append(f"{place / name}: its size is {ours}, that of the true picture {theirs}")
    return pictures, remarks


def _bicubic(low: Tensor, true: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    size = (true.shape[1], true.shape[2])
    return resize(low[None].double(), size)[0].round().clamp(0, 255).byte(), true, low


def _alike(low: Tensor, true: Tensor) -> bool:
    """Whether two pictures have the same proportions, but for less than a pixel of the smaller one."""
    (low_height, low_width), (height, width) = low.shape[1:], true.shape[1:]
    return abs(height * low_width - width * low_height) < max(height, width)
