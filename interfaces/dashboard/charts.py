"""Charts of what doesn't change while somebody looks, as SVG without a script.

A picture stretches to the width that there is, and its lines and letters don't: so what is written stands beside the
SVG. Values show where the pointer rests. What a chart shows must be on the page as a table as well.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise

from markupsafe import Markup

from interfaces.dashboard.scales import Scale, of_numbers, of_times, of_whole_numbers
from interfaces.report.looks import COLOURS, Series

DASHES = ("none", "6 4", "2 4")  # in pixels
MOST_DOTS = 100  # of a line; where they are more, the line alone is drawn
MOST_TOLD = 250  # moments whose values show at the pointer
SIDE = 1_000  # of the square that is stretched over the place of the picture

Places = Sequence[tuple[float, float] | None]  # of a line's values in that square; None where there is none


def lines_over_time(label: str, series: Mapping[str, Mapping[datetime, float | None]]) -> Markup:
    """A line for each name, from 0 on; a value that is None leaves a gap."""
    times = sorted({at for values in series.values() for at in values})
    across = of_times(times)
    up = of_numbers([value for each in series.values() for value in each.values() if value is not None], from_zero=True)
    seconds = [at.replace(tzinfo=UTC).timestamp() if at.tzinfo is None else at.timestamp() for at in times]
    drawn = [
        _line(number, _places(across, up, seconds, [values.get(at) for at in times]))
        for number, values in enumerate(series.values())
    ]
    every = math.ceil(len(times) / MOST_TOLD)
    told = [
        (each, _told(f"{at:%Y-%m-%d %H:%M}", ((name, values.get(at), "") for name, values in series.items())))
        for each, at in list(zip(seconds, times, strict=True))[::every]
    ]
    spoken = f"{label} from {times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M}"
    return _legend(list(series)) + _picture(spoken, across, up, (*drawn, *_bands(across, told)))


def against_k(spoken: str, k_values: Sequence[int], series: Sequence[Series], chosen_k: int) -> Markup:
    """Numbers against K with their spreads, and the chosen K as a dashed line and a larger dot."""
    across = of_whole_numbers(k_values)
    ends = [end for each in series for low, high in _spread(each) for end in (low, high) if end is not None]
    up = of_numbers(ends, from_zero=False)
    drawn = [_upright(across.place(chosen_k))]
    for number, each in enumerate(series):
        if each.spread is not None:
            drawn.append(_band(number, across, up, k_values, _spread(each)))
        places = _places(across, up, k_values, each.values)
        chosen = [place for k, place in zip(k_values, places, strict=True) if k == chosen_k]
        drawn += [_line(number, places), _dots(number, chosen, size=11)]
    told = [
        (k, _told(f"K = {k}", ((each.name, each.values[at], _more(each, at)) for each in series)))
        for at, k in enumerate(k_values)
    ]
    names = [each.name for each in series]
    return _legend(names) + _picture(spoken, across, up, (*drawn, *_bands(across, told)), below="K, number of clusters")


def ranges(label: str, rows: Sequence[tuple[str, float, float, float]]) -> Markup:
    """For each name a value in the middle, one that is seldom passed and one that is hardly ever: p50, p95, p99."""
    scale = of_numbers([each for row in rows for each in row[1:]], from_zero=True)
    drawn = Markup("").join(_range(scale, *row) for row in rows)
    return Markup(
        '<div class="ranges" role="img" aria-label="{}: p50, p95 and p99 of {} models">{}<span></span>{}</div>'
        '<p class="axis">{}</p>'
    ).format(label, len(rows), drawn, _ticks(scale, "left"), label)


def _range(scale: Scale, name: str, p50: float, p95: float, p99: float) -> Markup:
    middle, seldom, hardly = (round(scale.place(each) * SIDE) for each in (p50, p95, p99))
    lines = Markup('<path d="M{0} 500H{2}" stroke-width="2"/><path d="M{0} 500H{1}" stroke-width="9" opacity=".45"/>')
    return Markup(
        '<span class="name">{}</span><svg {} style="stroke: {}"><title>{}</title>{}{}'
        '<path d="M{} 500h0" stroke-width="10" stroke-linecap="round"/></svg>'
    ).format(
        name,
        STRETCHED,
        COLOURS[0],
        f"{name}\np50 {p50:,.0f} ms\np95 {p95:,.0f} ms\np99 {p99:,.0f} ms",
        lines.format(middle, seldom, hardly),
        Markup('<rect width="{}" height="{}" fill="transparent" stroke="none"/>').format(SIDE, SIDE),
        middle,
    )


STRETCHED = Markup('viewBox="0 0 {0} {0}" preserveAspectRatio="none"').format(SIDE)


def _picture(spoken: str, across: Scale, up: Scale, drawn: Iterable[Markup], *, below: str = "") -> Markup:
    rules = Markup("").join(
        Markup('<path class="rule" d="M0 {:.0f}H{}"/>').format((1 - up.place(value)) * SIDE, SIDE)
        for value, _ in up.ticks
    )
    widest = max((written for _, written in up.ticks), key=len)
    return Markup(
        '<div class="chart" role="img" aria-label="{}"><div class="up"><span class="widest">{}</span>{}</div>'
        "<svg {}>{}{}</svg><span></span>{}</div>{}"
    ).format(
        spoken,
        widest,
        _ticks(up, "bottom"),
        STRETCHED,
        rules,
        Markup("").join(drawn),
        _ticks(across, "left"),
        Markup('<p class="axis">{}</p>').format(below) if below else "",
    )


def _ticks(scale: Scale, side: str) -> Markup:
    written = Markup("").join(
        Markup('<span style="{}: {:.1f}%">{}</span>').format(side, scale.place(value) * 100, each)
        for value, each in scale.ticks
    )
    return Markup('<div class="ticks {}">{}</div>').format(side, written)


def _legend(names: Sequence[str]) -> Markup:
    """Which line is whose, where there are several."""
    if len(names) < 2:
        return Markup("")
    keys = Markup("").join(
        Markup('<li><svg viewBox="0 0 28 8" width="28" height="8" aria-hidden="true">{}</svg> {}</li>').format(
            Markup('<path d="M0 4H28" style="{}"/>').format(_look(number)), name
        )
        for number, name in enumerate(names)
    )
    return Markup('<ul class="legend">{}</ul>').format(keys)


def _look(number: int) -> str:
    dash = DASHES[number // len(COLOURS) % len(DASHES)]
    return f"stroke: {COLOURS[number % len(COLOURS)]}; stroke-width: 2; stroke-dasharray: {dash}; fill: none"


def _places(across: Scale, up: Scale, at: Sequence[float], values: Sequence[float | None]) -> Places:
    return [
        None if value is None else (across.place(each) * SIDE, (1 - up.place(value)) * SIDE)
        for each, value in zip(at, values, strict=True)
    ]


def _line(number: int, places: Places) -> Markup:
    """A line with gaps, and its dots; where they are many, only those between two gaps, which no line leads to."""
    words, alone, follows = [], [], False
    for place, following in zip(places, (*places[1:], None), strict=True):
        if place is not None:
            words.append(f"{'L' if follows else 'M'}{place[0]:.1f} {place[1]:.1f}")
            if not follows and following is None:
                alone.append(place)
        follows = place is not None
    line = Markup('<path d="{}" style="{}"/>').format("".join(words), _look(number))
    return line + _dots(number, places if len(words) <= MOST_DOTS else alone, size=6)


def _dots(number: int, places: Places, *, size: int) -> Markup:
    words = "".join(f"M{place[0]:.1f} {place[1]:.1f}h0" for place in places if place is not None)
    return Markup('<path d="{}" stroke="{}" stroke-width="{}" stroke-linecap="round"/>').format(
        words, COLOURS[number % len(COLOURS)], size
    )


def _spread(series: Series) -> list[tuple[float | None, float | None]]:
    spread = series.spread or [0.0] * len(series.values)
    return [
        (None, None) if value is None else (value - (each or 0.0), value + (each or 0.0))
        for value, each in zip(series.values, spread, strict=True)
    ]


def _band(
    number: int, across: Scale, up: Scale, at: Sequence[float], ends: Sequence[tuple[float | None, float | None]]
) -> Markup:
    """What lies between two lines, from each place where both are to the next."""
    lows, highs = (_places(across, up, at, [each[end] for each in ends]) for end in (0, 1))
    corners = [(low, high) for low, high in zip(lows, highs, strict=True)]
    words = [
        f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}L{c[0]:.1f} {c[1]:.1f}L{d[0]:.1f} {d[1]:.1f}Z"
        for (a, b), (d, c) in pairwise(corners)
        if a is not None and b is not None and c is not None and d is not None
    ]
    return Markup('<path d="{}" style="fill: {}; fill-opacity: .2"/>').format(
        "".join(words), COLOURS[number % len(COLOURS)]
    )


def _upright(place: float) -> Markup:
    return Markup('<path class="chosen" d="M{:.1f} 0V{}"/>').format(place * SIDE, SIDE)


def _told(head: str, values: Iterable[tuple[str, float | None, str]]) -> str:
    """The lines that show at the pointer."""
    lines = (f"{name}: {_figure(value)}{more}" for name, value, more in values if value is not None)
    return "\n".join((head, *lines))


def _more(series: Series, at: int) -> str:
    spread = None if series.spread is None else series.spread[at]
    return "" if spread is None else f" ± {spread:.4f}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 or value == int(value) else f"{value:,.4g}"


def _bands(across: Scale, told: Sequence[tuple[float, str]]) -> list[Markup]:
    """Upright bands over the picture that nobody sees; each tells what is beneath it."""
    places = [across.place(at) * SIDE for at, _ in told]
    borders = [0.0, *((first + second) / 2 for first, second in pairwise(places)), float(SIDE)]
    return [
        Markup('<rect class="told" x="{:.1f}" width="{:.1f}" height="{}"><title>{}</title></rect>').format(
            left, right - left, SIDE, text
        )
        for (left, right), (_, text) in zip(pairwise(borders), told, strict=True)
    ]
