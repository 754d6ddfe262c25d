"""Published files of weights: where they are looked for, and how they are read.

None comes with the package and none is downloaded: each is the work of its authors, under their license. A file is
read as tensors only, so that no code in it can run, and every parameter in it must be one of the network's, and every
one of the network's be in it, with the same shape: weights are right or an error, never nearly right.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, hub, nn

from sinwave.errors import InputError, MissingError
from sinwave.metrics.cache import cache_folder
from sinwave.metrics.published import Weights

__all__ = ["UnfitWeightsError", "find", "fingerprint", "folders", "load", "load_module"]

_Module = TypeVar("_Module", bound=nn.Module)


class UnfitWeightsError(InputError):
    """A file that is there, but damaged, or not what its name says."""


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
            raise UnfitWeightsError(f"{path} is not {weights.purpose}: it has no parameter {name}")
        if name not in wanted:
            raise UnfitWeightsError(
                f"{path} is not {weights.purpose}: its parameter {name} is not one of the network's"
            )
        if found[name].shape != wanted[name].shape:
            shapes = f"{tuple(found[name].shape)}, not {tuple(wanted[name].shape)}"
            raise UnfitWeightsError(f"{path} is not {weights.purpose}: its parameter {name} is {shapes}")
        if not found[name].is_floating_point() or not found[name].isfinite().all():
            raise UnfitWeightsError(
                f"{path} is not {weights.purpose}: its parameter {name} holds what is no finite number"
            )
    return {name: value.float() for name, value in found.items()}


def find(weights: Weights, folder: Path | None = None) -> Path:
    """Where a published file is; a `MissingError` says where it was sought, and where it is from."""
    sought = folders(folder)
    for each in sought:
        if (each / weights.file).is_file():
            return each / weights.file
    where = ", ".join(map(str, sought))
    raise MissingError(
        f"{weights.file}, {weights.purpose}, is in none of {where}: "
        f"put the file from {weights.url} ({weights.license}) into one of them"
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
        raise UnfitWeightsError(
            f"{path} cannot be read as weights: it is damaged, or holds more than tensors"
        ) from error
    if not isinstance(content, dict):
        raise UnfitWeightsError(f"{path} holds a {type(content).__name__}, where weights are tensors by their names")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UnfitWeightsError(
                f"{path} holds a {type(value).__name__} {name!r}, where weights are tensors by their names"
            )
    return content


def _without_counters(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without how many batches a norm has seen: files from before 2018 have none, and only training would ask."""
    return {name: value for name, value in parameters.items() if not name.endswith(".num_batches_tracked")}
