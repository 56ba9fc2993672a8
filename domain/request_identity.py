"""When two requests are the same: the hashes that the cache and the sharing of calls go by."""

import unicodedata
from typing import Any

from domain.errors import Rejected
from domain.identity import canonical_json, sha256_hex

REQUEST_HASH_VERSION = 1
TEXT_HASH_VERSION = 1


def normalised_text(text: str, *, index: int) -> str:
    """Drop NUL characters, compose to Unicode NFC, strip outer white space. Raises Rejected if nothing is left.

    The rule is part of the hash: changing it means a new TEXT_HASH_VERSION.
    """
    normal = unicodedata.normalize("NFC", text.replace("\0", "")).strip()
    if not normal:
        raise Rejected(f"Text {index} is empty; an empty text has no embedding", fields=(f"texts[{index}]",))
    return normal


def embedding_request_hash(
    *, provider: str, endpoint: str, model: str, text: str, dimensions: int | None, encoding: str = "float32"
) -> str:
    """The cache key of one normalised text: everything that its vector depends on."""
    return sha256_hex(
        canonical_json(
            {
                "v": TEXT_HASH_VERSION,
                "provider": provider,
                "endpoint": endpoint,
                "model": model,
                "text": text,
                "dimensions": dimensions,
                "encoding": encoding,
            }
        )
    )


def chat_request_hash(
    *,
    provider: str,
    endpoint: str,
    model: str,
    messages: tuple[dict[str, Any], ...],
    parameters: dict[str, Any],
    sample_index: int,
) -> str:
    """The identity of one sample of one chat."""
    return sha256_hex(
        canonical_json(
            {
                "v": REQUEST_HASH_VERSION,
                "provider": provider,
                "endpoint": endpoint,
                "model": model,
                "messages": messages,
                "parameters": parameters,
                "sample": sample_index,
            }
        )
    )
