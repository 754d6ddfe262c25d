"""The table of all systems, and the doors to each: the only place where a system is named.

Another package adds a system by the entry point `NAME = "module:SYSTEM"` in the group `sinwave.systems`, where SYSTEM
is a `System`. It is imported when it is asked for, and never stands in for a system of this table.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, final

from sinwave.errors import InputError
from sinwave.systems.contracts import MOST_HEADER, Estimate, Loaded, Size

if TYPE_CHECKING:
    from sinwave.images import Picture
    from sinwave.systems.files import ModelFile

__all__ = [
    "SYSTEMS",
    "System",
    "about",
    "estimate",
    "export",
    "find",
    "foreign",
    "has_shipped",
    "is_folder",
    "is_model_file",
    "load",
    "of_picture",
    "opened",
    "parts",
    "shipped",
]

GROUP = "sinwave.systems"


class System(NamedTuple):
    """A system and its doors, each written "module:attribute" so that nothing is imported before it is needed.

    options      a frozen dataclass of what a user may set in a training; its module loads without torch
    setup        `setup(pictures, options, request) -> Setup`; pictures are paths unless it learns from a picture
    load         `load(file, path) -> Loaded`, a model file ready to draw
    enlarges     whether its models enlarge a picture instead of drawing one
    shipped      `shipped(name, steps) -> Loaded`, a model that comes with the package or is published, one of `ships`
    foreign      `foreign(path, steps) -> Loaded`, weights of another program
    about        `about(path)`, facts of such weights by name, which need nothing else
    suffix       the ending of such files, if the system has one of its own
    folder       `folder(path, steps) -> Loaded`, a folder of another program's parts
    export       `export(loaded, form, factor)`, a model in the form of another program: bytes, or bytes by file name
    untrained    `untrained(picture) -> Loaded`, for a system that also draws from a picture with nothing to train
    cost         an estimate of the time and memory that drawing takes; its module loads without torch
    """

    name: str
    summary: str
    options: str | None = None
    setup: str | None = None
    load: str | None = None
    learns_from: Literal["picture", "folder", "pairs"] = "picture"
    enlarges: bool = False
    untrained: str | None = None
    cost: str | None = None
    shipped: str | None = None
    ships: tuple[str, ...] = ()
    foreign: str | None = None
    about: str | None = None
    suffix: str | None = None
    folder: str | None = None
    export: str | None = None

    def door(
        self,
        name: Literal[
            "options", "setup", "load", "untrained", "cost", "shipped", "foreign", "about", "folder", "export"
        ],
    ) -> Any:
        """Import what stands behind a door; `InputError` if the system has none or if it does not open."""
        place: str | None = getattr(self, name)
        if place is None:
            lacks = {"untrained": "draws nothing without training", "cost": "has no estimate of its cost"}
            raise InputError(f"the system {self.name} {lacks.get(name, f'has no {name}')}")
        module, _, attribute = place.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise InputError(f"the system {self.name} cannot be loaded: {error}") from error


@final
class _Systems(Mapping[str, System]):
    """The built-in systems, and those of other packages."""

    def __init__(self, *systems: System) -> None:
        self._systems = {system.name: system for system in systems}

    def __getitem__(self, name: str) -> System:
        return self._systems[name] if name in self._systems else _loaded(_added()[name])

    def __iter__(self) -> Iterator[str]:
        return iter([*self._systems, *sorted(_added().keys() - self._systems)])

    def __len__(self) -> int:
        return len(list(iter(self)))


SYSTEMS: Mapping[str, System] = _Systems(
    System(
        "wavelet",
        "diffusion in wavelet bands",
        options="sinwave.systems.wavelet.options:Options",
        setup="sinwave.systems.wavelet.train:setup",
        load="sinwave.systems.wavelet.network:from_file",
        untrained="sinwave.systems.wavelet.closed_form:Untrained",
        cost="sinwave.systems.wavelet.options:estimate",
    ),
    System(
        "singan",
        "the adversarial pyramid that it is compared with",
        options="sinwave.systems.singan.options:Options",
        setup="sinwave.systems.singan.train:setup",
        load="sinwave.systems.singan.model:from_file",
    ),
    System(
        "residual-sr",
        "super-resolution, learned from a folder",
        options="sinwave.systems.residual_sr.options:Options",
        setup="sinwave.systems.residual_sr.train:setup",
        load="sinwave.systems.residual_sr.model:from_file",
        learns_from="folder",
        enlarges=True,
        shipped="sinwave.systems.residual_sr.model:shipped",
        ships=(
            "small",
            "photo",
            "resshift-v1",
            "resshift-v2",
            "resshift-v3",
            "resshift-bicubic",
            "sinsr-v1",
            "sinsr-v2",
        ),
        foreign="sinwave.systems.residual_sr.foreign:from_weights",
        export="sinwave.systems.residual_sr.export:export",
    ),
    System(
        "ddpm",
        "diffusion, learned from a folder of many pictures",
        options="sinwave.systems.pairwise.options:Options",
        setup="sinwave.systems.pairwise.train:setup",
        load="sinwave.systems.pairwise.model:from_file",
        learns_from="folder",
        export="sinwave.systems.pairwise.diffusers_folder:export",
    ),
    System(
        "few-shot",
        "an adapted ddpm model, learned from about ten pictures",
        options="sinwave.systems.pairwise.adapt_options:Options",
        setup="sinwave.systems.pairwise.adapt:setup",
        load="sinwave.systems.pairwise.model:with_base",
        learns_from="folder",
    ),
    System(
        "latent-sr",
        "super-resolution by published latent diffusion",
        shipped="sinwave.systems.latent_sr.model:shipped",
        ships=("ldm-sr",),
        folder="sinwave.systems.latent_sr.model:from_folder",
    ),
    System(
        "onestep-sr",
        "restoration in one step of a latent diffusion model",
        load="sinwave.systems.onestep_sr.model:from_file",
        enlarges=True,
        shipped="sinwave.systems.onestep_sr.model:shipped",
        ships=("osediff", "osediff-face"),
        foreign="sinwave.systems.onestep_sr.model:from_weights",
        about="sinwave.systems.onestep_sr.official:about",
        suffix=".pkl",
        export="sinwave.systems.onestep_sr.model:export",
    ),
    System(
        "zero-shot",
        "a network that learns to enlarge one picture from itself",
        untrained="sinwave.systems.zero_shot.enlarger:Untrained",
    ),
)


def find(name: str) -> System:
    """The system of that name; `InputError` if there is none, or if its package is broken."""
    try:
        return SYSTEMS[name]
    except KeyError:
        raise InputError(f"system must be one of {', '.join(SYSTEMS)}, not {name!r}") from None


def is_model_file(path: Path) -> bool:
    """Whether a file begins as one of safetensors does, whatever its name: the length of a header, and a brace."""
    try:
        if not path.is_file():  # to open a pipe would wait for ever
            return False
        with path.open("rb") as file:
            start = file.read(9)
    except (OSError, ValueError):
        return False
    return len(start) == 9 and start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MOST_HEADER


def is_folder(path: Path) -> bool:
    """Whether a folder holds the parts of another program's model, in the layout of diffusers."""
    try:
        return (path / "model_index.json").is_file()
    except (OSError, ValueError):
        return False


