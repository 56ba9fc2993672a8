"""Files that were kept, as facts. A file is durable before its event is."""

from uuid import UUID

from domain.events import Fact, Metadata, stored_as
from domain.identity import content_id


@stored_as("artifact.kept.v1")
class ArtifactKept(Fact, frozen=True, kw_only=True):
    """A file was kept under its content's hash. `name` is how people find it: {run}/{step}/{type}.{ext}."""

    sha256: str
    byte_size: int
    content_type: str
    artifact_type: str
    name: str
    group_id: UUID | None = None
    call_id: UUID | None = None
    shape: tuple[int, ...] | None = None
    metadata: Metadata = {}


def artifact_id_of(name: str, sha256: str) -> UUID:
    """The id of an artifact: the same content under the same name is one artifact."""
    return content_id("artifact", name, sha256)
