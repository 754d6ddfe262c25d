"""The models small of `sinwave upscale` and photo of `sinwave restore`, made again from nothing.

    python shipped_weights/small.py PHOTOGRAPHS WORK

PHOTOGRAPHS holds the nine files of `PHOTOGRAPHS` below, from the package lomiri-wallpapers 20.04.0 (CC BY 4.0 and
CC0 1.0; THIRD_PARTY.md names their authors). WORK becomes a folder with the training pictures and the run:

    photographs   reduced by 2 and by 3, so that nothing of their JPEG compression is left
    leaves        eight pictures of dead leaves
    pages         three pages of random words in the font that comes with Pillow (CC0)
    examples      nine pictures that come with scikit-image (CC0, or in the public domain), for the other trainings

A training that was interrupted goes on. small.jsonl, detail.jsonl and photo.jsonl, beside this file, are the logs of
those that made the shipped files. They differ from these lines in four ways. Leaves and pages were drawn by earlier
versions for the first and the second training, with other random numbers. In the first one a fifth of the steps had
factor 2 and a fifth factor 3. The second one had a constant rate for 8,000 of 20,000 steps, and its averaged weights
then began another, of 6,500 steps, whose rate fell from step 50 on. The first training of photo was one of 12,000
steps, ended at 2,500.
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import skimage.data
from PIL import Image, ImageDraw, ImageFont

from sinwave.data.dead_leaves import DeadLeaves
from sinwave.images import write
from sinwave.systems.files import read_model, write_model

PHOTOGRAPHS = {
    "aitzgorri_by_Aitzol_Berasategi.jpg": "66268e7b48f8854d36a28765fac6e23e",
    "friends_by_Aitzol_Berasategi.jpg": "cc40e313c74e421edffe3403def413c1",
    "life_by_Aitzol_Berasategi.jpg": "4c119350ead80201fe256850c3d31630",
    "picosdeeuropa_by_Aitzol_Berasategi.jpg": "414d0072b2f6f2c555deafeaef6e45c4",
    "Picture_0B_by_freespace.jpg": "c8c0ab18e48d9e0419fe42881112137f",
    "Picture_1A_by_freespace.jpg": "89e86af38d04daaef975665dc2127e9f",
    "seeding_by_Clements_Engelhardt.jpg": "a5634d1ab5e41a3568e92d4a894a500c",
    "sunset_by_Aitzol_Berasategi.jpg": "474dab6a4b9f94dc76c29dfe30e9f5db",
    "Wine_by_Jakkub_Mede.jpg": "d2e96e6d4da40dd804b3d0ce295e94de",
}
"""Names, and the first half of a SHA-256."""

EXAMPLES = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "hubble_deep_field", "rocket")
"""Names in skimage.data."""

STEPS = (10_000, 14_500, 6_000)
DETAIL_STEPS = (4_000, 200)
PHOTO_STEPS = (2_500, 5_500)
LETTERS = "eeeettaaooiinsshrdlucmfwypvbgkjqxzABCDEFGHIJKLMNOPRSTUVWZ0123456789"
SIDE = 1024


def photographs(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Reduce each photograph, if it is the right one."""
    for name, digest in PHOTOGRAPHS.items():
        data = (folder / name).read_bytes()
        if not hashlib.sha256(data).hexdigest().startswith(digest):
            raise SystemExit(f"{folder / name}: this is another file than the one that the model learned from")
        picture = Image.open(folder / name).convert("RGB")
        for factor in (2, 3):
            size = (picture.width // factor, picture.height // factor)
            if min(size) >= 400:
                box = (0, 0, factor * size[0], factor * size[1])
                yield f"{name.split('_by_')[0]}-{factor}", picture.resize(size, Image.Resampling.LANCZOS, box=box)


def page(number: int) -> Image.Image:
    """Print random words in sizes of 9 to 64 pixels, on a sheet that is turned a little."""
    draws, side = random.Random(number), 2 * SIDE
    paper, ink = (tuple(draws.randint(low, high) for _ in range(3)) for low, high in ((200, 255), (0, 70)))
    if draws.random() < 0.4:
        paper, ink = ink, paper
    sheet = Image.new("RGB", (side, side), paper)
    draw, top = ImageDraw.Draw(sheet), 20
    while top < side:
        size = 2 * draws.choice([9, 11, 13, 16, 20, 28, 40, 64])
        words = ("".join(draws.choice(LETTERS) for _ in range(draws.randint(2, 9))) for _ in range(60))
        line = " ".join(word + draws.choice(["", "", ",", ".", ":", "-"]) for word in words)
        color = ink if draws.random() < 0.7 else tuple(draws.randint(0, 255) for _ in range(3))
        draw.text((draws.randint(-50, 60), top), line, fill=color, font=ImageFont.load_default(size))
        top += int(size * draws.uniform(1.05, 1.6))
        if draws.random() < 0.2:
            draw.rectangle((0, top, side, top + draws.randint(1, 9)), fill=color)
            top += 20
    turned = sheet.rotate(draws.uniform(-8, 8) if number else 0, Image.Resampling.BICUBIC, fillcolor=paper)
    return turned.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def material(source: Path, folder: Path) -> None:
    """Write the training pictures, once."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in [*photographs(source), *((f"page-{number}", page(number)) for number in range(3))]:
        if not (folder / f"{name}.png").exists():
            picture.save(folder / f"{name}.png")
    for number in range(8):
        if not (folder / f"leaves-{number}.png").exists():
            write(folder / f"leaves-{number}.png", DeadLeaves(largest=0.25)(SIDE, 7, number, 0))


def examples(folder: Path) -> None:
    """Write the pictures of scikit-image beside the others, once."""
    for name in EXAMPLES:
        if not (folder / f"{name}.png").exists():
            Image.fromarray(getattr(skimage.data, name)()).convert("RGB").save(folder / f"{name}.png")


def train(pictures: Path, trained: Path, steps: int, *more: str) -> None:
    """Train for so many steps, or go on."""
    command = [sys.executable, "-m", "sinwave", "train", str(pictures), "-o", str(trained), *more]
    command += ["--system", "residual-sr", "--steps", str(steps), "--leaves", "0", "--precision", "bfloat16"]
    subprocess.run(command, check=True)


def main(source: Path, work: Path) -> None:
    """Make the material, train, and write the weights in half precision."""
    first, second, third = (work / f"{name}.safetensors" for name in ("first", "second", "third"))
    more, begun, repairing = work / "more", work / "begun.safetensors", work / "repairing.safetensors"
    material(source, work / "pictures")
    train(work / "pictures", first, STEPS[0], "--soft", "0")
    shutil.copytree(work / "pictures", more, dirs_exist_ok=True)
    examples(more)
    train(more, second, STEPS[1], "--soft", "0", "--start", str(first))
    train(more, third, STEPS[2], "--rate", "1e-3", "--seed", "3", "--start", str(second))
    halved(third, work / "third-half.safetensors")
    halved(drawing(more, work), work / "small.safetensors")
    layout = ["--condition", "photo", "--width", "48", "--blocks", "7"]
    train(more, begun, PHOTO_STEPS[0], "--seed", "1", *layout)
    train(more, repairing, PHOTO_STEPS[1], "--seed", "2", "--start", str(begun), *layout)
    halved(repairing, work / "photo.safetensors")


def drawing(more: Path, work: Path) -> Path:
    """Train the network that draws detail, and return the file."""
    shutil.copytree(more, work / "sharp", dirs_exist_ok=True)
    for picture in [*(work / "sharp").glob("leaves-*"), work / "sharp" / "hubble_deep_field.png"]:
        picture.unlink(missing_ok=True)
    teacher, student = work / "teacher.safetensors", work / "student.safetensors"
    layout = ["--stage", "teacher", "--width", "32", "--blocks", "9"]
    small = ["--crop", "32", "--seed", "1", "--start"]
    train(work / "sharp", teacher, DETAIL_STEPS[0], *layout, *small, str(work / "third-half.safetensors"))
    train(work / "sharp", student, DETAIL_STEPS[1], "--stage", "student", *small, str(teacher))
    return student


def halved(trained: Path, file: Path) -> None:
    """Write a model with weights of 16 bits."""
    model = read_model(trained)
    half = {name: weight.half() for name, weight in model.weights.items()}
    write_model(file, dataclasses.replace(model, weights=half), overwrite=True)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
