"""Drawing from a diffusion model of many pictures, in the size of its pictures."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NoReturn, TypeVar, final

import torch
from torch import Tensor, nn

from sinwave.diffusion.sample import Denoiser
from sinwave.errors import InputError, MissingError
from sinwave.images import Picture
from sinwave.nn.local import LocalNetwork
from sinwave.nn.low_rank import changed, merged, of_low_rank
from sinwave.nn.unet import UNet
from sinwave.option_kinds import Source as SourceFile
from sinwave.pretrained.files import places
from sinwave.pretrained.published import Weights
from sinwave.rng import Noise
from sinwave.systems.contracts import Ability, Computing, Loaded, OnStep, Progress, ScaleConstraint, Size
from sinwave.systems.files import ModelFile, read_model, with_weights
from sinwave.systems.pairwise import checkpoints
from sinwave.systems.pairwise.adapt_options import AdapterConfiguration, LowRankConfiguration
from sinwave.systems.pairwise.adapter import Adapted, Adapter
from sinwave.systems.pairwise.guided import Guided, Walk
from sinwave.systems.pairwise.options import Configuration
from sinwave.systems.pairwise.source import Source
from sinwave.threads import threads

__all__ = ["Drawer", "Trained", "from_file", "on_source", "source_in", "with_base"]

Network = TypeVar("Network", bound=nn.Module)

BATCH = 16
_TOGETHER = 4
"""Pictures that the estimate of memory counts: on a CPU a worker draws one at a time."""


@final
@dataclass(frozen=True, eq=False)
class Drawer:
    """A `Generator` that knows no single picture, so there is nothing to vary."""

    source: Source
    adapter: Adapter | None = None
    walk: Walk = Walk()
    before: Source | None = None

    @property
    def denoiser(self) -> Denoiser:
        source = self.source
        own = source.denoiser if self.adapter is None else Adapted(source, self.adapter)
        return own if self.before is None else Guided(self.before.denoiser, own, source.process, self.walk)

    @property
    def max_batch(self) -> int:
        """One on a CPU, where a convolution gives other bits in another batch."""
        return 1 if next(self.source.unet.parameters()).device.type == "cpu" else BATCH

    def generate(
        self,
        size: Size,
        noise: Noise,
        *,
        variation: float = 1.0,
        constrain: ScaleConstraint | None = None,
        on_step: OnStep | None = None,
    ) -> Tensor:
        """Draw (b, 3, size, size)."""
        source, side = self.source, self.source.configuration.size
        if size != (side, side):
            raise InputError(f"the model draws {side} x {side} pixels, not {size[1]} x {size[0]}")
        plan = source.plan(self.walk.steps)
        inner = side // 2 if source.configuration.packed else side
        like = next(source.unet.parameters())
        start = noise.normal((noise.count, source.channels, inner, inner), "start", like=like)
        rule = None if constrain is None else constrain(0)

        def constrained(clean: Tensor, t: float) -> Tensor:
            clean = source.constrained(clean)
            return clean if rule is None else source.seen(rule(source.shown(clean)))

        def report(step: int, clean: Tensor) -> None:
            if on_step is not None:
                on_step(Progress(0, 1, step, plan.steps, lambda: source.shown(clean).clamp(-1, 1)))

        x = source.process.at(plan.times[0]).noise * start
        with threads(1 if x.device.type == "cpu" else None):  # more threads give other bits
            drawn = plan.walk(self.denoiser, source.process, source.sampler, x, noise, constrained, report)
        return source.shown(drawn).clamp(-1, 1)


@final
@dataclass(frozen=True, eq=False)
class Trained:
    """The content of a model file, or an adapter with its source.

    before        the model from which this one was adapted, if it guides the walk
    find_before   gives that model, for one whose weights were all adapted
    """

    source: Source
    adapter: Adapter | None = None
    walk: Walk = Walk()
    before: Source | None = None
    find_before: Callable[[], Source] | None = None
    engines: ClassVar[tuple[str, ...]] = ("network",)
    abilities: ClassVar[frozenset[Ability]] = frozenset({"generate"})
    pictures: ClassVar[tuple[Picture, ...]] = ()

    @property
    def size(self) -> Size:
        return (self.source.configuration.size,) * 2

    def build(self, engine: str, computing: Computing) -> Drawer:
        source = replace(self.source, unet=_frozen(self.source.unet, computing))
        adapter = self.adapter and Adapter(self.adapter.configuration, _frozen(self.adapter.network, computing))
        before = self.before and replace(self.before, unet=_frozen(self.before.unet, computing))
        return Drawer(source, adapter, self.walk, before)

    def steered(self, steps: int | None, guidance: float, above: float | None) -> Trained:
        walk = Walk(steps or self.walk.steps, guidance, above)
        if not walk.guided:
            return replace(self, walk=walk)
        if self.adapter is not None:
            return replace(self, walk=walk, before=self.source)
        if self.find_before is None:
            raise InputError("guidance and source-above are about adapted models, and this one was not adapted")
        return replace(self, walk=walk, before=self.find_before())

    def mix(self, others: Sequence[Loaded], shares: Sequence[float], engine: str, computing: Computing) -> NoReturn:
        raise InputError("a model of many pictures cannot be mixed with others")

    def memory(self, engine: str, size: Size) -> float:
        """Estimate the bytes: the weights, and what a batch has between the layers."""
        shape = self.source.unet.shape
        weights = sum(parameter.numel() for parameter in self.source.unet.parameters())
        inner = size[0] * size[1] // (4 if self.source.configuration.packed else 1)
        return 0.4e9 + 8.0 * weights + 4.0 * _TOGETHER * inner * shape.width * 8 * (shape.blocks + 1)


def _frozen(network: Network, computing: Computing) -> Network:
    network = copy.deepcopy(network).requires_grad_(False).eval().to(computing.device, computing.dtype)
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def with_base(file: ModelFile, path: Path) -> Trained:
    """Load an adapter and its source; another one than it was trained with is refused."""
    if file.base is None:
        raise InputError(f"{path}: the adapter does not say which model it changes")
    return on_source(file, path, source_in(_base(file, path), _configuration(file).layout))


def on_source(file: ModelFile, path: Path, source: Source) -> Trained:
    """Load an adapter for a source that is there already: a network beside it, or changes of low rank."""
    configuration = _configuration(file)
    if source.configuration.size != configuration.size:
        raise InputError(f"{path}: the adapter is for pictures of {configuration.size} pixels, unlike its source")
    if isinstance(configuration, AdapterConfiguration):
        if source.channels != configuration.channels:
            raise InputError(f"{path}: the adapter is for {configuration.channels} channels, unlike its source")
        network = with_weights(path, file.weights, lambda: LocalNetwork(configuration.shape))
        return Trained(source, Adapter(configuration, network))

    unet = of_low_rank(source.unet, configuration.rank)
    new = {f"{name}.{part}.weight" for name in changed(unet) for part in ("down", "up")}
    old = {name: value for name, value in unet.state_dict().items() if name not in new}
    if replaced := sorted(old.keys() & file.weights.keys()):
        raise InputError(f"{path}: the adapter has weights of its source, such as {replaced[0]}")

    def build() -> UNet:
        return of_low_rank(source.configuration.shape.build(), configuration.rank)

    whole = merged(with_weights(path, {**old, **file.weights}, build))
    return Trained(replace(source, unet=whole), find_before=lambda: source)


def _configuration(file: ModelFile) -> AdapterConfiguration | LowRankConfiguration:
    if "rank" in file.options:
        return LowRankConfiguration.from_json(file.options)
    return AdapterConfiguration.from_json(file.options)


def source_in(path: Path, layout: str = "") -> Source:
    """Load a model to adapt: a file of ddpm or, by another ending, a checkpoint of ADM."""
    if path.suffix == ".safetensors":
        if layout:
            raise InputError(f"adm is about unpublished checkpoints, and {path} is a model file, which says it")
        file = read_model(path)
        if file.system != "ddpm":
            raise InputError(f"{path}: only models of ddpm can be adapted, and this is one of {file.system}")
        return from_file(file, path).source
    unet, reading = checkpoints.load(path, layout)
    shape = reading.shape
    configuration = Configuration(
        size=reading.size,
        prediction="noise",
        packed=False,
        width=shape.width,
        multipliers=shape.multipliers,
        blocks=shape.blocks,
        attention=shape.attention,
        head=shape.head or 0,
        order=shape.order,
        groups=shape.groups,
        scales=shape.scales,
        resampling=shape.resampling,
        variance=shape.outputs == 6,
        schedule=reading.schedule,
    )
    return Source(configuration, unet)


def _base(file: ModelFile, path: Path) -> Path:
    """Find the file of a source: beside the adapted model, where it was in the training, or among published weights.

    Its hash must be the one that the model was trained with.
    """
    base, training = file.base, file.provenance.get("training")
    assert base is not None
    before = training.get("source") if isinstance(training, dict) else None
    name = Path(base.id).name
    where = [path.parent / name, *([Path(before)] if isinstance(before, str) else []), Path(name)]
    where += places(Weights(name, "", "", ""))
    there = [place for place in dict.fromkeys(where) if place.is_file()]
    for place in there:
        if SourceFile(place).sha256 == base.sha256:
            return place
    if there:
        raise InputError(
            f"{path}: the model was adapted from {base.id} with the hash {base.sha256[:16]}, and that of {there[0]} is "
            f"{SourceFile(there[0]).sha256[:16]}"
        )
    folders = ", ".join(dict.fromkeys(str(place.absolute().parent) for place in where))
    raise MissingError(f"{path}: its source {base.id} is in none of {folders}; put it into one of them")


def from_file(file: ModelFile, path: Path) -> Trained:
    """Load the model in a file; a sentence says what of it does not fit."""
    configuration = Configuration.from_json(file.options)
    source = Source(configuration, with_weights(path, file.weights, configuration.shape.build))
    return Trained(source, find_before=None if file.base is None else lambda: _before(file, path, configuration))


def _before(file: ModelFile, path: Path, configuration: Configuration) -> Source:
    """The model of which all weights were adapted."""
    place = _base(file, path)
    training = file.provenance.get("training")
    layout = training.get("adm") if isinstance(training, dict) else None
    source = source_in(place, layout if isinstance(layout, str) else "")
    if (source.configuration.size, source.channels) != (configuration.size, source.channels):
        raise InputError(f"{path}: the model draws {configuration.size} pixels, unlike {place}")
    return source
