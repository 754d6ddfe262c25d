"""The closed form of a whole picture: exact at the coarsest scale, propagated to the finer ones, nothing to train."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeAlias, final

import torch
from torch import Tensor
from torch.nn import functional

from sinwave.diffusion.samplers import Ddim
from sinwave.errors import InputError
from sinwave.rng import Noise
from sinwave.systems.contracts import VerticalSpan
from sinwave.systems.wavelet.bands import Levels, Progression, Scale
from sinwave.systems.wavelet.depth import levels_for
from sinwave.systems.wavelet.exact import FORBIDDEN, NO_LAYOUT, ExactDenoiser, Focus, Layout
from sinwave.systems.wavelet.model import PROCESS, Prior, Stage, Walk, WaveletModel, drawn_to
from sinwave.systems.wavelet.patches import PatchBank, useful_patch
from sinwave.systems.wavelet.propagate import PropagatedDenoiser, children, neighbors
from sinwave.systems.wavelet.schedules import RatioSchedule
from sinwave.threads import side_by_side
from sinwave.wavelets import Size

__all__ = ["ClosedForm", "ClosedFormOptions", "closed_form_model"]


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
    layout: Layout = field(default_factory=Layout)
    balance: float = 1.0
    coarsest: RatioSchedule = field(
        default_factory=lambda: RatioSchedule(steps=30, high=20.0, low=0.01, sampler=Ddim(1.0))
    )
    finer: RatioSchedule = field(default_factory=lambda: RatioSchedule(steps=8, high=1.0, low=0.01))


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

    @property
    def max_batch(self) -> int:
        """One: each picture has matches of its own."""
        return 1

    @property
    def default_first_scale(self) -> int:
        """The second: patches of the coarsest are so large that only what the picture has is found there."""
        return min(1, len(self.banks))

    def effort(self, index: int, size: Size) -> float:
        """Positions times patches that each is compared with, times steps."""
        if index == 0:
            return size[0] * size[1] * len(self.foci[0].bank.keys) / 20 * self.options.coarsest.steps
        return size[0] * size[1] * 9 * self.options.finer.steps


_Matching: TypeAlias = ExactDenoiser | PropagatedDenoiser


@final
class _ClosedFormWalk(Walk):
    """Hands the matches of each scale to the next."""

    def __init__(self, prior: ClosedForm, layout: Layout, span: VerticalSpan, horizon: float) -> None:
        self._prior, self._layout, self._heights, self._horizon = prior, layout, span, horizon
        self._coarser: _Matching
        self._candidates: Tensor | None = None

    def stage(self, index: int, size: Size, known: Tensor | None) -> Stage:
        """The exact closed form at the coarsest scale, the propagated one at the others."""
        prior, options = self._prior, self._prior.options
        if known is None:
            exact = ExactDenoiser(
                PROCESS,
                prior.foci,
                size,
                layout=self._layout,
                span=self._heights,
                horizon=self._horizon,
                balance=options.balance,
            )
            self._coarser = exact
            mean = prior.foci[0].bank.mean
            return Stage(exact, mean.expand(-1, -1, *size), mean.shape[1], options.coarsest)
        candidates = self._candidates
        if candidates is None:
            candidates = children(self._coarser.matches, size, prior.progression.factor)
        self._candidates = None
        bank, source = prior.banks[index - 1], prior.sources[index]
        denoiser = PropagatedDenoiser(PROCESS, bank, source, candidates, options.fine_window)
        self._coarser = denoiser
        guess = torch.cat([known, denoiser.copy()[:, known.shape[1] :]], 1)
        return Stage(denoiser, guess, guess.shape[1], options.finer, constrain=drawn_to(known, options.finer))

    def follow(self, index: int, bands: Tensor) -> None:
        """The nearest patch of each, among all: the first estimate of this scale looks around there."""
        self._candidates = neighbors(self._prior.banks[index - 1].nearest(bands))


def _opaque_at(opaque: Tensor | None, scales: tuple[Scale, ...]) -> list[Tensor | None]:
    """What is opaque at each scale: a pixel is if all the pixels that it stands for are."""
    if opaque is None:
        return [None] * len(scales)
    visible: list[Tensor | None] = []
    for scale in reversed(scales):
        while opaque.shape != scale.picture.shape[2:]:
            hidden = functional.pad((~opaque).float()[None, None], (0, opaque.shape[1] % 2, 0, opaque.shape[0] % 2))
            opaque = functional.max_pool2d(hidden, 2)[0, 0] == 0
        visible.append(opaque)
    return visible[::-1]
