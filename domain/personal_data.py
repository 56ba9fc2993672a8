"""Personal data in a text: e-mail addresses, phone numbers, payment cards and IBANs, each replaced by its kind.

Every finder looks at the whole text by itself and what they find is united, so that no half of one thing survives since
another began inside it. What can't be told from a number of another sort (a decimal, a UUID) is left.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cache
from operator import itemgetter
from typing import NamedTuple

from domain.errors import Rejected

EMAIL, PHONE, CARD, IBAN = "[EMAIL]", "[PHONE]", "[CARD]", "[IBAN]"

# The part behind the @ is looked for first: to look for the part before it would take a square of time on a long word.
_BEHIND_AT = re.compile(
    r"@(?:(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.)+[^\W\d_](?:[\w-]{0,61}[^\W_])|\[[0-9A-Fa-f:.]{2,45}\])"
)
_BEFORE_AT = re.compile(r"(?:\"[^\"\r\n]{1,62}\"|[\w.!#$%&'*+/=?^`{|}~-]{1,64})\Z")
MOST_BEFORE_AT = 64

_PHONE = re.compile(r"[+＋][^\S\r\n]?\(?\d(?:[^\S\r\n]?[().\-/‐-―−]{0,2}[^\S\r\n]?\d){5,18}")
FEWEST_PHONE_DIGITS = 6

_CARD_RUN = re.compile(r"\d(?:[ \u00a0\u2007\u202f\-‐-―−]?\d)+")
_DIGITS = re.compile(r"\d+")
FEWEST_CARD_DIGITS, MOST_CARD_DIGITS = 13, 19
FEWEST_GROUPED_DIGITS = 3  # all but the last group of a card; shorter ones are those of a date

_IBAN_START = re.compile(r"(?=([A-Za-z]{2}[0-9]{2}(?:[ \u00a0\u2007\u202f\-‐-―−]?[A-Za-z0-9]){11,30}))")

_UUID = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")


class Span(NamedTuple):
    """Where something lies in a text."""

    start: int
    end: int
    kind: str


def checked_region(region: str) -> str:
    """A region that phone numbers are known of, in capitals. Raises Rejected."""
    import phonenumbers

    if region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise Rejected(
            f"{region!r} is no region with phone numbers; write two letters as in pii:US, or pii alone for +… numbers",
            fields=("preprocess",),
        )
    return region.upper()


def without_personal_data(text: str, *, region: str | None = None) -> tuple[str, dict[str, int]]:
    """The text with each item replaced by its kind, and how many of each kind there were.

    region: whose national phone numbers are looked for too; without one only those that begin with + are.
    """
    numbers = [*_phones(text, region), *_cards(text), *_ibans(text)]
    uuids = [found.span() for found in _UUID.finditer(text)] if numbers else []
    spans = sorted([*_emails(text), *(span for span in numbers if not _inside(span, uuids))])
    pieces: list[str] = []
    counts: Counter[str] = Counter()
    done = 0
    for span in _united(spans):
        pieces += [text[done : span.start], span.kind]
        counts[span.kind] += 1
        done = span.end
    return "".join([*pieces, text[done:]]), dict(counts)


def _united(spans: list[Span]) -> Iterator[Span]:
    """Overlapping spans as one, of the kind of the longest."""
    whole: Span | None = None
    longest = 0
    for span in spans:
        if whole is None or span.start >= whole.end:
            if whole is not None:
                yield whole
            whole, longest = span, span.end - span.start
            continue
        kind = whole.kind
        if span.end - span.start > longest:
            kind, longest = span.kind, span.end - span.start
        whole = Span(whole.start, max(whole.end, span.end), kind)
    if whole is not None:
        yield whole


def _inside(span: Span, wholes: list[tuple[int, int]]) -> bool:
    """Whether a span lies in one of these, which are in order and apart from each other."""
    at = bisect_right(wholes, span.start, key=itemgetter(0)) - 1
    return at >= 0 and span.end <= wholes[at][1]


def _emails(text: str) -> Iterator[Span]:
    last = Span(0, 0, EMAIL)
    for behind in _BEHIND_AT.finditer(text):
        at = behind.start()
        if at == last.end and last.start < last.end:  # a@b.org@c.org
            last = Span(at - 1, behind.end(), EMAIL)
            yield last
            continue
        before = _BEFORE_AT.search(text, max(last.end, at - MOST_BEFORE_AT), at)
        if before is not None:
            last = Span(before.start(), behind.end(), EMAIL)
            yield last


def _phones(text: str, region: str | None) -> Iterator[Span]:
    candidates = list(_PHONE.finditer(text))
    if not candidates and region is None:
        return
    import phonenumbers

    for candidate in candidates:
        ends = [at for at in range(candidate.start() + 1, candidate.end()) if text[at].isdecimal()]
        for count in range(len(ends), FEWEST_PHONE_DIGITS - 1, -1):
            digits = "".join(str(int(text[at])) for at in ends[:count])
            if _is_phone(digits):
                yield Span(candidate.start(), ends[count - 1] + 1, PHONE)
                break
    if region is not None:
        matcher = phonenumbers.PhoneNumberMatcher(
            text, region, leniency=phonenumbers.Leniency.VALID, max_tries=len(text) + 1
        )
        for match in matcher:
            yield Span(match.start, match.end, PHONE)


def _is_phone(digits: str) -> bool:
    import phonenumbers

    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(f"+{digits}", None))
    except phonenumbers.NumberParseException:
        return False


def _cards(text: str) -> Iterator[Span]:
    for run in _CARD_RUN.finditer(text):
        if run.end() - run.start() < FEWEST_CARD_DIGITS:
            continue
        groups = [group.span() for group in _DIGITS.finditer(text, run.start(), run.end())]
        for first in range(len(groups)):
            yield from _cards_from(text, groups[first : first + MOST_CARD_DIGITS])


def _cards_from(text: str, groups: list[tuple[int, int]]) -> Iterator[Span]:
    """Every card that begins with the first group of digits."""
    start, digits = groups[0][0], ""
    for count, (group_start, end) in enumerate(groups, start=1):
        if len(digits) + end - group_start > MOST_CARD_DIGITS:
            return
        digits += text[group_start:end]
        number = count == 1 and _decimal(text, start, end)
        if len(digits) >= FEWEST_CARD_DIGITS and _is_card(digits) and not number:
            yield Span(start, end, CARD)
        if end - group_start < FEWEST_GROUPED_DIGITS:
            return


def _is_card(digits: str) -> bool:
    """Luhn's check, ISO/IEC 7812-1 annex B."""
    backwards = [int(digit) for digit in reversed(digits)]
    doubled = (2 * digit - 9 if digit > 4 else 2 * digit for digit in backwards[1::2])
    return (sum(backwards[0::2]) + sum(doubled)) % 10 == 0


