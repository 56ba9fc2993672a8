"""Cut texts into requests that a provider takes: by their number, and by an estimate of their tokens."""

from collections.abc import Sequence
from typing import NamedTuple

from domain.errors import ProviderFailed

TEXTS_PER_REQUEST = 256
TOKENS_PER_REQUEST = 200_000  # OpenAI takes 300,000; what is refused all the same is split
BYTES_PER_TOKEN = 2  # English has four, most other writing two or three: an estimate that is rather too high
REQUESTS_IN_FLIGHT = 4

# What the provider said no to, rather than that it was asked too much or by the wrong person.
REFUSALS = frozenset({"bad_request", "unprocessable", "content_filter"})
TOO_LARGE_STATUS = 413
TOO_LARGE_WORDS = ("too large", "too long", "too many", "at most", "maximum", "max_", "limit", "batch size", "exceed")


Place = tuple[str, str]  # an endpoint and a model there


class Text(NamedTuple):
    """A normalised text under the hash of everything that its vector depends on."""

    key: str
    text: str


class TextBatches:
    """How many texts an endpoint takes at a time, which is learnt from its refusals. Shared by all tasks."""

    def __init__(
        self, *, texts_per_request: int = TEXTS_PER_REQUEST, tokens_per_request: int = TOKENS_PER_REQUEST
    ) -> None:
        self._texts_per_request = texts_per_request
        self._tokens_per_request = tokens_per_request
        self._learnt: dict[Place, int] = {}

    def end_of_batch(self, texts: Sequence[Text], start: int, *, place: Place) -> int:
        """Where the batch that begins at `start` ends: at least one text further on."""
        most = self._learnt.get(place, self._texts_per_request)
        tokens = 0
        for end in range(start, min(start + most, len(texts))):
            tokens += estimated_tokens(texts[end].text)
            if tokens > self._tokens_per_request and end > start:
                return end
        return min(start + most, len(texts))

    def refused(self, failure: ProviderFailed, count: int, *, place: Place) -> None:
        """A batch of so many texts was refused: if that was for its size, later ones are at most half as large.

        If a single text is refused, it was that one which was too large, and what was learnt from it is forgotten.
        """
        if count == 1:
            self._learnt.pop(place, None)
        elif says_too_large(failure):
            most = self._learnt.get(place, self._texts_per_request)
            self._learnt[place] = min(most, count // 2)


def estimated_tokens(text: str) -> int:
    """Tokens of a text, rather too many than too few."""
    size = len(text) if text.isascii() else len(text.encode(errors="replace"))
    return size // BYTES_PER_TOKEN + 1


def may_be_split(failure: ProviderFailed) -> bool:
    """Whether some of a batch's texts may be taken where all of them together were refused."""
    return failure.kind in REFUSALS


def says_too_large(failure: ProviderFailed) -> bool:
    """Whether a refusal names the size as its reason. Each provider words that in its own way."""
    said = str(failure).lower()
    return failure.http_status == TOO_LARGE_STATUS or any(word in said for word in TOO_LARGE_WORDS)
