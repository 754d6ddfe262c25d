"""Published networks as models of this system: by name, or by a file that is recognized by its keys."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn, final

from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.systems.contracts import Ability, Computing, Loaded, Size
from sinwave.systems.residual_sr import checkpoints
from sinwave.systems.residual_sr.published import RELEASES, Published, Release
from sinwave.systems.residual_sr.unet import X4
from sinwave.systems.tiled import SIDE, Tiled

__all__ = ["Foreign", "from_release", "from_weights"]

_BY_STEPS = {1: "sinsr-v2", 4: "resshift-v3", 15: "resshift-v2"}


@final
@dataclass(frozen=True, eq=False)
class Foreign:
    """A published network, loaded."""

    model: Published
    repairs: bool = True
    tile: int = SIDE
    engines: ClassVar[tuple[str, ...]] = ("network",)
    size: ClassVar[None] = None
    pictures: ClassVar[tuple[Picture, ...]] = ()

    @property
    def abilities(self) -> frozenset[Ability]:
        return frozenset({"upscale", "restore"} if self.repairs else {"upscale"})

    def build(self, engine: str, computing: Computing) -> Tiled:
        device, dtype = computing.device, computing.dtype
        unet = copy.deepcopy(self.model.unet).to(device, dtype)
        codes = copy.deepcopy(self.model.autoencoder).to(device, dtype)
        return Tiled(replace(self.model, unet=unet, autoencoder=codes), self.tile)

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a network that enlarges cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: weights, features of a tile, and some copies of the large picture."""
        tile = math.prod(min(side, self.model.factor * self.tile) for side in size)
        return 1.5e9 + 3000 * tile + 60 * size[0] * size[1]

    def tiled(self, side: int) -> Foreign:
        return replace(self, tile=side)

    def working_size(self, small: Size, size: Size) -> Size:
        return self.model.factor * small[0], self.model.factor * small[1]


def from_release(name: str) -> Foreign:
    """Load a release by its name, from where weights are looked for; `InputError` names a file that is missing."""
    return _of(RELEASES[name], None)


def from_weights(path: Path, steps: int | None) -> Foreign:
    """Load the file of a U-Net, beside which, or among other weights, the file of its autoencoder is."""
    if steps not in (None, *_BY_STEPS):
        raise InputError(f"steps must be 1, 4 or 15, not {steps}")
    content = checkpoints.recognize(checkpoints.shapes(path))
    if content.layout != X4:
        raise InputError(f"{path} holds {content.name}, which upscale has no use for")
    return _of(_release(path, steps), path)


def _of(release: Release, path: Path | None) -> Foreign:
    """Load a release; one of them has learned from reduced pictures, and all others from damaged ones."""
    return Foreign(Published.load(release, path), release is not RELEASES["resshift-bicubic"])


def _release(path: Path, steps: int | None) -> Release:
    """Tell by its name which U-Net it is, since they have the same keys; or by the number of steps."""
    for release in RELEASES.values():
        if release.weights.file == path.name and steps is None:
            return release
    if steps is None:
        names = ", ".join(release.weights.file for release in RELEASES.values())
        raise InputError(
            f"{path} holds {checkpoints.recognize(checkpoints.shapes(path)).name}, and its name does not say which "
            f"({names}): --steps 1 takes it for SinSR, 4 for ResShift v3, 15 for ResShift v1 or v2"
        )
    return RELEASES[_BY_STEPS[steps]]
