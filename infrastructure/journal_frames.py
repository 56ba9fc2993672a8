"""The frames of a journal: a mark, the body's length, a checksum, and the body: events as they will be stored."""

import mmap
import struct
import zlib
from collections.abc import Iterator
from uuid import UUID

import msgspec
from msgspec import Struct

from application.ports import NewEvent, Payload
from domain.errors import StudyError
from infrastructure.event_store.mapper import FactMapper

MARK = b"\xf5SQ1"  # 0xf5 is in no UTF-8 text
HEADER = struct.Struct(">4sII")

Entries = tuple[NewEvent, ...]
Content = bytes | mmap.mmap


class Damage(Struct, frozen=True):
    """Bytes between frames, or at the end, that were written and can't be read."""

    at: int
    size: int


class _KeptEvent(Struct, frozen=True, array_like=True):
    stream_id: UUID
    version: int
    topic: str
    state: bytes
    payloads: tuple[Payload, ...]


class Frames:
    """Encodes events that land together as one frame, and reads frames back."""

    def __init__(self) -> None:
        self._mapper = FactMapper()
        self._encoder = msgspec.msgpack.Encoder(uuid_format="bytes")
        self._decoder = msgspec.msgpack.Decoder(tuple[_KeptEvent, ...])

    def encode(self, entries: Entries) -> bytes:
        """One frame."""
        kept = []
        for entry in entries:
            stored = self._mapper.to_stored_event(entry)
            kept.append(_KeptEvent(entry.stream_id, entry.version, stored.topic, stored.state, entry.payloads))
        body = self._encoder.encode(kept)
        return HEADER.pack(MARK, len(body), zlib.crc32(body)) + body

    def read(self, content: Content) -> Iterator[Entries | Damage]:
        """The frames in order, and what is damaged between them.

        A frame that was cut off at the end is no damage: its writer died before anybody was told that it is durable.
        """
        at = 0
        while (found := _next_frame(content, at)) is not None:
            begins, body = found
            if begins > at:
                yield Damage(at, begins - at)
            at = begins + HEADER.size + len(body)
            try:
                yield self._decode(body)
            except (msgspec.DecodeError, StudyError):
                yield Damage(begins, at - begins)
        if at < len(content) and not _is_cut_off(content, at):
            yield Damage(at, len(content) - at)

    def _decode(self, body: bytes) -> Entries:
        entries = []
        for kept in self._decoder.decode(body):
            envelope, fact = self._mapper.decode(kept.topic, kept.state)
            entries.append(
                NewEvent(
                    stream_id=kept.stream_id,
                    version=kept.version,
                    fact=fact,
                    envelope=envelope,
                    payloads=kept.payloads,
                )
            )
        return tuple(entries)


def _next_frame(content: Content, at: int) -> tuple[int, bytes] | None:
    """The first whole frame at or behind a place."""
    while (at := content.find(MARK, at)) >= 0:
        header = content[at : at + HEADER.size]
        if len(header) == HEADER.size:
            _, length, checksum = HEADER.unpack(header)
            body = content[at + HEADER.size : at + HEADER.size + length]
            if len(body) == length and zlib.crc32(body) == checksum:
                return at, body
        at += 1
    return None


def _is_cut_off(content: Content, at: int) -> bool:
    """Whether the rest is the beginning of a frame, or room that a file system gave and never filled."""
    header = content[at : at + HEADER.size]
    if len(header) < HEADER.size:
        return MARK.startswith(header[: len(MARK)])
    mark, length, _ = HEADER.unpack(header)
    if mark == MARK:
        return bool(at + HEADER.size + length > len(content))
    return not any(content[at:])
