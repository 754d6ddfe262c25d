"""The training of a diffusion model from a folder, put together from options."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sinwave.data.batches import Prefetched
from sinwave.data.folder import Folder, FolderBatches
from sinwave.data.squares import Squares
from sinwave.errors import InputError
from sinwave.images import sheet
from sinwave.pretrained.files import skeleton
from sinwave.rng import NoiseSource, fold
from sinwave.systems.contracts import Computing, Setup, TrainingRequest
from sinwave.systems.files import ModelFile
from sinwave.systems.pairwise.model import from_file
from sinwave.systems.pairwise.options import BANDS, Options, Settings
from sinwave.systems.pairwise.recipe import ACTIVATIONS, STATE, SourceRecipe, weights_from
from sinwave.systems.pairwise.source import Source, moments
from sinwave.training.loop import Budget
from sinwave.training.schedule import Trapezoid
from sinwave.wavelets import pack

__all__ = ["setup"]

_LOOKS = 4
"""Batches of the held-out loss."""

_MEASURED = 256
"""Pictures by which means and deviations are measured."""

_MOST_MEASURED = 1 << 24
"""Pixels of them."""

_SCHEDULE = Trapezoid(warm_up=50, tail=0.4)


def setup(folders: Sequence[Path], options: Options, request: TrainingRequest) -> Setup:
    """Prepare a training of so many steps or minutes."""
    if len(folders) > 1:
        raise InputError("the system ddpm learns from one folder, whose subfolders count")
    request.reserve(_memory(options), "--size, --batch and --width make a step smaller")
    folder = Folder(folders[0], min_side=options.size, on_remark=request.remark)
    squares = Squares(options.size, options.flips)
    batches = FolderBatches(folder, squares, options.batch, fold(request.seed, "train"))
    held_out = FolderBatches(folder, squares, options.batch, fold(request.seed, "held out"))
    looks = [held_out.at(step) for step in range(_LOOKS)]
    settings = _settings(options, held_out)
    unet = weights_from(settings.shape.build(), NoiseSource(fold(request.seed, "weights")))
    source = Source(settings, unet.to(request.device))
    stop = settings.steps if request.steps is None and request.minutes is None else request.steps
    return Setup(
        recipe=SourceRecipe(source, looks, settings.rate),
        batches=Prefetched(batches, workers=1, ahead=3),
        budget=Budget(stop, 10**9),
        schedule=_SCHEDULE,
        average=settings.average,
        settings=dataclasses.asdict(settings),
        numerics="float32, channels last",
        parameters=sum(parameter.numel() for parameter in unet.parameters()),
        keep=lambda weights: _file(settings, weights),
        enough=settings.steps // 2,
        size=(options.size, options.size),
        sheet=lambda file: _sheet(file, looks[0], request.device),
    )


def _settings(options: Options, batches: FolderBatches) -> Settings:
    """Complete the options, with what is measured on the pictures."""
    names = {field.name for field in dataclasses.fields(Settings)}
    values = {name: value for name, value in vars(options).items() if name in names}
    if options.prediction == "noise":
        return Settings(**values, variance=True, packed=False)
    steps = range(max(1, min(_MEASURED, _MOST_MEASURED // options.size**2) // options.batch))
    means, deviations = moments([pack(batches.at(step)) for step in steps])
    assert len(means) == BANDS
    return Settings(**values, means=means, deviations=deviations)


def _memory(options: Options) -> float:
    """Bytes of weights, of what is between the layers, and of the pictures that are held."""
    packed = options.prediction == "picture"
    shape = Settings(
        width=options.width,
        blocks=options.blocks,
        prediction=options.prediction,
        packed=packed,
        means=(0.0,) * (BANDS * packed),
        deviations=(1.0,) * (BANDS * packed),
    ).shape
    weights = sum(parameter.numel() for parameter in skeleton(shape.build).parameters())
    positions = options.size**2 // (4 if packed else 1)
    between = ACTIVATIONS * options.batch * positions * options.width * (options.blocks + 1)
    return 1e9 + STATE * weights + between + 12.0 * 8 * options.batch * options.size**2


def _file(settings: Settings, weights: Mapping[str, Tensor]) -> ModelFile:
    return ModelFile("ddpm", settings.to_json(), {}, weights)


def _sheet(file: ModelFile, pictures: Tensor, device: torch.device) -> Tensor:
    """Put samples beside a picture that it learns from."""
    model = from_file(file, Path("the model")).build("network", Computing(device, torch.float32))
    side = pictures.shape[2]
    with torch.inference_mode():
        samples = model.generate((side, side), NoiseSource(0).batch(range(15))).cpu()
    return sheet(pictures[0], samples)