def _decimal(text: str, start: int, end: int) -> bool:
    """Whether digits stand directly before or behind a decimal point."""
    before, behind = text[max(start - 2, 0) : start], text[end : end + 2]
    return (len(before) == 2 and before[0].isdecimal() and before[1] in ".,") or (
        len(behind) == 2 and behind[0] in ".," and behind[1].isdecimal()
    )


def _ibans(text: str) -> Iterator[Span]:
    for found in _IBAN_START.finditer(text):
        start, end = found.span(1)
        length = _iban_length(text[start : start + 2].upper())
        places = [at for at in range(start, end) if text[at].isalnum()][:length]
        if len(places) == length and _is_iban("".join(text[at] for at in places)):
            yield Span(start, places[-1] + 1, IBAN)


@cache
def _iban_length(country: str) -> int:
    """How many characters a country's IBANs have; 0 for one that has none."""
    from stdnum import numdb

    structure = numdb.get("iban").info(country)[0][1].get("bban", "")
    parts = re.findall(r"(\d+)!", structure)
    return 4 + sum(map(int, parts)) if parts else 0


def _is_iban(compact: str) -> bool:
    from stdnum import iban

    # The check of the country's own account number is left out: real accounts fail some of them.
    return iban.is_valid(compact, check_country=False)
