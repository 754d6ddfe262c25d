"""The training of a small network for super-resolution, put together from folders and options."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sinwave.data.batches import Batches, Prefetched
from sinwave.data.dead_leaves import DeadLeavesBatches
from sinwave.data.folder import Crops, Folder, FolderBatches
from sinwave.errors import InputError
from sinwave.images import sheet
from sinwave.kinds import Source
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource, fold
from sinwave.systems.contracts import Computing, OnTry, Setup, TrainingRequest
from sinwave.systems.files import ModelFile, read_model
from sinwave.systems.residual_sr.model import from_file
from sinwave.systems.residual_sr.network import FACTORS, EnlargingNetwork
from sinwave.systems.residual_sr.options import Options, Settings
from sinwave.systems.residual_sr.pairs import PairBatches, Pairs
from sinwave.systems.residual_sr.recipe import EnlargingRecipe
from sinwave.training.loop import Budget
from sinwave.training.schedule import Trapezoid

__all__ = ["model_file", "setup"]

_LOOKS = 12
"""Batches of the held-out loss."""

_SCHEDULE = Trapezoid(warm_up=100, tail=0.5)


def setup(folders: Sequence[Path], options: Options, request: TrainingRequest) -> Setup:
    """Prepare a training of so many steps or minutes on crops of the pictures in folders."""
    settings = _settings(options)
    request.reserve(1.5e9 + _memory(settings), "--batch and --crop make a step smaller")
    network = _network(settings, options.start, request)
    batches = _batches(folders, settings, request, "train")
    silent = request._replace(remark=lambda sentence: None)  # the folder's bad files have been named
    held_out = _batches(folders, settings, silent, "held out")
    looks = [held_out.at(step) for step in range(_LOOKS)]
    if options.precision == "auto":
        plan = request.decide(lambda on_try: {"precision": _fastest(settings, network, looks, on_try)})
    else:
        plan = {"precision": options.precision}
    settings = dataclasses.replace(settings, **plan)
    stop = settings.steps if request.steps is None and request.minutes is None else request.steps
    return Setup(
        recipe=EnlargingRecipe(settings, network, looks),
        batches=Prefetched(batches, workers=1, ahead=3),
        budget=Budget(stop, 10**9),
        schedule=_SCHEDULE,
        average=settings.average,
        settings={**dataclasses.asdict(settings), "start": options.start and Source(options.start).sha256},
        numerics=f"{settings.precision}, channels last",
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        keep=lambda weights: model_file(settings, weights),
        enough=settings.steps // 4,
        receptive_field=1 + 2 * settings.shape.radius,
        sheet=lambda file: _sheet(file, looks[0], request.device),
    )


def model_file(settings: Settings, weights: Mapping[str, Tensor]) -> ModelFile:
    return ModelFile("residual-sr", settings.to_json(), {}, weights)


def _sheet(file: ModelFile, pairs: Pairs, device: torch.device) -> Tensor:
    """Put large crops, side by side, under the enlargements of the small ones."""
    model = from_file(file, Path("the model")).build("network", Computing(device, torch.float32))
    size = (pairs.high.shape[2], pairs.high.shape[3])
    with torch.no_grad():
        crops = [low[None].to(device) for low in pairs.low]
        large = torch.cat([model.upscale(low, size, NoiseSource(0)).cpu() for low in crops])
        result = Reduction(pairs.low).nearest(large) if file.options["condition"] == "clean" else large
    rows = {"bicubic": resize(pairs.low, size), "model": result}
    return sheet(_beside(pairs.high), [], inputs={name: _beside(row) for name, row in rows.items()}, columns=1)


def _beside(crops: Tensor) -> Tensor:
    """Join up to six pictures (b, 3, h, w) into (3, h, b w)."""
    return torch.cat(list(crops[:6]), 2).clamp(-1, 1)


def _settings(options: Options) -> Settings:
    names = [field.name for field in dataclasses.fields(Settings)]
    shared = {name: value for name, value in vars(options).items() if name in names and name != "precision"}
    return Settings(**shared)


def _network(settings: Settings, start: Path | None, request: TrainingRequest) -> EnlargingNetwork:
    """Draw the first weights from the seed, or take those of a file."""
    source = NoiseSource(fold(request.seed, "weights"))
    network = EnlargingNetwork(settings.shape, lambda shape, name: source.normal(shape, name))
    if start is not None:
        file = read_model(start)
        if file.system != "residual-sr":
            raise InputError(f"{start}: the training needs a model of residual-sr to begin with, not of {file.system}")
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        if expected != {name: tuple(value.shape) for name, value in file.weights.items()}:
            raise InputError(f"{start}: the model has other widths or blocks than this training")
        network.load_state_dict({name: value.float() for name, value in file.weights.items()})
    return network.to(request.device)


def _batches(folders: Sequence[Path], settings: Settings, request: TrainingRequest, name: str) -> Batches[Pairs]:
    """Pairs of crops of the folders' pictures, and of dead leaves."""
    side, seed = max(FACTORS) * settings.crop, fold(request.seed, name)
    leaves = round(settings.leaves * settings.batch)
    if settings.batch - leaves < len(folders) and leaves < settings.batch:
        raise InputError(
            f"a batch has {settings.batch - leaves} crops for {len(folders)} folders: --batch must be larger"
        )
    shares = [(settings.batch - leaves) // len(folders)] * len(folders)
    shares[0] += settings.batch - leaves - sum(shares)
    sources: list[Batches[Tensor]] = [
        FolderBatches(Folder(folder, min_side=side, on_remark=request.remark), Crops(side), count, seed)
        for folder, count in zip(folders, shares, strict=True)
        if count
    ]
    if leaves:
        sources.append(DeadLeavesBatches(leaves, side, seed))
    return PairBatches(sources, settings.crop, settings.condition, seed)


def _memory(settings: Settings) -> float:
    """Bytes of what is between the layers, forward and backward."""
    return 12.0 * settings.width * settings.blocks * settings.batch * settings.crop**2


def _fastest(settings: Settings, network: EnlargingNetwork, looks: Sequence[Pairs], on_try: OnTry) -> str:
    """Choose the precision in which a step took the least time just now."""
    seconds = dict[str, float]()
    for precision in ("float32", "bfloat16"):
        on_try(precision)
        trial = EnlargingRecipe(dataclasses.replace(settings, precision=precision), copy.deepcopy(network), ())
        seconds[precision] = min(_seconds(trial, looks[0]) for _ in range(3))
    return min(seconds, key=lambda precision: seconds[precision])


def _seconds(recipe: EnlargingRecipe, pairs: Pairs) -> float:
    before = time.perf_counter()
    for update in recipe.updates(pairs, torch.Generator()):
        update.loss.backward()  # type: ignore[no-untyped-call]
        update.loss.item()
    return time.perf_counter() - before
