"""The training of a small network for super-resolution, put together from folders and options."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from sinwave.data.batches import Batches, Prefetched
from sinwave.data.dead_leaves import DeadLeavesBatches
from sinwave.data.folder import Crops, Folder, FolderBatches
from sinwave.errors import InputError
from sinwave.images import sheet
from sinwave.option_kinds import Source
from sinwave.reduction import Reduction
from sinwave.resize import resize
from sinwave.rng import NoiseSource, fold
from sinwave.systems.contracts import Computing, OnTry, Setup, TrainingRequest
from sinwave.systems.files import ModelFile, read_model
from sinwave.systems.residual_sr.detail import DetailNetwork
from sinwave.systems.residual_sr.detail_recipe import DetailRecipe, Teaching, deviations_of
from sinwave.systems.residual_sr.error_maps import ErrorMapLoss, ErrorMaps
from sinwave.systems.residual_sr.model import DETAIL, Trained, from_file, packaged
from sinwave.systems.residual_sr.network import FACTORS, EnlargingNetwork
from sinwave.systems.residual_sr.options import Options, Settings
from sinwave.systems.residual_sr.pairs import PairBatches, Pairs
from sinwave.systems.residual_sr.recipe import EnlargingRecipe
from sinwave.training.loop import Budget
from sinwave.training.schedule import Trapezoid

__all__ = ["model_file", "setup"]

_LOOKS = 12
"""Batches of the held-out loss."""

_MEASURED = 4
"""Batches of a factor by which deviations are measured."""

_STUDENT_STEPS = 200

_SCHEDULE = Trapezoid(warm_up=100, tail=0.5)


def setup(folders: Sequence[Path], options: Options, request: TrainingRequest) -> Setup:
    """Prepare a training of so many steps or minutes on crops of the pictures in folders."""
    begun = _begun(options)
    settings = _settings(options, begun)
    request.reserve(1.5e9 + _memory(settings), "--batch and --crop make a step smaller")
    batches = _batches(folders, settings, request, "train")
    silent = request._replace(remark=lambda sentence: None)  # the folder's bad files have been named
    held_out = _batches(folders, settings, silent, "held out")
    looks = [held_out.at(step) for step in range(_LOOKS)]
    build = partial(_recipe, begun=begun, looks=looks, request=request)
    if options.precision == "auto":
        plan = request.decide(lambda on_try: {"precision": _fastest(settings, build, looks[0], on_try)})
    else:
        plan = {"precision": options.precision}
    settings = dataclasses.replace(settings, **plan)
    recipe = build(settings)
    beside = {} if settings.stage == "enlarger" or begun is None else begun.network.state_dict()
    stop = settings.steps if request.steps is None and request.minutes is None else request.steps
    return Setup(
        recipe=recipe,
        batches=Prefetched(batches, workers=1, ahead=3),
        budget=Budget(stop, 10**9),
        schedule=_SCHEDULE,
        average=settings.average,
        settings={**dataclasses.asdict(settings), "start": options.start and Source(options.start).sha256},
        numerics=f"{settings.precision}, channels last",
        parameters=sum(parameter.numel() for parameter in recipe.kept.parameters()),
        keep=lambda weights: _file(settings, weights, beside, partial(_of, held_out)),
        enough=settings.steps // 4,
        receptive_field=1 + 2 * (settings.shape if settings.stage == "enlarger" else settings.detail_shape).radius,
        sheet=lambda file: _sheet(file, looks[0], request.device),
    )


def model_file(
    settings: Settings, weights: Mapping[str, Tensor], beside: Mapping[str, Tensor] = MappingProxyType({})
) -> ModelFile:
    """Put together a file: the weights of an enlarger, or `beside` an enlarger's those that draw detail."""
    own = weights if not beside else {f"{DETAIL}{name}": value for name, value in weights.items()}
    return ModelFile("residual-sr", settings.to_json(), {}, {**beside, **own})


def _file(
    settings: Settings, weights: Mapping[str, Tensor], beside: Mapping[str, Tensor], pairs: Callable[[int], list[Pairs]]
) -> ModelFile:
    """Put together a file, for an enlarger with the deviations of what it misses."""
    if settings.stage == "enlarger":
        network = EnlargingNetwork(settings.shape)
        network.load_state_dict(dict(weights))
        table = deviations_of(network.cpu(), pairs, settings.condition == "clean").table
        settings = dataclasses.replace(settings, deviations=tuple(round(value, 5) for value in table))
    return model_file(settings, weights, beside)


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


