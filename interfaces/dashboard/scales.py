"""Where the numbers and times of a chart's axes stand, and how they are written."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

MOST_TICKS = 6
NICE = (1.0, 2.0, 2.5, 5.0, 10.0)
MINUTE, HOUR, DAY = 60, 3_600, 86_400
NICE_SECONDS = (
    *(MINUTE * each for each in (1, 5, 15, 30)),
    *(HOUR * each for each in (1, 3, 6, 12)),
    *(DAY * each for each in (1, 2, 7, 14, 28, 91, 182, 364)),
)


class Scale(NamedTuple):
    """An axis from low to high, with its ticks as (value, how it is written)."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]

    def place(self, value: float) -> float:
        """Where a value stands, 0 at the low end and 1 at the high one."""
        return (value - self.low) / (self.high - self.low)


def of_numbers(values: Sequence[float], *, from_zero: bool) -> Scale:
    """A scale of these values that begins and ends at a tick; from_zero: whether it has 0 in it."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        low, high = (low, low + 1) if low == 0 else (low - abs(low) / 2, high + abs(high) / 2)
    step = _nice_step((high - low) / (MOST_TICKS - 1))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9) + (f"{step:e}"[2] != "0"))
    ticks = tuple((number * step, f"{number * step:,.{digits}f}") for number in range(first, last + 1))
    return Scale(first * step, last * step, ticks)


def of_whole_numbers(values: Sequence[int]) -> Scale:
    """A scale from the least to the most of these, with ticks at whole numbers and some room at both ends."""
    low, high = min(values), max(values)
    step = max(1, math.ceil(_nice_step((high - low) / (2 * MOST_TICKS) or 1.0)))
    ticks = tuple((float(each), str(each)) for each in range(-(-low // step) * step, high + 1, step))
    room = max((high - low) * 0.03, 0.1)
    return Scale(low - room, high + room, ticks)


def of_times(times: Sequence[datetime]) -> Scale:
    """A scale of times, in seconds since 1970, with ticks at whole minutes, hours or days in UTC."""
    low, high = _seconds(min(times)), _seconds(max(times))
    if low == high:
        low, high = low - HOUR, high + HOUR
    step = next((each for each in NICE_SECONDS if (high - low) / each <= MOST_TICKS), (high - low) / MOST_TICKS)
    numbers = range(math.ceil(low / step), math.floor(high / step) + 1)
    return Scale(low, high, tuple((number * step, _written(number * step, step)) for number in numbers))


def _nice_step(least: float) -> float:
    """The least nice number that is no less than this positive one."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(each * power for each in NICE if each * power >= least * (1 - 1e-9))


def _written(seconds: float, step: float) -> str:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    midnight = (at.hour, at.minute) == (0, 0)
    return f"{at.day} {at:%b}" if step >= DAY or midnight else f"{at:%H:%M}"


def _seconds(at: datetime) -> float:
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
