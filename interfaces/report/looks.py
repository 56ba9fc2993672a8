"""How lines and clusters look in every picture; without Bokeh, which a server loads when a map is asked for."""

from collections.abc import Sequence
from typing import NamedTuple

# Okabe and Ito's colours, without the two that vanish on white or on black; the shape tells further clusters apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
SHAPES = ("circle", "square", "triangle", "inverted_triangle", "diamond", "hex")
NOISE_LOOK = ("#8a929b", "x")


class Series(NamedTuple):
    """A line of a chart: one value for each K, None where there is none; `spread` is what `spread_name` says."""

    name: str
    values: Sequence[float | None]
    spread: Sequence[float | None] | None = None
    spread_name: str = "standard deviation"


def look_of(cluster: int) -> tuple[str, str]:
    """A cluster's colour and shape; 36 clusters differ, further ones repeat. Noise, −1, looks like none of them."""
    if cluster < 0:
        return NOISE_LOOK
    return COLOURS[cluster % len(COLOURS)], SHAPES[cluster // len(COLOURS) % len(SHAPES)]
