"""The ground of upscale and restore: a picture that is enlarged, or drawn better, by a model."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sinwave.errors import InputError
from sinwave.option_kinds import Size, Source
from sinwave.options import option
from sinwave.systems import table
from sinwave.systems.contracts import (
    Colors,
    Loaded,
    LoadedByTiles,
    LoadedOnBase,
    OnStep,
    PictureConstraint,
    Redrawer,
    SuperResolver,
)
from sinwave.tasks.base.task import Drawing, Inputs, Opened, Task

if TYPE_CHECKING:
    from torch import Tensor

    from sinwave import images
    from sinwave.resize import Kind
    from sinwave.rng import Noise

__all__ = ["Enlarging"]

_LARGEST = 16
_BLEED = 8.0
"""The largest blur, in pixels, by which colors are continued: models look about as far."""

_STRENGTH = 0.05
"""The noise that patches begin with: little, since the small picture says most."""

_FINE = 1e-4
"""What the result of a 16-bit picture may miss: a hundredth of a gray level of 8 bits."""

_DOUBT = 4
"""Gray levels of the map for a gray level of doubt."""


@dataclass(frozen=True, kw_only=True)
class Enlarging(Task):
    """A task whose result is SOURCE, larger or better."""

    quick: ClassVar[bool] = True
    overview: ClassVar[bool] = False
    same: ClassVar[bool] = True
    aside: ClassVar[tuple[str, ...]] = ("map", "report")

    default_factor: ClassVar[float]
    default_model: ClassVar[str]
    untrained: ClassVar[Mapping[str, str]] = {}
    """Systems that learn from SOURCE alone, by the names of their models."""
    repairs: ClassVar[bool] = False
    """Whether a picture of the same size is another one."""

    source: Source = option(help="a picture, or a folder of pictures", positional=True)
    factor: float | None = option(None, "how many times larger each side becomes", low=1, high=_LARGEST)
    size: Size | None = option(None, "the size of the result in pixels, instead of a factor")
    longest: int | None = option(
        None, "the longer side of the result in pixels, instead of a factor", low=16, high=10**6, metavar="PIXELS"
    )
    model: str = option(help="a model that comes with sinwave, or a file")
    consistency: float | None = option(None, "how closely the result, reduced, equals SOURCE", low=0, high=1)
    fidelity: float | None = option(
        None, "1 = least invented detail, 0 = most (default: 1; patches: 0.95)", low=0, high=1
    )
    tile: int | None = option(
        None, "work on parts of SOURCE of at most PIXELS a side", low=32, high=4096, metavar="PIXELS"
    )
    map: bool = option(False, "also write NAME-map.png, bright where the result is unsure")
    report: bool = option(False, "also write NAME-report.html: SOURCE and result side by side, with measurements")
    steps: int | None = option(
        None, "sampling steps of published weights: 1 for SinSR, 4 or 15 for ResShift, any for LDM-SR", low=1, high=1000
    )
    base: Path | None = option(
        None, "osediff: the folder of Stable Diffusion 2.1-base that it changes", metavar="FOLDER"
    )
    prompt: str | None = option(None, "osediff: words about SOURCE", metavar="TEXT")
    colors: Colors | None = option(None, "osediff: how it takes the colors of SOURCE (default: wavelet)")

    def __post_init__(self) -> None:
        super().__post_init__()
        if sum(value is not None for value in (self.factor, self.size, self.longest)) > 1:
            raise InputError("factor, size and longest exclude each other: give one of them")

    @abstractmethod
    def default_share(self, loaded: Loaded) -> float:
        """The share of the projection, unless another one is asked for."""

    @property
    def kind(self) -> Kind:
        """The reduction to undo."""
        return "bicubic"

    def check_model(self, loaded: Loaded) -> None:
        """Refuse a model that cannot do this."""
        if not {"upscale", "refine"} & loaded.abilities:
            raise InputError(f"{self.model}: this model cannot enlarge pictures")

    def open(self, max_pixels: int) -> Opened:
        if isinstance(self.source.value, Opened):
            picture = self.source.value.picture
        elif self.source.path is not None and table.is_model_file(self.source.path):
            raise InputError(f"{self.source}: {self.verb} needs a picture, and this is a model file (see --model)")
        else:
            picture = self.source.read(max_pixels)
        loaded = self._on_base(self._loaded(picture))
        self.check_model(loaded)
        if self.tile is not None:
            if not isinstance(loaded, LoadedByTiles):
                raise InputError(f"the model {self.model} has no use for tile: it does not work on parts")
            loaded = loaded.tiled(self.tile)
        if self.fidelity is not None and not {"refine", "sample"} & loaded.abilities:
            raise InputError(
                f"the model {self.model} has no use for fidelity: it draws no detail apart from its result"
            )
        if self.map and "map" not in loaded.abilities:
            raise InputError(f"the model {self.model} cannot tell where it is unsure: leave out map")
        return Opened(self.source, picture, loaded, loaded.engines[0], True, picture.notes)

    def prepare(self, inputs: Inputs) -> Drawing:
        (source, visible), size = inputs.layers, self._size(inputs.size)
        inputs.check(size)
        if isinstance(loaded := inputs.opened.loaded, LoadedByTiles):
            inputs.opened.check_memory(loaded.working_size(inputs.size, size), inputs.device)
        chance, share = self._has_chance(loaded), self.share(loaded)

        def doubt(model: Redrawer, noise: Noise) -> Tensor:
            return (_DOUBT * model.uncertainty(source, size) / 127.5 - 1).clamp(-1, 1)

        def page(model: Any, results: Sequence[Path], command: str) -> str:
            from sinwave.tasks.reporting.enlarged_page import Compared, enlarged_page

            unsure = isinstance(model, Redrawer) and "map" in loaded.abilities
            compared = Compared(self.source.name, source, visible, self.kind, command)
            return enlarged_page(compared, results, model.uncertainty(source, size) if unsure else None)

        def draw(model: Any, noise: Noise, on_step: OnStep | None) -> Tensor:
            large = self.drawn(model, source, size, noise, share, on_step, depth=inputs.opened.picture.depth)
            return large if visible is None else _with_alpha(large, visible)

        if visible is not None:
            source = _continued(source, visible)
        return Drawing(
            size,
            draw,
            chance=chance,
            beside={"map": doubt} if self.map else {},
            page=page if self.report else None,
        )

    def _has_chance(self, loaded: Loaded) -> bool:
        """Whether another seed gives another result."""
        return "certain" not in loaded.abilities or self.fidelity not in (None, 1)

    def share(self, loaded: Loaded) -> float:
        """How far a result is moved towards those that reduce to SOURCE."""
        return self.default_share(loaded) if self.consistency is None else self.consistency

    def drawn(
        self,
        model: Any,
        picture: Tensor,
        size: tuple[int, int],
        noise: Noise,
        share: float,
        on_step: OnStep | None = None,
        *,
        depth: int = 8,
    ) -> Tensor:
        """Enlarge a picture (1, 3, h, w) of `depth` bits to `size`, with a `share` of the projection."""
        if tuple(picture.shape[2:]) == size and not self.repairs:
            return picture
        if self.fidelity is not None and isinstance(model, Redrawer):
            large = model.redraw(picture, size, noise, fidelity=self.fidelity, on_step=on_step)
        elif isinstance(model, SuperResolver):
            large = model.upscale(picture, size, noise, on_step=on_step)
        else:
            strength = _STRENGTH if self.fidelity is None else 1 - self.fidelity
            large = _by_patches(model, picture, size, strength, noise, on_step)
        return self._consistent(large, picture, share, depth)

    def _on_base(self, loaded: Loaded) -> Loaded:
        if isinstance(loaded, LoadedOnBase):
            return loaded.on_base(self.base, self.prompt, self.colors)
        if useless := [name for name in ("base", "prompt", "colors") if getattr(self, name) is not None]:
            raise InputError(f"the model {self.model} has no use for {useless[0]}: only osediff has")
        return loaded

    def _size(self, small: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the result."""
        if self.size is not None:
            size = tuple(self.size)
        else:
            factor = self.longest / max(small) if self.longest is not None else self.factor or self.default_factor
            size = tuple(max(1, round(factor * side)) for side in small)
        if any(large < side for large, side in zip(size, small, strict=True)):
            raise InputError(
                f"the result would have {size[1]} x {size[0]} pixels, and SOURCE has {small[1]} x {small[0]}: "
                f"{self.verb} does not make a picture smaller"
            )
        if max(large / side for large, side in zip(size, small, strict=True)) > _LARGEST:
            raise InputError(f"the result would be more than {_LARGEST} times as large as SOURCE")
        return size[0], size[1]

    def _loaded(self, picture: images.Picture) -> Loaded:
        """Load the model that the user has named."""
        path = self._file
        if path is None and (shipped := table.shipped(self.model, self.steps)):
            return shipped
        if path is not None and not table.is_model_file(path):
            loaded = table.foreign(path, self.steps)
        elif self.steps is not None:
            raise InputError(f"the model {self.model} has no use for steps: only published weights have")
        elif path is None:
            return table.of_picture(picture, self.untrained[self.model])
        else:
            loaded = table.load(path)
        return loaded

    @property
    def _file(self) -> Path | None:
        """The model file, None for a model that has a name; a file of such a name is ./NAME."""
        if self.model in self.untrained or table.has_shipped(self.model):
            return None
        path = Path(self.model)
        if not path.is_file() and not table.is_folder(path):
            names = ", ".join([self.default_model, *self.untrained])
            raise InputError(f"model must be {names} or a model file, and {self.model!r} is none")
        return path

    def digests(self) -> tuple[str, ...]:
        path = self._file
        return () if path is None else tuple(Source(part).sha256 for part in table.parts(path))

    def _consistent(self, large: Tensor, small: Tensor, share: float, depth: int) -> Tensor:
        """Move the result to, or towards, the pictures in range that reduce to the small one."""
        from sinwave.reduction import ENOUGH, Reduction

        if share == 0:
            return large.clamp(-1, 1)
        reduction = Reduction(small, self.kind)
        nearest = reduction.nearest(large)
        return (
            reduction.in_range(nearest, enough=_FINE if depth > 8 else ENOUGH)
            if share == 1
            else (large + share * (nearest - large)).clamp(-1, 1)
        )


