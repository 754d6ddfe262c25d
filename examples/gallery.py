"""Thirteen commands, on photographs that ship with scikit-image.

    python examples/gallery.py gallery

Inputs are written to gallery/inputs and results to gallery/NAME, with a sheet of source, inputs and results. The
commands are printed, so that you can try them on your own pictures.
"""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from skimage import data

from sinwave.cli import main as sinwave

LONG_SIDE = 250

COMMANDS: Mapping[str, str] = {
    "harmonize": "harmonize immunohistochemistry.png --object cat.png --at 125+130 --strength 0.2",
    "edit": "edit chelsea.png third-eye.png --mask forehead.png",
    "paint": "paint rocket.png launch-drawing.png",
    "inpaint": "inpaint rocket.png mast.png",
    "extend": "extend coffee.png --left 60 --right 60",
    "retarget": "retarget rocket.png --size 400x167",
    "tile": "tile gravel.png",
    "place": "place hubble_deep_field.png --region 60x50+105+85 --at 10+20 170+110",
    "restyle": "restyle immunohistochemistry.png chelsea.png",
    "upscale": "upscale chelsea.png --factor 3",
    "upscale by patches": "upscale chelsea.png --factor 3 --model patches",
    "restore": "restore compressed.png",
    "animate": "animate gravel.png --strength 0.6 --amount 0.3",
    "blend": "blend grass.png gravel.png -n 2",
}


def photograph(name: str) -> Image.Image:
    """Load a photograph of scikit-image with a long side of 250 pixels."""
    picture = Image.fromarray(np.asarray(getattr(data, name)())).convert("RGB")
    scale = LONG_SIDE / max(picture.size)
    return picture.resize((round(scale * picture.width), round(scale * picture.height)), Image.Resampling.LANCZOS)


def drawn(size: tuple[int, int], shape: str, *boxes: Sequence[float]) -> Image.Image:
    """Draw a mask with white shapes; boxes are in parts of width and height."""
    mask = Image.new("L", size, 0)
    for box in boxes:
        place = [round(part * size[index % 2]) for index, part in enumerate(box)]
        getattr(ImageDraw.Draw(mask), shape)(place, fill=255)
    return mask


def cat() -> Image.Image:
    """Cut out the head of a cat."""
    picture = photograph("chelsea").crop((55, 5, 215, 160))
    picture.putalpha(drawn(picture.size, "ellipse", (0.02, 0.02, 0.98, 0.98)))
    return picture.resize((110, 106), Image.Resampling.LANCZOS)


def third_eye(chelsea: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Copy the left eye of the cat to its forehead, and return the mask of the copy too."""
    box = (112, 2, 154, 42)
    copied, mask = chelsea.copy(), Image.new("L", chelsea.size, 0)
    copied.paste(chelsea.crop((70, 40, 112, 80)), box)
    mask.paste(255, box)
    return copied, mask


def launch(size: tuple[int, int]) -> Image.Image:
    """Draw a sky, a ground, a rocket and its fire in four flat colors."""
    picture = Image.new("RGB", size, (60, 80, 120))
    width, height = size
    draw = ImageDraw.Draw(picture)
    draw.rectangle((0, round(0.8 * height), width, height), fill=(30, 28, 30))
    draw.rectangle([round(0.28 * width), round(0.2 * height), round(0.36 * width), round(0.72 * height)], fill="white")
    draw.ellipse([round(0.2 * width), round(0.66 * height), round(0.44 * width), round(0.86 * height)], fill="orange")
    return picture


def compressed(picture: Image.Image) -> Image.Image:
    """Save a picture as a JPEG of low quality, and read it again."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=20)
    return Image.open(file)


def make_inputs(folder: Path) -> None:
    """Write the files that the commands name."""
    folder.mkdir(parents=True, exist_ok=True)
    names = ("grass", "gravel", "rocket", "coffee", "chelsea", "hubble_deep_field", "immunohistochemistry")
    pictures = {name: photograph(name) for name in names}
    pictures["third-eye"], pictures["forehead"] = third_eye(pictures["chelsea"])
    pictures["cat"], pictures["launch-drawing"] = cat(), launch(pictures["rocket"].size)
    pictures["mast"] = drawn(pictures["rocket"].size, "rectangle", (0.67, 0.25, 0.76, 0.85))
    pictures["compressed"] = compressed(pictures["coffee"])
    for name, picture in pictures.items():
        picture.save(folder / f"{name}.png")


def main(arguments: Sequence[str]) -> int:
    """Run the commands, all or the ones after --only."""
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
