"""Which files of weights others have published, from where, and under which license; no torch is needed to know."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "ALEXNET",
    "INCEPTION",
    "INCEPTION_TORCHVISION",
    "LPIPS_ALEX",
    "LPIPS_VGG",
    "NIQE",
    "PUBLISHED",
    "PYIQA",
    "VGG16",
    "Weights",
]


@dataclass(frozen=True)
class Weights:
    """A published file; of the names in it those that start with one of `unused` belong to parts we do not need."""

    file: str
    purpose: str
    url: str
    license: str
    unused: tuple[str, ...] = ()


_TORCHVISION = "https://download.pytorch.org/models"
_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
_TRAINED = "BSD-3-Clause, trained on ImageNet"

ALEXNET = Weights(
    "alexnet-owt-7be5be79.pth",
    "the network of LPIPS (alex)",
    f"{_TORCHVISION}/alexnet-owt-7be5be79.pth",
    _TRAINED,
    ("classifier.",),
)
VGG16 = Weights(
    "vgg16-397923af.pth",
    "the network of LPIPS (vgg)",
    f"{_TORCHVISION}/vgg16-397923af.pth",
    _TRAINED,
    ("classifier.",),
)
LPIPS_ALEX = Weights("alex.pth", "the heads of LPIPS (alex), v0.1", f"{_LPIPS}/alex.pth", "BSD-2-Clause")
LPIPS_VGG = Weights("vgg.pth", "the heads of LPIPS (vgg), v0.1", f"{_LPIPS}/vgg.pth", "BSD-2-Clause")
INCEPTION = Weights(
    "pt_inception-2015-12-05-6726825d.pth",
    "the network of FID and KID",
    f"{_FID}/pt_inception-2015-12-05-6726825d.pth",
    "Apache-2.0, trained on ImageNet",
    ("fc.",),
)
INCEPTION_TORCHVISION = Weights(
    "inception_v3_google-0cc3c7bd.pth",
    "the network of SIFID",
    f"{_TORCHVISION}/inception_v3_google-0cc3c7bd.pth",
    _TRAINED,
    ("fc.", "AuxLogits."),
)

NIQE = Weights(
    "niqe_pris_params.npz",
    "the model of natural pictures of NIQE",
    "https://github.com/XPixelGroup/BasicSR/raw/master/basicsr/metrics/niqe_pris_params.npz",
    "of the University of Texas at Austin, free with its notice",
)

PUBLISHED = (ALEXNET, VGG16, LPIPS_ALEX, LPIPS_VGG, INCEPTION, INCEPTION_TORCHVISION, NIQE)

PYIQA = Weights(
    "pyiqa",
    "a package with networks and weights of its own",
    "https://github.com/chaofengc/IQA-PyTorch",
    "PolyForm Noncommercial and NTU S-Lab: no commercial use",
)
