"""New pictures from one picture, learned in the wavelet domain.

    sinwave.open("photo.jpg").extend(left=64).upscale(2).save("wide.png")

Importing the package is instant and leaves the environment alone: torch and everything that needs it live in the
submodules, which load when they are imported by name, or when a picture is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from sinwave.tasks.chain import Photo

__all__ = ["__version__", "open"]

__version__ = "0.1.0"


def open(path: str | PathLike[str], *, engine: str = "auto", seed: int = 0, device: str = "auto") -> Photo:
    """A picture, or a model file of `sinwave train`, to be edited: see `sinwave.tasks.chain`."""
    from sinwave.tasks.chain import open_photo

    return open_photo(path, engine=engine, seed=seed, device=device)