def _continued(picture: Tensor, visible: Tensor) -> Tensor:
    """Continue the colors of what is visible (1, 1, h, w) into what is near, so that no edge is seen there."""
    import torch

    from sinwave.resize import blur

    result, missing, sigma = picture, visible == 0, 1.0
    while sigma <= _BLEED and missing.any():
        weight = blur(visible, sigma)
        near = missing & (weight > 1e-3)
        result = torch.where(near, blur(picture * visible, sigma) / weight.clamp(min=1e-3), result)
        missing, sigma = missing & ~near, 2 * sigma
    return result


def _with_alpha(large: Tensor, visible: Tensor) -> Tensor:
    """Add a fourth channel, the enlarged outline, in [-1, 1]."""
    import torch

    from sinwave.resize import resize

    alpha = resize(2 * visible - 1, (large.shape[2], large.shape[3])).clamp(-1, 1)
    return torch.cat([large, alpha], 1)


def _by_patches(
    model: Any, picture: Tensor, size: tuple[int, int], strength: float, noise: Noise, on_step: OnStep | None
) -> Tensor:
    """Enlarge by factors of 2 at the most, each time with what a model of one picture draws."""
    from sinwave.reduction import Reduction
    from sinwave.resize import resize
    from sinwave.tasks.base.canvas import Canvas, redraw, turned_into

    reduction, large = Reduction(picture), picture
    sizes = _turns((picture.shape[2], picture.shape[3]), size)
    for turn, now in enumerate(sizes):
        guess = reduction.nearest(resize(large, now))
        finest = len(model.scales(guess)) - 1

        def reduced(scale: int, last: int = finest) -> PictureConstraint | None:
            return reduction.nearest if scale == last else None

        chance, report = noise.child("turn", turn), turned_into(on_step, turn, len(sizes))
        large = redraw(model, Canvas(guess), strength, chance, first=finest, also=[reduced], on_step=report)
        large = large if turn == len(sizes) - 1 else reduction.in_range(large)
    return large


def _turns(small: tuple[int, int], large: tuple[int, int]) -> list[tuple[int, int]]:
    """List the sizes on the way, by equal factors of 2 at the most."""
    down, right = (b / a for a, b in zip(small, large, strict=True))
    count = max(1, math.ceil(math.log2(max(down, right)) - 1e-9))
    parts = [(turn + 1) / count for turn in range(count)]
    return [(round(small[0] * math.pow(down, part)), round(small[1] * math.pow(right, part))) for part in parts]