def parts(path: Path) -> list[Path]:
    """List the files of a model: the file itself, or those of a folder."""
    if not is_folder(path):
        return [path]
    return sorted(part for ending in ("*.json", "*/*.json", "*/*.safetensors") for part in path.glob(ending))


def load(path: Path) -> Loaded:
    """Load the model in a file; `InputError` says what is wrong with it."""
    from sinwave.systems.files import read_model

    return opened(read_model(path), path)


def opened(file: ModelFile, path: Path) -> Loaded:
    """Load the model in a file's content."""
    if file.system not in SYSTEMS or SYSTEMS[file.system].load is None:
        names = ", ".join(name for name in SYSTEMS if SYSTEMS[name].load)
        raise InputError(f"{path}: the model is of the system {file.system}, and this version has {names}")
    loaded: Loaded = SYSTEMS[file.system].door("load")(file, path)
    return loaded


def has_shipped(name: str) -> bool:
    """Whether a model of that name comes with the package, or is published."""
    return any(name in system.ships for system in SYSTEMS.values())


def shipped(name: str, steps: int | None = None) -> Loaded | None:
    """Load the model of that name, which comes with the package or is published; None if there is none."""
    for system in SYSTEMS.values():
        if name in system.ships:
            loaded: Loaded = system.door("shipped")(name, steps)
            return loaded
    return None


def foreign(path: Path, steps: int | None = None) -> Loaded:
    """Load weights of another program, a file or a folder, from which a picture comes in so many `steps`."""
    loaded: Loaded = _of_another(path).door("folder" if is_folder(path) else "foreign")(path, steps)
    return loaded


def about(path: Path) -> Mapping[str, Any] | None:
    """Facts of weights of another program, by name; None if they tell nothing by themselves."""
    if not path.is_file() or (system := _of_another(path)).about is None:
        return None
    facts: Mapping[str, Any] = system.door("about")(path)
    return facts


def export(model: str, form: str, factor: int) -> Mapping[str, bytes]:
    """Encode a model, by its name or file, for another program: the content of one file, of no name, or of several."""
    from sinwave.systems.files import read_model

    if has_shipped(model):
        system = next(system for system in SYSTEMS.values() if model in system.ships)
        loaded = system.door("shipped")(model, None)
    elif is_model_file(Path(model)):
        file = read_model(Path(model))
        loaded, system = opened(file, Path(model)), SYSTEMS[file.system]
    elif Path(model).is_file():
        system = _of_another(Path(model))
        loaded = system.door("foreign")(Path(model), None)
    else:
        raise InputError(f"model must be small or a model file, and {model!r} is none")
    if system.export is None:
        raise InputError(f"{model}: a model of {system.name} has no form for other programs")
    data: bytes | Mapping[str, bytes] = system.door("export")(loaded, form, factor)
    return {"": data} if isinstance(data, bytes) else data


def of_picture(picture: Picture, system: str = "wavelet") -> Loaded:
    """Make what draws from a picture with nothing to train."""
    loaded: Loaded = find(system).door("untrained")(picture)
    return loaded


def estimate(source: Size, size: Size, system: str = "wavelet") -> Estimate:
    """Estimate what drawing a picture of `size` takes, from a picture with nothing to train; without torch."""
    cost: Estimate = find(system).door("cost")(source, size)
    return cost


def _of_another(path: Path) -> System:
    """The system that takes a file or a folder of another program: by its ending, or the one that takes any."""
    able = [system for system in SYSTEMS.values() if (system.folder if is_folder(path) else system.foreign)]
    own = [system for system in able if system.suffix == path.suffix.lower()]
    return next(iter(own or [system for system in able if system.suffix is None]))


def _added() -> dict[str, EntryPoint]:
    return {point.name: point for point in entry_points(group=GROUP)}


def _loaded(point: EntryPoint) -> System:
    package = "another package" if point.dist is None else f"the package {point.dist.name}"
    try:
        system = point.load()
    except Exception as error:  # a stranger's module can raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"the system {point.name} of {package} cannot be loaded ({reason})") from error
    if not isinstance(system, System) or system.name != point.name:
        raise InputError(f"the system {point.name} of {package}: {point.value} is no System of that name")
    return system
