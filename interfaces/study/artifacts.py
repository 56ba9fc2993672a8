"""Files that were kept."""

from collections.abc import AsyncIterator
from uuid import UUID

from application.keep_file import FileOfGroup, KeepFile
from application.mend_artifacts import ArtifactsState, MendArtifacts
from application.notebook import Context
from application.read_artifact import ReadArtifact
from domain.artifacts import checked_name
from interfaces.as_of import NOW, Moment
from interfaces.study.groups import group_id_in
from interfaces.study.moments import Moments
from interfaces.study.words import Json, id_of, is_id
from projections.catalogue import CATALOGUE
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries

ARTIFACTS = (CATALOGUE.name,)


class Artifacts:
    """Files of groups. An artifact is named by its id, or as {run}/{step}/{type}.{ext}."""

    def __init__(
        self, keep_file: KeepFile, read: ReadArtifact, mend: MendArtifacts, queries: Queries, moments: Moments
    ) -> None:
        self._keep_file = keep_file
        self._read = read
        self._mend = mend
        self._queries = queries
        self._moments = moments

    async def keep(self, file: FileOfGroup, context: Context) -> Json:
        """Keep a file; the same content under the same name is the same artifact. Raises NotFound, Rejected."""
        artifact_id = await self._keep_file(file, context)
        await self._moments.all_shown()
        return await self.get(artifact_id)

    async def get(self, artifact: UUID | str, moment: Moment = NOW) -> Json:
        """What is known of an artifact, the newest one for a name. Raises NotFound, Rejected."""
        wanted = id_of(artifact) if isinstance(artifact, UUID) or is_id(artifact) else checked_name(artifact)
        position = await self._moments.shown(moment, reads=ARTIFACTS)
        return await self._queries.catalogue.artifact(wanted, as_of=position)

    async def list(
        self,
        moment: Moment = NOW,
        page: Paging = FIRST_PAGE,
        *,
        group: UUID | str | None = None,
        artifact_type: str | None = None,
    ) -> Json:
        """The artifacts, of one group or type or of all, newest first."""
        position = await self._moments.shown(moment, page, reads=ARTIFACTS)
        return await self._queries.catalogue.artifacts(
            group_id=None if group is None else group_id_in(group),
            artifact_type=artifact_type,
            as_of=position,
            page=page,
        )

    def blocks(self, artifact: Json, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes of an artifact that `get` returned; see ReadArtifact. Raises NotFound, Unavailable."""
        return self._read.blocks(artifact["sha256"], artifact["byte_size"], start, stop)

    async def content(self, artifact: Json) -> bytes:
        """All the bytes, checked against their hash. Raises NotFound, Unavailable."""
        return b"".join([block async for block in self.blocks(artifact)])

    async def state(self) -> ArtifactsState:
        """Whether files and events fit together. Raises Unavailable."""
        return await self._mend.look()

    async def mend(self) -> int:
        """Remove the files that no event tells of, and return how many they were. Raises Unavailable."""
        return await self._mend.mend()
