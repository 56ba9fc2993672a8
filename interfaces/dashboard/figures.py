"""Numbers, times and names as people read them; what is unknown is a dash."""

from datetime import UTC, datetime

from markupsafe import Markup

UNKNOWN = Markup('<span class="unknown" aria-label="unknown">–</span>')


def count(number: float | None) -> str | Markup:
    """A whole number with its thousands apart."""
    return UNKNOWN if number is None else f"{number:,.0f}"


def duration(milliseconds: float | None) -> str | Markup:
    """Milliseconds, or seconds from one on."""
    if milliseconds is None:
        return UNKNOWN
    return f"{milliseconds:,.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:,.1f} s"


def dollars(amount: str | float | None) -> str | Markup:
    """US dollars, with as many digits as small amounts need."""
    if amount is None:
        return UNKNOWN
    value = float(amount)
    return f"${value:,.2f}" if value == 0 or value >= 1 else f"${value:.6f}".rstrip("0")


def share(fraction: float | None) -> str | Markup:
    """A fraction, 0 to 1, in per cent."""
    return UNKNOWN if fraction is None else f"{fraction * 100:.1f} %"


def moment(text: str | None) -> Markup:
    """A time in UTC, to the second; the page adds the reader's own time."""
    if text is None:
        return UNKNOWN
    at = datetime.fromisoformat(text).astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), at.strftime("%Y-%m-%d %H:%M:%S")
    )


def badge(status: str) -> Markup:
    """A status as a word with its colour."""
    return Markup('<span class="badge {}">{}</span>').format(status.replace(" ", "-"), status.replace("_", " "))


def shortened(text: str | None, characters: int) -> str:
    """The beginning of a text, on one line."""
    line = " ".join((text or "").split())
    return line if len(line) <= characters else f"{line[: characters - 1]}…"
