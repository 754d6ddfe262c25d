"""Export: a model in the form of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from sinwave.atomic import make_folder, write_bytes
from sinwave.errors import InputError, OutputError
from sinwave.options import check, option
from sinwave.systems import table

__all__ = ["Export", "Exported"]


class Exported(NamedTuple):
    """The file, and how many bytes it has."""

    file: Path
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write a model in another program's format.

    compact is a .safetensors file that ComfyUI, chaiNNer and other programs with spandrel load as an upscaler. onnx is
    a graph for onnxruntime. Neither contains the step that makes a result agree with its source exactly. diffusers is
    a folder that DDPMPipeline.from_pretrained loads, of a model of --system ddpm --prediction noise.
    """

    model: str = option(
        help="small, a model file of train --system residual-sr or ddpm, or osediff.pkl", positional=True
    )
    to: Literal["compact", "onnx", "diffusers", "safetensors", "osediff"] = option(
        "compact",
        "compact: for ComfyUI (spandrel); onnx needs sinwave[onnx]; diffusers: a folder, for models of ddpm; "
        "safetensors, osediff: for one-step models",
    )
    factor: int | None = option(None, "of a model that enlarges: 2, 3 or 4 (default: 4)", low=2, high=4)
    output: Path | None = option(
        None,
        "the file or folder (default: MODEL-xFACTOR.safetensors or .onnx, MODEL-diffusers)",
        short="-o",
        metavar="FILE",
    )
    overwrite: bool = option(False, "replace what is there already")

    def __post_init__(self) -> None:
        check(self)
        if self.to not in ("compact", "onnx") and self.factor is not None:
            raise InputError("factor is about models that enlarge: leave it out")
        if self._suffix and self.output is not None and self.output.suffix != self._suffix:
            raise InputError(f"a file of the form {self.to} ends in {self._suffix}, not {self.output.name!r}")

    def run(self) -> Exported:
        """Load, convert, write."""
        factor, name = self.factor or 4, Path(self.model).stem
        data = table.export(self.model, self.to, factor)
        scaled = f"{name}-x{factor}" if self.to in ("compact", "onnx") else name
        place = self.output or Path(f"{scaled}{self._suffix}" if self._suffix else f"{name}-{self.to}")
        there = next((place / part for part in data if part and (place / part).exists()), None)
        if there is not None and not self.overwrite:
            raise OutputError(f"{there}: the file exists; --overwrite replaces it, -o chooses another folder")
        for part in data:
            if part:
                make_folder((place / part).parent)
        for part, content in data.items():
            write_bytes(place / part, content, overwrite=self.overwrite)
        return Exported(place, sum(map(len, data.values())))

    @property
    def _suffix(self) -> str:
        endings = {"compact": ".safetensors", "onnx": ".onnx", "safetensors": ".safetensors", "osediff": ".pkl"}
        return endings.get(self.to, "")
