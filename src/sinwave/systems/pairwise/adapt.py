"""An adaptation, put together from a source, a folder of shots and options."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from sinwave.data.batches import Batches
from sinwave.data.likeness import Copies
from sinwave.data.shots import MOST_SHOTS, Shots, shots_of
from sinwave.errors import InputError
from sinwave.images import sheet
from sinwave.nn.local import LocalNetwork
from sinwave.nn.low_rank import changed, drawn_from, of_low_rank
from sinwave.option_kinds import Source as SourceFile
from sinwave.rng import NoiseSource, fold
from sinwave.systems.contracts import Computing, Setup, TrainingRequest
from sinwave.systems.files import Base, ModelFile
from sinwave.systems.pairwise.adapt_options import AdapterConfiguration, LowRankConfiguration, Method, Options, Settings
from sinwave.systems.pairwise.adapt_recipe import LocalRecipe, PairwiseRecipe, folds_of
from sinwave.systems.pairwise.adapter import Adapter
from sinwave.systems.pairwise.marks import MarkedRecipe, Marks
from sinwave.systems.pairwise.model import Drawer, from_file, on_source, source_in
from sinwave.systems.pairwise.pool import Indices, Pool, together
from sinwave.systems.pairwise.recipe import ACTIVATIONS, STATE, SourceRecipe
from sinwave.systems.pairwise.source import Source, moments
from sinwave.training.loop import Budget
from sinwave.training.recipe import Recipe
from sinwave.training.schedule import Trapezoid

__all__ = ["setup"]

_POOL, _LOOKS = 1600, 128
_MOST_POOL = 1 << 29
"""Bytes of the noisy shots and what the source estimates of them."""

_RATES = {"local": 2e-3, "direct": 1.5e-3, "lora": 2e-3, "pairwise": 1e-4}
_GENTLE = 4e-4
"""Of `direct` for networks that answer noise, such as published ones; no larger rate was tried on them."""

_SCHEDULE = Trapezoid(warm_up=20, tail=0.0)
_LOOK_EVERY = 25
_MOST_SHOWN = 32
"""Shots on a sheet."""


def setup(folders: Sequence[Path], options: Options, request: TrainingRequest) -> Setup:
    """Prepare an adaptation of so many steps or minutes."""
    if options.source is None:
        raise InputError("an adaptation needs the model to adapt: --source FILE")
    if len(folders) > 1:
        raise InputError("an adaptation learns from one folder")
    source = source_in(options.source, options.adm or "")
    base = Base(options.source.name, "", SourceFile(options.source).sha256)
    source = dataclasses.replace(source, unet=source.unet.to(request.device))
    request.reserve(_memory(source, options), "--batch makes a step smaller")
    shots = shots_of(folders[0], source.configuration.size, request.remark)
    names = {field.name for field in dataclasses.fields(Settings)} - {"rate"}
    values = {name: value for name, value in vars(options).items() if name in names}
    settings = Settings(**values, rate=options.rate or _rate(options.method, source))
    if options.method == "pairwise":
        _check_pairs(source, settings)
    prepare = {"local": _local, "lora": _low_rank}.get(options.method, _whole)
    recipe, batches, drawer, keep = prepare(source, base, shots, settings, options, request)
    stops = request.steps is None and request.minutes is None
    marks = Marks(Drawer(source), shots.pictures)
    marked = None if drawer is None else MarkedRecipe(recipe, drawer, marks, stops=stops)
    stop = settings.steps if request.steps is None and request.minutes is None else request.steps
    return Setup(
        recipe=marked or recipe,
        batches=batches,
        budget=Budget(stop, 10**9),
        schedule=_SCHEDULE,
        look_every=_LOOK_EVERY,
        samples_every=2 * _LOOK_EVERY,
        average=settings.average,
        settings={
            **dataclasses.asdict(settings),
            **marks.rule,
            "source": base.sha256,
            "field": options.field,
            "rank": options.rank,
        },
        numerics="float32",
        parameters=sum(value.numel() for value in keep(_values(recipe)).weights.values()),
        keep=lambda weights: keep(marked.best.weights if marked and marked.best and marked.kept_look else weights),
        ended=lambda: marked and marked.reason,
        kept_step=lambda: None if marked is None or not marked.kept_look else round(marked.kept_look * _LOOK_EVERY),
        enough=settings.steps // 4,
        size=(source.configuration.size,) * 2,
        sheet=lambda file: _sheet(file, source, shots, request.device),
    )


def _rate(method: Method, source: Source) -> float:
    gentle = method == "direct" and source.configuration.prediction == "noise"
    return _GENTLE if gentle else _RATES[method]


_Prepared = tuple["Recipe[Tensor]", "Batches[Tensor]", Drawer | None, Callable[[Mapping[str, Tensor]], ModelFile]]
"""The last but one draws samples at marks; None if it has no marks."""


def _local(
    source: Source, base: Base, shots: Shots, settings: Settings, options: Options, request: TrainingRequest
) -> _Prepared:
    """An adapter, trained on a pool of noisy shots."""
    means, deviations = source.configuration.means, source.configuration.deviations
    if not means:
        means, deviations = moments([source.seen(shots.pictures)])
    step = 2 if source.configuration.packed else 1
    configuration = AdapterConfiguration(
        size=source.configuration.size,
        channels=source.channels,
        layout=options.adm or "",
        blocks=max(1, (options.field // step - 1) // 2),
        means=means,
        deviations=deviations,
    )
    picture = 4 * 3 * source.channels * math.prod(source.seen(shots.pictures[:1]).shape[2:])
    count = max(MOST_SHOTS, min(_POOL, _MOST_POOL // picture))
    pool = Pool(source, shots.pictures, count, fold(request.seed, "train"), flips=settings.flips)
    looks = Pool(source, shots.pictures, min(_LOOKS, count), fold(request.seed, "held out"))
    batches = Indices(len(pool), settings.batch, request.seed)

    def build(number: int) -> Adapter:
        noise = NoiseSource(fold(request.seed, "weights")).child(number)
        return Adapter(configuration, _drawn_network(configuration, noise).to(request.device))

    recipe = LocalRecipe(settings, source, build(-1), pool, looks, folds_of(build, pool, looks))

    def keep(weights: Mapping[str, Tensor]) -> ModelFile:
        """Take the weights of the best mark, or before the first one the newest."""
        newest = {
            name.removeprefix("adapter."): value for name, value in weights.items() if name.startswith("adapter.")
        }
        best = recipe.best.weights if recipe.best.loss.isfinite() else newest
        return ModelFile("few-shot", configuration.to_json(), {}, best, (), base)

    return recipe, batches, None, keep  # samples of the source cost far more than a step of the adapter


def _values(recipe: Recipe[Tensor]) -> Mapping[str, Tensor]:
    return {name: value.detach() for name, value in recipe.kept.named_parameters() if value.requires_grad}


def _drawn_network(configuration: AdapterConfiguration, noise: NoiseSource) -> LocalNetwork:
    """The network with weights from the seed; its last layers are 0."""
    network = LocalNetwork(configuration.shape)
    for name, parameter in network.named_parameters():
        if parameter.ndim > 1 and parameter.detach().abs().max() > 0:
            parameter.data.copy_(noise.normal(parameter.shape, name) * parameter[0].numel() ** -0.5)
        else:
            parameter.data.zero_()
    return network


def _whole(
    source: Source, base: Base, shots: Shots, settings: Settings, options: Options, request: TrainingRequest
) -> _Prepared:
    """All weights of the source."""
    adapted = dataclasses.replace(source, unet=copy.deepcopy(source.unet).requires_grad_(True))
    batches, looks = _shot_batches(shots, settings, request.seed)

    def keep(weights: Mapping[str, Tensor]) -> ModelFile:
        return ModelFile("ddpm", source.configuration.to_json(), {}, weights, (), base)

    recipe: Recipe[Tensor] = (
        PairwiseRecipe(settings, adapted, source, looks)
        if settings.method == "pairwise"
        else SourceRecipe(adapted, looks, settings.rate, muon=False)
    )
    return recipe, batches, Drawer(adapted), keep


def _low_rank(
    source: Source, base: Base, shots: Shots, settings: Settings, options: Options, request: TrainingRequest
) -> _Prepared:
    """Changes of low rank to all convolutions of the source."""
    configuration = LowRankConfiguration(size=source.configuration.size, rank=options.rank, layout=options.adm or "")
    noise = NoiseSource(fold(request.seed, "weights"))
    unet = drawn_from(of_low_rank(source.unet, options.rank), noise)
    if not changed(unet):
        raise InputError(f"rank is {options.rank}: the layers of {base.id} have no more channels than that")
    adapted = dataclasses.replace(source, unet=unet)
    batches, looks = _shot_batches(shots, settings, request.seed)

    def keep(weights: Mapping[str, Tensor]) -> ModelFile:
        return ModelFile("few-shot", configuration.to_json(), {}, weights, (), base)

    return SourceRecipe(adapted, looks, settings.rate, muon=False), batches, Drawer(adapted), keep


def _shot_batches(shots: Shots, settings: Settings, seed: int) -> tuple[_ShotBatches, list[Tensor]]:
    """Batches to learn from, and those of the held-out losses."""
    batches = _ShotBatches(shots.pictures, settings.batch, seed, settings.flips)
    looks = _ShotBatches(shots.pictures, min(32, 2 * settings.batch), fold(seed, "held out"), False)
    return batches, [looks.at(step) for step in range(2)]


class _ShotBatches:
    """Batches of shots, each as often as the others; several times in a batch if there are few."""

    def __init__(self, shots: Tensor, count: int, seed: int, flips: bool) -> None:
        self._shots, self._flips, self._seed = shots, flips, seed
        self._indices = Indices(len(shots), count, seed)

    def at(self, step: int) -> Tensor:
        """Pictures (count, 3, side, side)."""
        pictures = self._shots[self._indices.at(step)]
        if not self._flips:
            return pictures
        generator = torch.Generator().manual_seed(fold(self._seed, "flip", step))
        mirrored = torch.rand(len(pictures), generator=generator) < 0.5
        return torch.where(mirrored[:, None, None, None], pictures.flip(3), pictures)


def _check_pairs(source: Source, settings: Settings) -> None:
    if source.configuration.prediction != "noise":
        raise InputError(
            "the method pairwise needs a source that answers noise (train --system ddpm --prediction noise): with "
            "pictures its terms change nothing; the method local keeps the variety of any source"
        )
    size = settings.group or settings.batch
    if size < 3 or settings.batch % size:
        raise InputError(
            f"pairwise distances need groups of at least 3 that divide the batch: {size} of {settings.batch}"
        )


def _memory(source: Source, options: Options) -> float:
    shape, size = source.unet.shape, source.configuration.size
    weights = sum(parameter.numel() for parameter in source.unet.parameters())
    positions = size**2 // (4 if source.configuration.packed else 1)
    between = ACTIVATIONS * positions * shape.width * (shape.blocks + 1)
    if options.method == "local":  # the source only estimates; six adapters learn one after another
        return 1e9 + 8.0 * weights + together(positions) * between / 4 + _MOST_POOL + 4e3 * options.batch * positions
    held = 8.0 if options.method == "lora" else STATE
    return 1e9 + held * weights + options.batch * between  # more than twice the pictures without gradients


def _sheet(file: ModelFile, source: Source, shots: Shots, device: torch.device) -> Tensor:
    """Put every sample under the shot that is nearest to it."""
    path = Path("the model")
    trained = from_file(file, path) if file.system == "ddpm" else on_source(file, path, source)
    drawer = trained.build("network", Computing(device, torch.float32))
    side = source.configuration.size
    with torch.inference_mode():
        samples = drawer.generate((side, side), NoiseSource(0).batch(range(8))).cpu()
    near = shots.pictures[Copies(shots.pictures).nearest(samples).original]
    rows = {"nearest shots": _beside(near), "samples": _beside(samples)}
    for first in range(0, min(len(shots.pictures), _MOST_SHOWN), 8):
        names = shots.names[first : first + 8]
        rows[", ".join(names)] = _beside(shots.pictures[first : first + 8])
    return sheet(None, [], inputs=rows, columns=1)


def _beside(pictures: Tensor) -> Tensor:
    """Join pictures (b, 3, h, w) into one row."""
    return torch.cat(list(pictures), 2)
