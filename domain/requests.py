"""Requests under an Idempotency-Key, as facts: they are carried out once, however often they are sent."""

import re
from uuid import UUID

from domain.errors import Rejected
from domain.events import Fact, PayloadRef, stored_as
from domain.identity import content_id

USABLE_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@stored_as("request.begun.v1")
class RequestBegun(Fact, frozen=True, kw_only=True):
    """A request began to be carried out. The key itself is not told: its stream's id is made of actor and key."""

    method: str
    path: str
    content_sha256: str  # of method, address and body


@stored_as("request.answered.v1")
class RequestAnswered(Fact, frozen=True, kw_only=True):
    """A request was answered. An answer that was too large to be kept has a size and no body."""

    status: int
    size: int
    headers: dict[str, str] = {}
    body: PayloadRef | None = None

    @property
    def refused(self) -> bool:
        """Whether nothing was done, so that the key is free for another try."""
        return 400 <= self.status < 500


def request_id_of(actor: str, key: str) -> UUID:
    """The stream of what an actor asks for under a key. Raises Rejected for a key that is none."""
    if not USABLE_KEY.fullmatch(key):
        raise Rejected(
            "An Idempotency-Key has 1 to 255 visible ASCII characters and no space, for instance a UUID",
            fields=("Idempotency-Key",),
        )
    return content_id("request", actor, key)
