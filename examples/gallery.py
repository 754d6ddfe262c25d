"""All twelve edits, each by its command, on photographs that ship inside scikit-image.

    python examples/gallery.py gallery

Inputs are made in gallery/inputs, results stand in gallery/NAME, each with a sheet of its source, its inputs and its
results. The commands are printed, to be tried on other pictures.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage import data

from sinwave.cli.main import main as sinwave

LONG_SIDE = 250

COMMANDS: Mapping[str, str] = {
    "harmonize": "harmonize grass.png --object cat.png --at 125+130 --strength 0.3",
    "edit": "edit rocket.png two-rockets.png --mask second-rocket.png",
    "paint": "paint rocket.png launch-drawing.png",
    "inpaint": "inpaint coffee.png spoon.png",
    "extend": "extend coffee.png --left 60 --right 60",
    "retarget": "retarget rocket.png --size 250x125",
    "tile": "tile gravel.png",
    "place": "place hubble_deep_field.png --region 60x50+105+85 --at 10+20 170+110",
    "restyle": "restyle immunohistochemistry.png chelsea.png",
    "upscale": "upscale chelsea.png --factor 3",
    "upscale by a network": "upscale chelsea.png --factor 3 --engine network",
    "animate": "animate gravel.png --strength 0.6 --amount 0.3",
    "blend": "blend grass.png gravel.png -n 2",
}


def photograph(name: str) -> Image.Image:
    """One of scikit-image's, with a long side of 250 pixels."""
    picture = Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")
    scale = LONG_SIDE / max(picture.size)
    return picture.resize((round(scale * picture.width), round(scale * picture.height)), Image.Resampling.LANCZOS)


def drawn(size: tuple[int, int], shape: str, *boxes: Sequence[float]) -> Image.Image:
    """A mask, white where the shapes are; boxes are in parts of width and height."""
    mask = Image.new("L", size, 0)
    for box in boxes:
        place = [round(part * size[index % 2]) for index, part in enumerate(box)]
        getattr(ImageDraw.Draw(mask), shape)(place, fill=255)
    return mask


def cat() -> Image.Image:
    """The head of a cat, cut out."""
    picture = photograph("chelsea").crop((55, 5, 215, 160))
    picture.putalpha(drawn(picture.size, "ellipse", (0.02, 0.02, 0.98, 0.98)))
    return picture.resize((110, 106), Image.Resampling.LANCZOS)


def two_rockets(rocket: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The rocket once more, beside itself, and where that is."""
    width, height = rocket.size
    piece = rocket.crop((round(0.4 * width), round(0.12 * height), round(0.62 * width), round(0.85 * height)))
    copied, place = rocket.copy(), (round(0.7 * width), round(0.12 * height))
    copied.paste(piece, place)
    mask = Image.new("L", rocket.size, 0)
    mask.paste(255, (*place, place[0] + piece.width, place[1] + piece.height))
    return copied, mask


def launch(size: tuple[int, int]) -> Image.Image:
    """A sky, a ground, a rocket and its fire, in four flat colors."""
    picture = Image.new("RGB", size, (60, 80, 120))
    width, height = size
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, round(0.8 * height), width, height), fill=(30, 28, 30))
    draw.rectangle([round(0.28 * width), round(0.2 * height), round(0.36 * width), round(0.72 * height)], fill="white")
    draw.ellipse([round(0.2 * width), round(0.66 * height), round(0.44 * width), round(0.86 * height)], fill="orange")
    return picture


def make_inputs(folder: Path) -> None:
    """All files that the commands name."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("grass", "gravel", "rocket", "coffee", "chelsea", "hubble_deep_field", "immunohistochemistry")
    pictures: dict[str, Image.Image | npt.NDArray[np.uint8]] = {name: photograph(name) for name in names}
    rocket, coffee = photograph("rocket"), photograph("coffee")
    pictures |= dict(zip(("two-rockets", "second-rocket"), two_rockets(rocket), strict=True))
    pictures |= {"cat": cat(), "launch-drawing": launch(rocket.size)}
    pictures["spoon"] = drawn(
        coffee.size, "polygon", (0.53, 0.62, 0.66, 0.2, 0.74, 0.24, 0.72, 0.7, 0.62, 0.9, 0.52, 0.85)
    )
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")


def main(arguments: Sequence[str]) -> int:
    """Run the commands, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("gallery"), help="where to; gallery")
    parser.add_argument("--only", nargs="+", choices=COMMANDS, metavar="NAME", help=", ".join(COMMANDS))
    options = parser.parse_args(arguments)
    make_inputs(options.folder / "inputs")
    os.chdir(options.folder / "inputs")
    worst = 0
    for name in options.only or COMMANDS:
        line, start = f"{COMMANDS[name]} -o {shlex.quote('../' + name)} --overwrite", time.perf_counter()
        print(f"sinwave {line}", flush=True)
        worst = max(worst, sinwave([*shlex.split(line), "--quiet"]))
        print(f"{time.perf_counter() - start:.1f} s\n", flush=True)
    return worst


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
