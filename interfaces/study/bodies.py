"""The exact bytes that were sent and received."""

from uuid import UUID

import msgspec

from application.read_bytes import KeptBytes, ReadBytes
from interfaces.as_of import NOW, Moment
from interfaces.event_document import href_of_bytes
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of


class Bodies:
    """Bytes beside the events of calls, checked against their hashes whenever they are handed out."""

    def __init__(self, read_bytes: ReadBytes, moments: Moments) -> None:
        self._read_bytes = read_bytes
        self._moments = moments

    async def list(self, call_id: UUID | str, moment: Moment = NOW, *, verify: bool = False) -> Json:
        """What there is beside a call's events; with `verify`, whether the bytes have the hashes. Raises NotFound."""
        position = await self._moments.shown(moment, reads=())
        parts = await self._read_bytes.parts(id_of(call_id), verify=verify, as_of=position)
        return {"items": [_document(part) for part in parts], "next_cursor": None}

    async def get(
        self, call_id: UUID | str, part: str, moment: Moment = NOW, *, version: int | None = None
    ) -> tuple[KeptBytes, bytes]:
        """The bytes of one part, of one event or of the last that has it. Raises NotFound, Rejected, Unavailable."""
        position = await self._moments.shown(moment, reads=())
        return await self._read_bytes.content(id_of(call_id), part, version=version, as_of=position)


def _document(kept: KeptBytes) -> Json:
    document: Json = msgspec.to_builtins(kept)
    return {**document, "href": href_of_bytes(kept.call_id, kept.part, kept.version)}
