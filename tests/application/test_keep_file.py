"""Given a group, when a file of its is kept, then this event, under a name that people can read."""

import io
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from application.group_calls import GroupCalls
from application.keep_artifact import FileToKeep, KeepArtifact
from application.keep_file import FileOfGroup, KeepFile
from application.read_artifact import ReadArtifact
from domain.artifacts import ArtifactKept, artifact_id_of
from domain.calls import CallRequested
from domain.errors import NotFound, Rejected, Unavailable
from domain.groups import GroupCreated, group_id_of
from domain.identity import sha256_hex
from infrastructure.artifact_files import FolderArtifacts
from infrastructure.artifact_kinds import KnownKinds
from tests.support.facts import EXAMPLES
from tests.support.given_when_then import CONTEXT, ListStore, notebook

RUN, STEP = group_id_of("run", "r"), group_id_of("step", "some run/k=2")
CALL = UUID(int=50)
REQUESTED = next(fact for fact in EXAMPLES if isinstance(fact, CallRequested))
WANTED = FileOfGroup(file=io.BytesIO(b"[1, 2]"), extension="JSON", group_id=RUN, artifact_type="results")


class Keeping:
    def __init__(self, folder: Path) -> None:
        self.store = ListStore()
        self.store.given(RUN, GroupCreated(group_type="run", name="r"))
        self.store.given(
            STEP, GroupCreated(group_type="step", name="some run/k=2", metadata={"parent_run_id": str(RUN)})
        )
        self.store.given(CALL, REQUESTED)
        self.files = FolderArtifacts(folder)
        book = notebook(self.store)
        self.keep = KeepArtifact(book, self.files)
        self.keep_file = KeepFile(GroupCalls(book), self.keep, KnownKinds())


@pytest.fixture
def keeping(tmp_path: Path) -> Keeping:
    return Keeping(tmp_path)


async def test_a_file_is_kept_with_its_shape_under_a_readable_name(keeping: Keeping) -> None:
    artifact_id = await keeping.keep_file(replace(WANTED, call_id=CALL, metadata={"by": "me"}), CONTEXT)
    sha256, name = sha256_hex(b"[1, 2]"), f"{RUN}/run/results.json"
    assert keeping.store.facts(ArtifactKept) == [
        ArtifactKept(
            sha256=sha256,
            byte_size=6,
            content_type="application/json",
            artifact_type="results",
            name=name,
            group_id=RUN,
            call_id=CALL,
            shape=(2,),
            metadata={"by": "me"},
        )
    ]
    assert artifact_id == artifact_id_of(name, sha256)
    assert await keeping.keep_file(WANTED, CONTEXT) == artifact_id
    assert len(keeping.store.facts(ArtifactKept)) == 1
    assert await keeping.keep.content(artifact_id) == b"[1, 2]"


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"group_id": STEP}, f"{RUN}/k=2/results.json"),
        ({"step": "second try"}, f"{RUN}/second-try/results.json"),
        ({"step": "../../up"}, f"{RUN}/up/results.json"),
    ],
)
async def test_the_name_says_run_and_step(keeping: Keeping, more: dict[str, Any], name: str) -> None:
    await keeping.keep_file(replace(WANTED, **more), CONTEXT)
    (kept,) = keeping.store.facts(ArtifactKept)
    assert isinstance(kept, ArtifactKept)
    assert kept.name == name


@pytest.mark.parametrize(
    ("more", "family", "why"),
    [
        ({"group_id": CALL}, NotFound, "no group"),
        ({"call_id": RUN}, NotFound, "no call"),
        ({"artifact_type": "../x"}, Rejected, "one word"),
        ({"extension": ""}, Rejected, "no ending"),
        ({"step": " "}, Rejected, "has a name"),
        ({"file": io.BytesIO(b"{")}, Rejected, "not JSON"),
        ({"metadata": {"m": "x" * 100_000}}, Rejected, "100,000 bytes"),
    ],
)
async def test_what_can_not_be_kept_is_refused_before_anything_is_written(
    keeping: Keeping, more: dict[str, Any], family: type[Exception], why: str
) -> None:
    with pytest.raises(family, match=why):
        await keeping.keep_file(replace(WANTED, **more), CONTEXT)
    assert keeping.store.facts(ArtifactKept) == []
    assert [page async for page in keeping.files.all()] == []


class Snatching(FolderArtifacts):
    """A folder in which a file is taken for an orphan just before its event is written."""

    snatched = False

    async def holds(self, sha256: str) -> bool:
        if not self.snatched:
            self.snatched = True
            self.path_of(sha256).unlink()
        return await super().holds(sha256)


async def test_a_file_that_was_taken_for_an_orphan_is_kept_again(keeping: Keeping, tmp_path: Path) -> None:
    files = Snatching(tmp_path)
    keep = KeepArtifact(notebook(keeping.store), files)
    file = FileToKeep(name="run/step/x.json", content=b"{}", content_type="application/json", artifact_type="x")
    assert await keep.content(await keep(file, CONTEXT)) == b"{}"
    assert files.snatched


LARGE = bytes(range(251)) * 40_000  # more than what is checked before it is shown


async def read(files: FolderArtifacts, sha256: str, size: int, *part: int) -> bytes:
    return b"".join([block async for block in ReadArtifact(files).blocks(sha256, size, *part)])


@pytest.mark.parametrize("content", [b"", b"small enough", LARGE], ids=["empty", "small", "large"])
async def test_a_file_is_read_whole_or_in_part(tmp_path: Path, content: bytes) -> None:
    files = FolderArtifacts(tmp_path)
    sha256 = await files.keep(content)
    assert await read(files, sha256, len(content)) == content
    assert await read(files, sha256, len(content), 3, 7) == content[3:7]
    assert await read(files, sha256, len(content), len(content) // 2) == content[len(content) // 2 :]


async def test_the_end_of_an_altered_file_is_never_given(tmp_path: Path) -> None:
    files = FolderArtifacts(tmp_path)
    for content in (b"small", LARGE):
        sha256 = await files.keep(content)
        files.path_of(sha256).write_bytes(b"x" + content[1:])
        seen = b""
        with pytest.raises(Unavailable, match="was altered"):  # noqa: PT012
            async for block in ReadArtifact(files).blocks(sha256, len(content)):
                seen += block
        assert len(seen) < len(content)
        files.path_of(sha256).write_bytes(content[:-1])
        with pytest.raises(Unavailable):
            await read(files, sha256, len(content))
