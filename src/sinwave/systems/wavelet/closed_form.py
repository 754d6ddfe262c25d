"""The closed form of a whole picture: exact at the coarsest scale, propagated to the finer ones, nothing to train."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.sample import Ddim
from sinwave.errors import InputError
from sinwave.images import Picture
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, VerticalSpan
from sinwave.systems.wavelet.bands import Levels, Progression, Scale
from sinwave.systems.wavelet.exact import FORBIDDEN, NO_LAYOUT, ExactDenoiser, Focus, Layout, Prices
from sinwave.systems.wavelet.model import PROCESS, Following, Prior, RatioSchedule, Stage, Walk, WaveletModel, drawn_to
from sinwave.systems.wavelet.options import estimate, levels_for
from sinwave.systems.wavelet.patches import PatchBank, useful_patch
from sinwave.systems.wavelet.propagate import Candidates, PropagatedDenoiser, children, neighbors
from sinwave.threads import side_by_side
from sinwave.wavelets import Size

__all__ = ["QUICK", "ClosedForm", "ClosedFormOptions", "Untrained", "closed_form_model"]


@dataclass(frozen=True)
class ClosedFormOptions:
    """The constants of the closed form. Patches are counted in positions of the packed bands, windows in patches."""

    layout_patch: int = 11
    layout_window: float = 0.25
    detail_patch: int = 7
    detail_window: float = 0.5
    detail_ratio: float = 0.13
    fine_patches: tuple[int, int] = (7, 5)
    fine_window: float = 0.5
    dimensions: int = 256
    energy: float = 0.995
    fine_dimensions: int = 96
    layout: Layout = Layout()
    balance: float = 1.0
    coarsest: RatioSchedule = RatioSchedule(steps=30, high=20.0, low=0.01, sampler=Ddim(1.0))
    finer: RatioSchedule = RatioSchedule(steps=8, high=1.0, low=0.01)


QUICK = ClosedFormOptions(fine_dimensions=48, finer=RatioSchedule(steps=2, high=1.0, low=0.01))
"""Few steps with keys of half the length, where another model, or the picture itself, has decided the layout."""


def closed_form_model(
    image: Tensor,
    *,
    opaque: Tensor | None = None,
    progression: Progression | None = None,
    options: ClosedFormOptions = ClosedFormOptions(),
) -> WaveletModel:
    """The model of a picture (1, 3, h, w) in [-1, 1]; what is not `opaque` (h, w) is not learned from."""
    progression = progression or Levels(levels_for((image.shape[2], image.shape[3])))
    return WaveletModel(image, progression, ClosedForm(progression.split(image), progression, opaque, options))


@final
class ClosedForm(Prior):
    """The patches of every scale of a picture."""

    def __init__(
        self,
        scales: tuple[Scale, ...],
        progression: Progression,
        opaque: Tensor | None,
        options: ClosedFormOptions = ClosedFormOptions(),
    ) -> None:
        """Take the patches of the scales, those that touch no transparency."""
        self.options, self.progression = options, progression
        opaques = _opaque_at(opaque, scales)
        height, width = scales[0].bands.shape[2:]
        # There should be at least as many places for a patch as it is wide, or nothing new can be made of them.
        most = (min(height, width) + 1) // 2
        largest = max(most - 1 + most % 2, 3)
        layout_patch = useful_patch(min(options.layout_patch, largest), opaques[0], scales[0].bands)
        detail_patch = min(options.detail_patch, layout_patch)
        # A single scale has none after it to restore what is off the axes, so its detail is seen along all of them.
        all_of_them = (scales[0].bands.shape[1] * detail_patch**2, 1.0)
        some = (options.dimensions, options.energy)
        coarsest = partial(PatchBank.of, scales[0], opaque=opaques[0], shifted=True)
        finer = partial(PatchBank.of, dimensions=options.fine_dimensions, pixels=True)
        wanted = [
            partial(coarsest, layout_patch, *some),
            partial(coarsest, detail_patch, *(some if len(scales) > 1 else all_of_them)),
            *(
                partial(finer, scale, options.fine_patches[min(index, 1)], opaque=visible)
                for index, (scale, visible) in enumerate(zip(scales[1:], opaques[1:], strict=True))
            ),
        ]
        layout, detail, *self.banks = side_by_side(wanted, scales[0].bands.device)
        self.foci = (
            Focus(math.inf, layout.only_usable(), options.layout_window),
            Focus(options.detail_ratio, detail.only_usable(), options.detail_window),
        )
        self.sources = [(scale.bands.shape[2], scale.bands.shape[3]) for scale in scales]
        self.max_batch = 1  # since every picture has matches of its own
        # Patches of the coarsest scale are so large that only what the picture has is found there.
        self.default_first_scale = min(1, len(self.banks))
        if not all(bank.usable is None or bank.usable.any() for bank in (layout, detail, *self.banks)):
            raise InputError("the opaque part of the picture is too small to learn from")

    def begin(self, noise: Noise, strength: float, *, span: VerticalSpan | None, given: bool) -> Walk:
        """Begin a picture: with the layout of the known one, its horizon moved, or with none but its own."""
        if noise.count != 1:
            raise InputError(f"the closed form draws one picture at a time, not {noise.count}")
        if span is None:
            return _ClosedFormWalk(self, NO_LAYOUT, VerticalSpan(), 1.0)
        if given:
            return _ClosedFormWalk(self, replace(self.options.layout, row_beyond=FORBIDDEN), span, 1.0)
        uniform = 2 * torch.special.ndtr(noise.normal((), "horizon")).item() - 1
        layout = self.options.layout
        return _ClosedFormWalk(self, layout, span, math.exp(layout.drift * strength * uniform))


@final
class _ClosedFormWalk(Walk):
    """Hands the matches of each scale to the next."""

    def __init__(self, prior: ClosedForm, layout: Layout, span: VerticalSpan, horizon: float) -> None:
        self._prior, self._layout, self._span, self._horizon = prior, layout, span, horizon
        self._coarser: Following[Prices] | Following[Candidates]
        self._candidates: Tensor | None = None

    def stage(self, index: int, size: Size, inherited: Tensor | None) -> Stage:
        prior, options = self._prior, self._prior.options
        if inherited is None:
            how = {"layout": self._layout, "span": self._span, "horizon": self._horizon, "balance": options.balance}
            exact = ExactDenoiser(PROCESS, prior.foci, size, **how)  # type: ignore[arg-type]
            self._coarser = Following(exact, exact.start)
            mean = prior.foci[0].bank.mean
            return Stage(self._coarser, mean.expand(-1, -1, *size), mean.shape[1], options.coarsest)
        candidates = self._candidates
        if candidates is None:
            candidates = children(self._coarser.state.matches, size, prior.progression.factor)
        self._candidates = None
        bank, source = prior.banks[index - 1], prior.sources[index]
        propagated = PropagatedDenoiser(PROCESS, bank, source, options.fine_window)
        state = propagated.start(candidates)
        self._coarser = Following(propagated, state)
        guess = torch.cat([inherited, propagated.copy(state)[:, inherited.shape[1] :]], 1)
        return Stage(self._coarser, guess, guess.shape[1], options.finer, constrain=drawn_to(inherited, options.finer))

    def follow(self, index: int, bands: Tensor) -> None:
        """The nearest patch of each, among all: the first estimate of this scale looks around there."""
        self._candidates = neighbors(self._prior.banks[index - 1].nearest(bands))


def _opaque_at(opaque: Tensor | None, scales: tuple[Scale, ...]) -> list[Tensor | None]:
    """Reduce the mask to every scale: a pixel is opaque if all the pixels that it stands for are."""
    if opaque is None:
        return [None] * len(scales)
    visible: list[Tensor | None] = []
    for scale in reversed(scales):
        while opaque.shape != scale.picture.shape[2:]:
            hidden = functional.pad((~opaque).float()[None, None], (0, opaque.shape[1] % 2, 0, opaque.shape[0] % 2))
            opaque = functional.max_pool2d(hidden, 2)[0, 0] == 0
        visible.append(opaque)
    return visible[::-1]


@final
@dataclass(frozen=True, eq=False)
class Untrained:
    """A picture with nothing to train, drawn from its own patches."""

    picture: Picture
    abilities: ClassVar[frozenset[Ability]] = frozenset({"generate", "refine"})
    engines: ClassVar[tuple[str, ...]] = ("closed-form",)

    @property
    def size(self) -> Size:
        return self.picture.size

    @property
    def pictures(self) -> tuple[Picture, ...]:
        return (self.picture,)

    def build(self, engine: str, computing: Computing) -> WaveletModel:
        return self._model(levels_for(self.picture.size), computing)

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> WaveletModel:
        from sinwave.systems.wavelet.combined import mixed

        pictures = [self.picture, *(other.pictures[0] for other in others)]
        depths = [levels_for(picture.size) for picture in pictures]
        if max(depths) > min(depths) + 1:
            large, little = (pictures[depths.index(end(depths))] for end in (max, min))
            raise InputError(f"{_name(large)} is too large to be mixed with {_name(little)}: make it smaller")
        return mixed([Untrained(picture)._model(min(depths), computing) for picture in pictures], shares)

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: patches of the picture, and weights of the new one."""
        return estimate(self.picture.size, size).memory

    def _model(self, levels: int, computing: Computing) -> WaveletModel:
        opaque = None if self.picture.opaque is None else self.picture.opaque.to(computing.device)
        image = self.picture.pixels[None].to(computing.device, computing.dtype)
        options = QUICK if computing.quick else ClosedFormOptions()
        return closed_form_model(image, opaque=opaque, progression=Levels(levels), options=options)


def _name(picture: Picture) -> str:
    return f"{picture.path}: the picture" if picture.path else "the picture"
