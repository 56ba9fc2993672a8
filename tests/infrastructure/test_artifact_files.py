"""What every place for artifacts must do: a folder, and fsspec's memory and local files."""

import asyncio
import hashlib
import io
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest

from application.mend_artifacts import MendArtifacts
from application.ports import ArtifactFiles, StoredFile
from domain.errors import NotFound, Rejected, Unavailable
from infrastructure.artifact_files import FolderArtifacts
from infrastructure.artifact_urls import UrlArtifacts, artifact_files
from infrastructure.clock import SystemClock
from infrastructure.earlier_artifacts import with_earlier

CONTENT = bytes(range(256)) * 5000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LONG_AGO = datetime.now(UTC) - timedelta(hours=25)


class Place:
    """A place for artifacts and the way to its files behind its back."""

    def __init__(self, files: ArtifactFiles, root: str, protocol: str) -> None:
        self.files = files
        self.root = root
        self.behind = fsspec.filesystem(protocol)

    def write(self, name: str, content: bytes) -> None:
        path = f"{self.root}/sha256/{name[:2] if not name.startswith('.') else 'ab'}/{name}"
        self.behind.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self.behind.open(path, "wb") as file:
            file.write(content)

    def age(self) -> None:
        """Make every file a day old."""
        for path in self.behind.find(self.root, withdirs=False):
            if self.behind.protocol == "memory":
                self.behind.store[path].modified = LONG_AGO
            else:
                os.utime(path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))

    def names(self) -> set[str]:
        self.behind.invalidate_cache()
        return {str(path).rpartition("/")[2] for path in self.behind.find(self.root)}