def _begun(options: Options) -> Trained | None:
    """Load the model that a training begins with, None for random weights."""
    if options.start is None:
        if options.stage == "student":
            raise InputError("a student needs a teacher: --start TEACHER.safetensors")
        return packaged("small" if options.condition == "clean" else "photo") if options.stage == "teacher" else None
    file = read_model(options.start)
    if file.system != "residual-sr":
        needed = f"the training needs a model of residual-sr to begin with, not of {file.system}"
        raise InputError(f"{options.start}: {needed}")
    begun = from_file(file, options.start)
    if options.stage == "student" and begun.configuration.stage != "teacher":
        raise InputError(f"{options.start}: a student needs a teacher, and this is one {begun.configuration.stage}")
    if options.stage != "enlarger" and not begun.configuration.deviations:
        raise InputError(f"{options.start}: the model has no deviations of what it misses, which a network needs")
    if options.condition != begun.configuration.condition:
        raise InputError(
            f"{options.start}: the model is for the condition {begun.configuration.condition}, not {options.condition}"
        )
    return begun


def _settings(options: Options, begun: Trained | None) -> Settings:
    """Complete the options by their defaults, and by what the model to begin with has."""
    names = {field.name for field in dataclasses.fields(Settings)} - {"width", "blocks", "precision"}
    values: dict[str, Any] = {name: value for name, value in vars(options).items() if name in names}
    values["sampling_steps"] = int(options.sampling_steps)
    prefix = "" if options.stage == "enlarger" else "detail_"
    given = {"width": options.width, "blocks": options.blocks}
    own: dict[str, Any] = {f"{prefix}{name}": value for name, value in given.items() if value is not None}
    if begun is None:
        return Settings(**values, **own)
    taken = {"width", "blocks", "deviations"}
    if options.stage == "student":
        taken |= {"detail_width", "detail_blocks", "sampling_steps", "kappa"}
    shared = {name: getattr(begun.configuration, name) for name in taken}
    if any(shared.get(name, value) != value for name, value in own.items()):
        raise InputError(f"{options.start or 'small'}: the model has other widths or blocks than this training")
    steps = {"steps": _STUDENT_STEPS} if options.stage == "student" else {}
    return Settings(**{**values, **own, **shared, **steps})


def _recipe(
    settings: Settings, begun: Trained | None, looks: Sequence[Pairs], request: TrainingRequest
) -> EnlargingRecipe | DetailRecipe:
    """Build the network that is trained, from the seed or from the model to begin with, and its training."""
    source = NoiseSource(fold(request.seed, "weights"))

    def draw(shape: torch.Size, name: str) -> Tensor:
        return source.normal(shape, name)

    if settings.stage == "enlarger":
        network = EnlargingNetwork(settings.shape, draw)
        if begun is not None:
            network.load_state_dict(begun.network.state_dict())
        return EnlargingRecipe(settings, network.to(request.device), looks)
    assert begun is not None
    enlarger = copy.deepcopy(begun.network).to(request.device)
    detail = settings.detail(DetailNetwork(settings.detail_shape, draw).to(request.device))
    if settings.stage == "teacher":
        return DetailRecipe(settings, enlarger, detail, looks)
    assert begun.detail is not None
    detail.network.load_state_dict(begun.detail.network.state_dict())
    begun.detail.network.requires_grad_(False).eval().to(request.device)
    return DetailRecipe(settings, enlarger, detail, looks, Teaching(begun.detail, _error_maps(settings, request)))


def _error_maps(settings: Settings, request: TrainingRequest) -> ErrorMapLoss | None:
    if not settings.error_maps:
        return None
    maps = ErrorMapLoss.load(ErrorMaps(distance=settings.distance), on_remark=request.remark)
    if min(FACTORS) * settings.crop < maps.least:
        least = math.ceil(maps.least / min(FACTORS))
        raise InputError(f"error maps with {settings.distance} need crops of {least} pixels: --crop {least}")
    return maps.to(request.device)


def _of(batches: PairBatches, factor: int) -> list[Pairs]:
    return [batches.of(factor, step) for step in range(_MEASURED)]


def _batches(folders: Sequence[Path], settings: Settings, request: TrainingRequest, name: str) -> PairBatches:
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
    return PairBatches(sources, settings.crop, settings.condition, settings.soft, seed)


def _memory(settings: Settings) -> float:
    """Bytes of what is between the layers, forward and backward."""
    features = settings.width * settings.blocks
    if settings.stage != "enlarger":  # a student goes through its network three times, and its teacher does not learn
        features += settings.detail_width * settings.detail_blocks * (3 if settings.stage == "student" else 1)
    return 12.0 * features * settings.batch * settings.crop**2


def _fastest(
    settings: Settings, build: Callable[[Settings], EnlargingRecipe | DetailRecipe], pairs: Pairs, on_try: OnTry
) -> str:
    """Choose the precision in which a step took the least time just now."""
    seconds = dict[str, float]()
    for precision in ("float32", "bfloat16"):
        on_try(precision)
        trial = build(dataclasses.replace(settings, precision=precision))
        seconds[precision] = min(_seconds(trial, pairs) for _ in range(3))
    return min(seconds, key=lambda precision: seconds[precision])


def _seconds(recipe: EnlargingRecipe | DetailRecipe, pairs: Pairs) -> float:
    before = time.perf_counter()
    for update in recipe.updates(pairs, torch.Generator()):
        update.loss.backward()  # type: ignore[no-untyped-call]
        update.loss.item()
    return time.perf_counter() - before
