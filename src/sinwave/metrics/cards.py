"""Cards of all metrics: what each compares, which way is better, between which bounds, and whose weights it needs.

A metric belongs to one or more protocols:

    single    samples of one picture, beside that picture
    pairs     restored pictures, beside the true ones and the low-resolution ones that they were made from
    sets      a set of generated pictures, beside a set of real ones
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Literal

from sinwave.pretrained import published
from sinwave.pretrained.published import Weights

__all__ = ["CARDS", "Card", "Protocol", "cards_for"]

Protocol = Literal["single", "pairs", "sets"]


@dataclass(frozen=True)
class Card:
    """The facts of a metric that need no run.

    best       its value for a perfect result; for likeness that is a copy, so novelty is always read beside it
    worst      its value at the other end, infinite if there is none
    weights    the published files that it needs, with their source and license
    default    whether it is computed when no metric is named
    """

    name: str
    title: str
    kind: Literal["likeness", "novelty", "quality", "fidelity"]
    best: float
    worst: float
    protocols: tuple[Protocol, ...]
    meaning: str
    weights: tuple[Weights, ...] = ()
    default: bool = True

    @property
    def better(self) -> Literal["lower", "higher"]:
        """The direction of better values."""
        return "lower" if self.best < self.worst else "higher"


_SINGLE: tuple[Protocol, ...] = ("single",)
_PAIRS: tuple[Protocol, ...] = ("pairs",)
_SETS: tuple[Protocol, ...] = ("sets",)
_ANY: tuple[Protocol, ...] = ("single", "pairs", "sets")
_ALEX, _VGG = (published.ALEXNET, published.LPIPS_ALEX), (published.VGG16, published.LPIPS_VGG)
_ST_ALEX, _NIQE, _PYIQA = (published.ST_LPIPS_ALEX,), (published.NIQE,), (published.PYIQA,)
_STEM, _INCEPTION = (published.INCEPTION_TORCHVISION,), (published.INCEPTION,)

# fmt: off
_ALL = (
    Card("swd", "sliced Wasserstein", "likeness", 0.0, inf, _SINGLE,
         "distance between the patches of sample and source on three scales, in standard deviations of the source"),
    Card("patch_frechet", "patch Frechet", "likeness", 0.0, inf, _SINGLE,
         "distance of Gaussians fitted to both pictures' patches on three scales, divided by the source's variance"),
    Card("coherence", "coherence", "likeness", 0.0, inf, _SINGLE,
         "mean squared distance from a sample's patch to the nearest source patch, divided by the source's variance"),
    Card("completeness", "completeness", "likeness", 0.0, inf, _SINGLE,
         "mean squared distance from a source's patch to the nearest sample patch, divided by the source's variance"),
    Card("sifid", "SIFID", "likeness", 0.0, inf, _SINGLE,
         "Frechet distance between sample and source in Inception's 64 channels before the first pool",
         _STEM),
    Card("diversity", "pixel diversity", "novelty", inf, 0.0, _SINGLE,
         "standard deviation of a pixel across samples, averaged, divided by the standard deviation of the source"),
    Card("lpips_diversity", "LPIPS diversity", "novelty", inf, 0.0, _SINGLE,
         "mean LPIPS (Alex) between two samples", _ALEX),
    Card("st_lpips_diversity", "ST-LPIPS diversity", "novelty", inf, 0.0, _SINGLE,
         "mean ST-LPIPS (Alex) between two samples", _ST_ALEX),
    Card("copied", "copied area", "novelty", 0.0, 1.0, _SINGLE,
         "share of a sample covered by 24 x 24 squares that the source contains too"),
    Card("offsets", "entropy of offsets", "novelty", 1.0, 0.0, _SINGLE,
         "variety of the shifts from a patch to its match in the source: 0 all equal, 1 all differ"),
    Card("seam", "seam", "quality", 0.0, inf, _SINGLE,
         "difference between opposite borders, divided by that between adjacent inner pixels: no seam if 1 or less",
         default=False),
    Card("psnr_y", "PSNR-Y", "fidelity", inf, -inf, _PAIRS,
         "peak signal-to-noise ratio of luma in dB"),
    Card("ssim_y", "SSIM-Y", "fidelity", 1.0, -1.0, _PAIRS,
         "structural similarity of luma"),
    Card("lr_consistency", "LR consistency", "fidelity", inf, -inf, _PAIRS,
         "PSNR-Y in dB between the reduced result and the low-resolution picture"),
    Card("lpips", "LPIPS", "fidelity", 0.0, inf, _PAIRS,
         "perceptual distance (Alex) to the true picture", _ALEX),
    Card("st_lpips", "ST-LPIPS", "fidelity", 0.0, inf, _PAIRS,
         "shift-tolerant perceptual distance (Alex) to the true picture", _ST_ALEX, default=False),
    Card("niqe", "NIQE", "quality", 0.0, inf, _ANY,
         "distance of a picture's local statistics to those of natural pictures", _NIQE),
    Card("fid", "FID", "likeness", 0.0, inf, ("pairs", "sets"),
         "Frechet distance between Inception's 2048 features of both sets", _INCEPTION),
    Card("kid", "KID", "likeness", 0.0, inf, _SETS,
         "squared maximum mean discrepancy between Inception's features of both sets; its estimate may fall below 0",
         _INCEPTION),
    Card("set_frechet", "patch Frechet of sets", "likeness", 0.0, inf, _SETS,
         "distance between Gaussians fitted to both sets' patches on three scales, divided by the real set's variance"),
    Card("intra_lpips", "Intra-LPIPS", "novelty", inf, 0.0, _SETS,
         "mean LPIPS (VGG) between generated pictures with the same nearest real picture", _VGG),
    Card("nearest_lpips", "Nearest-LPIPS", "novelty", inf, 0.0, _SETS,
         "mean LPIPS (VGG) of a generated picture to the nearest real one: low means copying", _VGG),
    Card("dists", "DISTS", "fidelity", 0.0, 1.0, _PAIRS,
         "distance in structure and texture to the true picture", _PYIQA, default=False),
    Card("nima", "NIMA", "quality", 10.0, 1.0, _ANY,
         "predicted mean rating of a picture's looks", _PYIQA, default=False),
    Card("musiq", "MUSIQ", "quality", 100.0, 0.0, _ANY,
         "predicted quality at several scales", _PYIQA, default=False),
    Card("clipiqa", "CLIPIQA", "quality", 1.0, 0.0, _ANY,
         "how much CLIP takes it for a good photo", _PYIQA, default=False),
    Card("maniqa", "MANIQA", "quality", 1.0, 0.0, _ANY,
         "quality, predicted by a transformer", _PYIQA, default=False),
)
# fmt: on

CARDS = {card.name: card for card in _ALL}
"""Every metric by its name on the command line."""


def cards_for(protocol: Protocol) -> tuple[Card, ...]:
    """The metrics of a protocol, in the order in which they are listed."""
    return tuple(card for card in _ALL if protocol in card.protocols)