@pytest.fixture(params=["folder", "memory", "local"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return Place(FolderArtifacts(tmp_path / "kept"), str(tmp_path / "kept"), "file")
    if request.param == "local":
        return Place(UrlArtifacts(f"file://{tmp_path}", "kept"), str(tmp_path / "kept"), "file")
    name = uuid4().hex
    return Place(UrlArtifacts(f"memory://{name}", "kept"), f"/{name}/kept", "memory")


async def listed(files: ArtifactFiles) -> list[StoredFile]:
    return [file async for page in files.all() for file in page]


async def test_bytes_and_files_are_kept_under_their_hash(place: Place) -> None:
    assert await place.files.keep(CONTENT) == SHA256
    opened = io.BytesIO(CONTENT)
    opened.seek(7)
    assert await place.files.keep(opened) == SHA256
    assert await place.files.read(SHA256) == CONTENT
    assert await place.files.keep(b"") == hashlib.sha256(b"").hexdigest()
    assert await place.files.holds(SHA256)
    assert not await place.files.holds("ab" * 32)
    assert place.names() == {SHA256, hashlib.sha256(b"").hexdigest()}
    (_, mine) = sorted(await listed(place.files), key=lambda file: file.size)
    assert (mine.sha256, mine.size, mine.is_leftover) == (SHA256, len(CONTENT), False)
    assert abs((datetime.now(UTC) - mine.modified_at).total_seconds()) < 60


@pytest.mark.parametrize(("start", "stop"), [(0, 10), (300, 301), (len(CONTENT) - 5, len(CONTENT) + 5), (7, 7)])
async def test_a_part_is_read_without_the_rest(place: Place, start: int, stop: int) -> None:
    await place.files.keep(CONTENT)
    assert await place.files.read_range(SHA256, start, stop) == CONTENT[start:stop]


async def test_what_was_altered_or_is_gone_is_told(place: Place) -> None:
    place.write(SHA256, CONTENT[:-1] + b"x")
    with pytest.raises(Unavailable, match="was altered"):
        await place.files.read(SHA256)
    for reading in (place.files.read("ab" * 32), place.files.read_range("ab" * 32, 0, 1)):
        with pytest.raises(NotFound, match="is gone from"):
            await reading
    for outside in ("../../etc/passwd", "AB" * 32, "a" * 63):
        with pytest.raises(NotFound, match="is not the hash"):
            await place.files.read(outside)


async def test_what_was_cut_short_is_kept_again(place: Place) -> None:
    place.write(SHA256, CONTENT[:100])
    await place.files.keep(CONTENT)
    assert await place.files.read(SHA256) == CONTENT


async def test_many_who_keep_the_same_at_once_keep_it_once(place: Place) -> None:
    assert set(await asyncio.gather(*(place.files.keep(CONTENT) for _ in range(5)))) == {SHA256}
    assert place.names() == {SHA256}


async def test_who_keeps_an_old_file_again_makes_it_young(place: Place) -> None:
    await place.files.keep(CONTENT)
    place.age()
    (old,) = await listed(place.files)
    await place.files.keep(CONTENT)
    assert await place.files.set_aside(old) is None
    assert await place.files.holds(SHA256)


class Kept:
    """The port KeptFiles over a dict from hash to name, and what happens just before it is asked."""

    def __init__(self, kept: dict[str, str]) -> None:
        self.kept = kept
        self.asked = 0
        self.before: Callable[[int], None] = lambda _asked: None

    async def among(self, sha256s):
        self.asked += 1
        self.before(self.asked)
        return {sha256 for sha256 in sha256s if sha256 in self.kept}

    async def all(self):
        yield list(self.kept.items())


async def test_orphans_are_removed_after_a_day_and_missing_files_are_told(place: Place) -> None:
    orphan = await place.files.keep(b"nobody tells of me")
    await place.files.keep(CONTENT)
    place.write(".0123abcd.new", b"half a fi")
    mend = MendArtifacts(
        place.files, Kept({SHA256: "run/step/results.json", "cd" * 32: "run/step/gone.json"}), SystemClock()
    )
    young = await mend.look()
    assert (young.files, young.orphans, young.missing) == (3, (), ("run/step/gone.json",))
    assert await mend.mend() == 0
    place.age()
    state = await mend.look()
    assert {file.sha256 for file in state.orphans} == {orphan, "0123abcd"}
    assert await mend.mend() == 2
    assert place.names() == {SHA256}
    assert (await mend.look()).orphans == ()


async def test_an_event_that_comes_while_its_file_is_taken_for_an_orphan_keeps_it(place: Place) -> None:
    await place.files.keep(CONTENT)
    place.age()
    kept = Kept({})

    def the_event_comes(asked: int) -> None:
        if asked == 2:
            assert SHA256 not in place.names()  # it was set aside, and whoever looks now keeps it again
            kept.kept[SHA256] = "run/step/results.json"

    kept.before = the_event_comes
    assert await MendArtifacts(place.files, kept, SystemClock()).mend() == 0
    assert await place.files.read(SHA256) == CONTENT


async def test_a_file_that_was_set_aside_by_who_died_comes_back_if_an_event_tells_of_it(place: Place) -> None:
    await place.files.keep(CONTENT)
    place.age()
    (old,) = await listed(place.files)
    assert await place.files.set_aside(old) is not None
    assert not await place.files.holds(SHA256)
    mend = MendArtifacts(place.files, Kept({SHA256: "run/step/results.json"}), SystemClock())
    assert (await mend.look()).missing == ("run/step/results.json",)
    await mend.mend()
    assert await place.files.read(SHA256) == CONTENT


def test_a_folder_that_can_not_be_written_is_told_by_name(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file")
    with pytest.raises(Unavailable, match="can't be written"):
        asyncio.run(FolderArtifacts(tmp_path / "kept").keep(CONTENT))


def test_a_place_is_a_folder_or_a_url(tmp_path: Path) -> None:
    for place in (str(tmp_path), f"file://{tmp_path}"):
        files = artifact_files(place, "store")
        assert isinstance(files, FolderArtifacts)
        assert files.path_of(SHA256).is_relative_to(tmp_path / "store")
    with pytest.raises(Rejected, match="names no machine"):
        artifact_files("file://elsewhere/folder", "store")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("nowhere://somebody:a-secret@bucket/x?key=a-secret", "nowhere://bucket/x"),
        ("nowhere::elsewhere://somebody:a-secret@bucket", "nowhere::elsewhere://bucket"),
    ],
)
def test_a_place_that_can_not_be_used_is_told_without_its_login(url: str, shown: str) -> None:
    with pytest.raises(Rejected, match=f"STUDY_ARTIFACTS is {shown}") as refused:
        artifact_files(url, "store")
    assert "a-secret" not in str(refused.value)


async def test_what_an_earlier_version_kept_is_read_told_as_there_and_never_mended_away(
    place: Place, tmp_path: Path
) -> None:
    before = tmp_path / "home" / "artifacts"
    assert with_earlier(place.files, before) is place.files
    sha256 = await FolderArtifacts(before).keep(CONTENT)
    other = await FolderArtifacts(before).keep(b"of another store")
    for path in before.rglob("*"):
        os.utime(path, (LONG_AGO.timestamp(), LONG_AGO.timestamp()))
    files = with_earlier(place.files, before)
    assert await files.holds(sha256)
    assert await files.read(sha256) == CONTENT
    assert await files.read_range(sha256, 7, 9) == CONTENT[7:9]
    mend = MendArtifacts(files, Kept({sha256: "run/step/a.json", "cd" * 32: "run/step/gone.json"}), SystemClock())
    state = await mend.look()
    assert (state.files, state.orphans, state.missing) == (0, (), ("run/step/gone.json",))
    assert await mend.mend() == 0
    assert await files.read(other) == b"of another store"


async def test_an_earlier_file_that_was_altered_or_is_nowhere_is_told(place: Place, tmp_path: Path) -> None:
    before = FolderArtifacts(tmp_path / "home")
    sha256 = await before.keep(CONTENT)
    files = with_earlier(place.files, tmp_path / "home")
    before.path_of(sha256).write_bytes(CONTENT[:-1] + b"x")
    with pytest.raises(Unavailable, match="was altered"):
        await files.read(sha256)
    for reading in (files.read("ab" * 32), files.read_range("ab" * 32, 0, 1)):
        with pytest.raises(NotFound, match="is gone from"):
            await reading


async def test_an_earlier_file_that_is_kept_again_is_kept_anew(place: Place, tmp_path: Path) -> None:
    before = FolderArtifacts(tmp_path / "home")
    sha256 = await before.keep(CONTENT)
    files = with_earlier(place.files, tmp_path / "home")
    await files.keep(CONTENT)
    before.path_of(sha256).unlink()
    assert await files.read(sha256) == CONTENT
    place.age()
    assert await MendArtifacts(files, Kept({}), SystemClock()).mend() == 1
    assert not await files.holds(sha256)
