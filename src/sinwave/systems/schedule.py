"""The noise levels that a latent diffusion model was trained with, and the times of a walk through some of them.

    x_t = sqrt(abar_k) x_0 + sqrt(1 - abar_k) eps       at t = k / T,   k = 1 .. T;   the network counts k - 1 from 0

Of a scheduler of diffusers only that is taken, not its rule of a step: `VariancePreserving` and `Ddim` walk. The times
of N steps are spaced as the scheduler says (Lin et al., "Common diffusion noise schedules and sample steps are flawed",
WACV 2024, table 2), with k - 1 in falling order:

    leading     i (T // N) + offset          i = 0 .. N - 1
    trailing    round(T - i T / N) - 1
    linspace    round(i (T - 1) / (N - 1))
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast, final, get_args

from sinwave.diffusion.process import VariancePreserving
from sinwave.errors import InputError
from sinwave.pretrained.folder import Json, config

__all__ = ["Prediction", "Schedule"]

Prediction: TypeAlias = Literal["epsilon", "sample", "v_prediction"]
Spacing: TypeAlias = Literal["leading", "trailing", "linspace"]

_LINSPACE = (
    "LMSDiscreteScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler",
)
_SCHEDULERS = ("DDIMScheduler", "PNDMScheduler", *_LINSPACE)
_MOST_STEPS = 10_000


@final
@dataclass(frozen=True)
class Schedule:
    """A process and what its network answers; `clip` is the range of an estimate, if it has one."""

    process: VariancePreserving
    prediction: Prediction = "epsilon"
    spacing: Spacing = "leading"
    offset: int = 0
    ends_clean: bool = True
    clip: float | None = None

    @classmethod
    def read(cls, folder: Path) -> Schedule:
        """Read the schedule of a pipeline; an `InputError` names what is not supported."""
        values = _Values(config(folder, "scheduler", *_SCHEDULERS), f"{folder}: the scheduler's")
        name = values.content["_class_name"]
        for option in ("thresholding", "rescale_betas_zero_snr", "use_flow_sigmas"):
            if values.flag(option, False):
                raise InputError(f"{values.subject} {option} is true, which is not supported")
        spacing: Spacing = "linspace" if name in _LINSPACE else "leading"
        clipped = name == "DDIMScheduler" and values.flag("clip_sample", True)
        return cls(
            _process(values),
            cast(Prediction, values.choice("prediction_type", "epsilon", get_args(Prediction))),
            cast(Spacing, values.choice("timestep_spacing", spacing, get_args(Spacing))),
            values.whole("steps_offset", 0, 0, _MOST_STEPS),
            values.flag("set_alpha_to_one", name != "PNDMScheduler"),
            values.number("clip_sample_range", 1.0) if clipped else None,
        )

    @property
    def total(self) -> int:
        """The steps of the training, T."""
        return len(self.process.alphas_cumprod) - 1

    def check(self, steps: int) -> None:
        """Refuse a number of steps that the training does not have."""
        if not 2 <= steps <= self.total:
            raise InputError(f"steps must be between 2 and {self.total} for this model, not {steps}")
        if self._indices(steps)[0] >= self.total:
            raise InputError(f"steps is {steps}: {self.offset} further on, they go beyond this model's {self.total}")

    def times(self, steps: int) -> tuple[float, ...]:
        """The times of a walk of so many steps, from noise to the end."""
        self.check(steps)
        times = [(index + 1) / self.total for index in self._indices(steps)]
        end = 0.0 if self.ends_clean else 1 / self.total
        return (*times, end) if end < times[-1] else tuple(times)

    def _indices(self, steps: int) -> list[int]:
        if self.spacing == "leading":
            return [(steps - 1 - i) * (self.total // steps) + self.offset for i in range(steps)]
        if self.spacing == "trailing":
            return [round(self.total - i * self.total / steps) - 1 for i in range(steps)]
        return [round((steps - 1 - i) * (self.total - 1) / (steps - 1)) for i in range(steps)]


def _process(values: _Values) -> VariancePreserving:
    total = values.whole("num_train_timesteps", 1000, 2, _MOST_STEPS)
    betas = values.content.get("trained_betas")
    if betas is not None:
        if not isinstance(betas, list) or not all(isinstance(beta, float) and 0 < beta < 1 for beta in betas):
            raise InputError(f"{values.subject} trained_betas are no list of numbers between 0 and 1")
        return VariancePreserving.from_betas(betas)
    first, last = values.number("beta_start", 1e-4), values.number("beta_end", 0.02)
    schedule = values.choice("beta_schedule", "linear", ("linear", "scaled_linear", "squaredcos_cap_v2"))
    if schedule == "squaredcos_cap_v2":
        return VariancePreserving.cosine(total)
    if not 0 < first <= last < 1:
        raise InputError(f"{values.subject} beta_start is {first} and beta_end {last}: 0 < start <= end < 1 is needed")
    return (VariancePreserving.linear if schedule == "linear" else VariancePreserving.scaled_linear)(total, first, last)


@final
@dataclass(frozen=True)
class _Values:
    """The entries of a configuration, read with their types."""

    content: Json
    subject: str

    def flag(self, name: str, default: bool) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise self._refusal(name, "true or false")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self._get(name, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._refusal(name, f"a whole number from {low} to {high}")
        return value

    def number(self, name: str, default: float) -> float:
        value = self._get(name, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value < math.inf:
            raise self._refusal(name, "a positive number")
        return float(value)

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        value = self._get(name, default)
        if value not in choices:
            raise self._refusal(name, " or ".join(choices))
        return cast(str, value)

    def _get(self, name: str, default: Any) -> Any:
        return self.content.get(name, default)

    def _refusal(self, name: str, allowed: str) -> InputError:
        return InputError(f"{self.subject} {name} is {str(self.content.get(name))[:40]!r}: it must be {allowed}")
