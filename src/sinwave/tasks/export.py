"""Export: a model in the form of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from sinwave.atomic import write_bytes
from sinwave.errors import InputError
from sinwave.options import check, option
from sinwave.systems import table

__all__ = ["Export", "Exported"]


class Exported(NamedTuple):
    """The file, and how many bytes it has."""

    file: Path
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Export:
    """Write an enlarging model in another program's format.

    compact is a .safetensors file that ComfyUI, chaiNNer and other programs with spandrel load as an upscaler. onnx is
    a graph for onnxruntime. Neither contains the step that makes a result agree with its source exactly.
    """

    model: str = option(help="small, or a model file of sinwave train --system residual-sr", positional=True)
    to: Literal["compact", "onnx"] = option("compact", "compact: for ComfyUI (spandrel); onnx needs sinwave[onnx]")
    factor: int = option(4, "how many times it enlarges: 2, 3 or 4", low=2, high=4)
    output: Path | None = option(
        None, "the file (default: MODEL-xFACTOR.safetensors or .onnx)", short="-o", metavar="FILE"
    )
    overwrite: bool = option(False, "replace a file that is there already")

    def __post_init__(self) -> None:
        check(self)
        if self.output is not None and self.output.suffix != self._suffix:
            raise InputError(f"a file of the form {self.to} ends in {self._suffix}, not {self.output.name!r}")

    def run(self) -> Exported:
        """Load, convert, write."""
        path = Path(self.model)
        loaded = table.shipped(self.model)
        if loaded is None and not path.is_file():
            raise InputError(f"model must be small or a model file, and {self.model!r} is none")
        loaded = loaded or table.load(path)
        data = table.export(loaded, self.to, self.factor)
        file = self.output or Path(f"{path.stem}-x{self.factor}{self._suffix}")
        write_bytes(file, data, overwrite=self.overwrite)
        return Exported(file, len(data))

    @property
    def _suffix(self) -> str:
        return {"compact": ".safetensors", "onnx": ".onnx"}[self.to]
