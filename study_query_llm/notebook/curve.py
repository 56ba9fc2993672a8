"""A metric against K as a small picture: a line, its spread as a band, and the chosen K."""

from collections.abc import Sequence

from markupsafe import Markup

WIDTH, HEIGHT, MARGIN = 260.0, 90.0, 10.0
PICTURE = Markup(
    '<figure style="display:inline-block;margin:.3em 1em .3em 0"><figcaption style="font-size:.9em;opacity:.75">{title}'
    '</figcaption><svg role="img" aria-label="{spoken}" width="260" height="90" viewBox="0 0 260 90">{inside}</svg>'
    "</figure>"
)
Point = tuple[float, float]


def curve(
    title: str,
    k_values: Sequence[int],
    values: Sequence[float | None],
    *,
    spread: Sequence[float | None] | None = None,
    chosen_k: int | None = None,
) -> Markup:
    """Draw it; a value that is missing leaves a gap. Nothing where all are missing."""
    known = [
        (k, value, (spread[place] if spread else 0.0) or 0.0)
        for place, (k, value) in enumerate(zip(k_values, values, strict=True))
        if value is not None
    ]
    if not known:
        return Markup("")
    low, high = min(value - width for _, value, width in known), max(value + width for _, value, width in known)

    def at(k: int, value: float) -> Point:
        return _place(k, k_values[0], k_values[-1], WIDTH), HEIGHT - _place(value, low, high, HEIGHT)

    line = [at(k, value) for k, value, _ in known]
    band = [at(k, value + width) for k, value, width in known]
    band += [at(k, value - width) for k, value, width in reversed(known)]
    pieces = [
        Markup('<polygon points="{}" fill="#0072b2" fill-opacity=".2"/>').format(_points(band)) if spread else "",
        Markup('<polyline points="{}" fill="none" stroke="#0072b2" stroke-width="2"/>').format(_points(line)),
        *(
            Markup('<circle cx="{:.1f}" cy="{:.1f}" r="{}" fill="#0072b2"/>').format(x, y, 4 if k == chosen_k else 2)
            for (x, y), (k, _, _) in zip(line, known, strict=True)
        ),
    ]
    of_chosen = next((f"; {value:.3f} at K = {k}, the chosen one" for k, value, _ in known if k == chosen_k), "")
    return PICTURE.format(
        title=f"{title}{of_chosen}",
        spoken=f"{title} against K from {k_values[0]} to {k_values[-1]}{of_chosen}",
        inside=Markup("").join(pieces),
    )


def _place(value: float, low: float, high: float, length: float) -> float:
    """Where a value stands along a side of the picture."""
    share = 0.5 if high == low else (value - low) / (high - low)
    return MARGIN + share * (length - 2 * MARGIN)


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
