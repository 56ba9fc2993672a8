"""When two requests are the same: the hashes that the cache and the sharing of calls go by."""

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Any

import msgspec

from domain.errors import Rejected
from domain.identity import canonical_json, sha256_hex

REQUEST_HASH_VERSION = 1
TEXT_HASH_VERSION = 1

_encode = msgspec.json.Encoder().encode


def normalised_texts(texts: Sequence[str]) -> list[str]:
    """Drop NUL characters, compose to Unicode NFC, strip outer white space. Raises Rejected for what is no text,
    and if nothing is left of one.

    White space is what `str.strip` takes for it. The rule is part of the hash: changing it means a new
    TEXT_HASH_VERSION.
    """
    normal: list[str] = []
    if isinstance(texts, str):
        raise Rejected("One text is no list of texts: give [text]", fields=("texts",))
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise Rejected(f"Text {index} is {type(text).__name__}, not text", fields=(f"texts[{index}]",))
        plain = text.replace("\0", "")
        kept = (plain if plain.isascii() else unicodedata.normalize("NFC", plain)).strip()
        if not kept:
            raise Rejected(f"Text {index} is empty; an empty text has no embedding", fields=(f"texts[{index}]",))
        normal.append(kept)
    return normal


def embedding_request_hashes(
    texts: Sequence[str],
    *,
    provider: str,
    endpoint: str,
    model: str,
    dimensions: int | None,
    encoding: str = "float32",
) -> list[str]:
    """The cache key of each normalised text: everything that its vector depends on. Raises Rejected naming an index.

    It is the SHA-256 of the canonical JSON of all of it; what is the same for all texts is written once.
    """
    around = canonical_json(
        {
            "v": TEXT_HASH_VERSION,
            "provider": provider,
            "endpoint": endpoint,
            "model": model,
            "text": "",
            "dimensions": dimensions,
            "encoding": encoding,
        }
    )
    before, name, after = around.rpartition(b'"text":')  # quotes within a string are escaped, so it stands once
    before, after = before + name, after.removeprefix(b'""')
    hashes: list[str] = []
    for index, text in enumerate(texts):
        try:
            hashes.append(hashlib.sha256(before + _encode(text) + after).hexdigest())
        except UnicodeEncodeError:
            raise Rejected(
                f"Text {index} holds half a character (a lone surrogate): clean it", fields=(f"texts[{index}]",)
            ) from None
    return hashes


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


def embeddings_request_hash(
    *, provider: str, endpoint: str, model: str, inputs: Any, parameters: dict[str, Any]
) -> str:
    """The identity of one whole request for embeddings, as a client wrote it: texts or tokens, one or many."""
    return sha256_hex(
        canonical_json(
            {
                "v": REQUEST_HASH_VERSION,
                "provider": provider,
                "endpoint": endpoint,
                "model": model,
                "input": inputs,
                "parameters": parameters,
            }
        )
    )
