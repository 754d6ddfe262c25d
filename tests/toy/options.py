"""Options of the toy."""

from dataclasses import dataclass

from sinwave.options import check, option


@dataclass(frozen=True, kw_only=True)
class Options:
    """The mean color of pictures."""

    grain: float = option(0.1, "the deviation of the noise", low=0, high=1)
    rate: float = option(0.1, "the learning rate", low=0, high=1)

    def __post_init__(self):
        """Check the values."""
        check(self)
