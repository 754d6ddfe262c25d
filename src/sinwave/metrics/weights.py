"""Published files of weights: which there are, where they are looked for, and how they are read.

None comes with the package and none is downloaded: each is the work of its authors, under their license. A file is
read as tensors only, so that no code in it can run, and every parameter in it must be one of the network's, and every
one of the network's be in it, with the same shape: weights are right or an error, never nearly right.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, hub, nn

from sinwave.errors import InputError, MissingError
from sinwave.metrics.cache import cache_folder

__all__ = [
    "ALEXNET",
    "INCEPTION",
    "INCEPTION_TORCHVISION",
    "LPIPS_ALEX",
    "LPIPS_VGG",
    "NIQE",
    "PUBLISHED",
    "VGG16",
    "Weights",
    "find",
    "fingerprint",
    "folders",
    "load",
    "load_module",
]

_Module = TypeVar("_Module", bound=nn.Module)


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


def folders(folder: Path | None = None) -> list[Path]:
    """Where weights are looked for: here, in $SINWAVE_WEIGHTS, in the user's cache, among torch's downloads."""
    named = [folder, os.environ.get("SINWAVE_WEIGHTS")]
    usual = [cache_folder() / "sinwave" / "weights", Path(hub.get_dir()) / "checkpoints"]
    return [*(Path(each).expanduser() for each in named if each), *usual]


def load_module(build: Callable[[], _Module], weights: Weights, folder: Path | None = None) -> _Module:
    """The network that `build` makes with the parameters in a published file, ready to be used, not trained."""
    with torch.device("meta"):  # nothing is drawn only to be overwritten
        module = build()
    module.load_state_dict(load(weights, module.state_dict(), folder), assign=True)
    return module.eval().requires_grad_(False)


def load(weights: Weights, expected: Mapping[str, Tensor], folder: Path | None = None) -> dict[str, Tensor]:
    """The parameters in a published file, float32, which have the names and shapes of `expected`."""
    path = find(weights, folder)
    found, wanted = _without_counters(_read(path)), _without_counters(expected)
    found = {name: value for name, value in found.items() if not name.startswith(weights.unused)}
    for name in [*wanted, *found]:
        if name not in found:
            raise InputError(f"{path} is not {weights.purpose}: it has no parameter {name}")
        if name not in wanted:
            raise InputError(f"{path} is not {weights.purpose}: its parameter {name} is not one of the network's")
        if found[name].shape != wanted[name].shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
            raise InputError(f"{path} is not {weights.purpose}: its parameter {name} is {shapes}")
    return {name: value.float() for name, value in found.items()}


def find(weights: Weights, folder: Path | None = None) -> Path:
    """Where a published file is; a `MissingError` says where it was sought, and where it is from."""
    sought = folders(folder)
    for each in sought:
        if (each / weights.file).is_file():
            return each / weights.file
    where = ", ".join(map(str, sought))
    raise MissingError(
        f"{weights.file}, {weights.purpose}, is in none of {where}: put the file from {weights.url} into one of them"
    )


def fingerprint(*files: Weights, folder: Path | None = None) -> str:
    """Of the contents of published files: what figures made with them depend on."""
    content = hashlib.sha256()
    for each in files:
        content.update(find(each, folder).read_bytes())
    return content.hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files, which are then refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        raise InputError(f"{path} cannot be read as weights: it is damaged, or holds more than tensors") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}, where weights are tensors by their names")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise InputError(
                f"{path} holds a {type(value).__name__} {name!r}, where weights are tensors by their names"
            )
    return content


def _without_counters(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without how many batches a norm has seen: files from before 2018 have none, and only training would ask."""
    return {name: value for name, value in parameters.items() if not name.endswith(".num_batches_tracked")}
