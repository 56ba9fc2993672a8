"""Canonical bytes and the identities made from them: the same content has the same id, everywhere and for ever."""

import hashlib
from typing import Any
from uuid import UUID, uuid5

import msgspec

NAMESPACE = UUID("5d1c3f52-6d0a-5a0e-9a53-0c6b7d9b41aa")


def canonical_json(value: Any) -> bytes:
    """Encode with sorted keys, None members left out and integral floats as integers."""
    return msgspec.json.encode(_canonical(msgspec.to_builtins(value)), order="sorted")


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(member) for key, member in value.items() if member is not None}
    if isinstance(value, (list, tuple)):
        return [_canonical(member) for member in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def sha256_hex(content: bytes) -> str:
    """SHA-256 as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def content_id(kind: str, *parts: str) -> UUID:
    """Name a thing by its content: a duplicate gets the same id, and so a conflict at version 1."""
    return uuid5(NAMESPACE, canonical_json([kind, *parts]).decode())
