"""Given what was imported and kept, then it is found by name, id and group."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from domain.artifacts import ArtifactKept
from domain.datasets import DatasetImported, VectorsImported
from domain.errors import NotFound
from domain.groups import GroupCreated
from projections.kept_files import KeptByArtifacts
from projections.paging import Paging
from tests.support.facts import EXAMPLES, ID, LATER_EXAMPLES, OTHER_ID, SHA256

BY_TYPE = {type(fact): fact for fact in EXAMPLES}
DATASET, KEPT = BY_TYPE[DatasetImported], BY_TYPE[ArtifactKept]
DATASET_ID = UUID(int=5)


def named(name):
    return GroupCreated(group_type="dataset", name=name, metadata={"dataset_id": str(DATASET_ID)})


async def test_a_dataset_goes_by_every_name_it_was_given(log, follower, queries):
    log.write(DATASET_ID, DATASET)
    log.write(UUID(int=6), named("clinc"))
    log.write(UUID(int=7), named("again"))
    log.write(UUID(int=8), GroupCreated(group_type="dataset", name="odd", metadata={"dataset_id": "none"}))
    follower.catch_up()
    found = await queries.catalogue.dataset("clinc")
    assert (found["dataset_id"], found["row_count"], found["columns"]) == (str(DATASET_ID), 4500, ["text", "intent"])
    assert [dataset["name"] for dataset in (await queries.catalogue.datasets())["items"]] == ["again", "clinc"]
    assert [dataset["name"] for dataset in (await queries.catalogue.datasets(as_of=2))["items"]] == ["clinc"]
    page = await queries.catalogue.datasets(page=Paging(1))
    rest = await queries.catalogue.datasets(page=Paging(1, page["next_cursor"]))
    assert [dataset["name"] for dataset in rest["items"]] == ["clinc"]
    for name, as_of in (("odd", None), ("clinc", 1)):
        with pytest.raises(NotFound, match="no dataset"):
            await queries.catalogue.dataset(name, as_of=as_of)


async def test_a_sample_shows_its_parent_and_how_it_was_drawn(log, follower, queries, sql):
    log.write(DATASET_ID, LATER_EXAMPLES["dataset.imported.v1 of a sample"])
    log.write(UUID(int=6), named("few"))
    follower.catch_up()
    found = await queries.catalogue.dataset("few")
    sampling = {"rows": 300, "seed": 7, "where": {"intent": "translate"}}
    assert (found["parent_dataset_id"], found["sampling"]) == (str(OTHER_ID), sampling)
    assert sql("SELECT parent_dataset_id, sampling_json FROM study.datasets") == [(OTHER_ID, sampling)]


async def test_files_are_known_by_their_hashes(log, follower, queries):
    log.write(UUID(int=1), KEPT)
    log.write(UUID(int=2), replace(KEPT, name="run/again.npy"))
    log.write(UUID(int=3), replace(KEPT, sha256="cd" * 32))
    kept = KeptByArtifacts(queries.catalogue, follower)
    follower.catch_up()
    assert await kept.among([SHA256, "ef" * 32]) == {SHA256}
    assert [each async for page in kept.all() for each in page] == [
        (SHA256, KEPT.name),
        (SHA256, "run/again.npy"),
        ("cd" * 32, KEPT.name),
    ]


async def test_artifacts_are_found_by_id_name_group_and_type(log, follower, queries):
    log.write(UUID(int=1), KEPT)
    log.write(UUID(int=2), replace(KEPT, artifact_type="scatter", group_id=None, shape=None))
    follower.catch_up()
    assert (await queries.catalogue.artifact(UUID(int=1)))["uri"] == f"sha256:{SHA256}"
    assert (await queries.catalogue.artifact(KEPT.name))["artifact_id"] == str(UUID(int=2))  # the newest of that name
    assert (await queries.catalogue.artifact(KEPT.name, as_of=1))["artifact_id"] == str(UUID(int=1))
    assert len((await queries.catalogue.artifacts())["items"]) == 2
    assert [each["shape"] for each in (await queries.catalogue.artifacts(group_id=ID))["items"]] == [[4500]]
    assert [each["shape"] for each in (await queries.catalogue.artifacts(artifact_type="scatter"))["items"]] == [None]
    assert (await queries.catalogue.artifacts(as_of=0))["items"] == []
    with pytest.raises(NotFound, match="no artifact"):
        await queries.catalogue.artifact("run/k=9/none.npy")


def test_the_views_show_artifacts_with_type_and_shape(log, follower, sql):
    log.write(UUID(int=1), KEPT)
    log.write(UUID(int=2), BY_TYPE[VectorsImported])
    log.write(DATASET_ID, DATASET)
    follower.catch_up()
    columns = "uri, sha256, byte_size, metadata_json->>'artifact_type', metadata_json->'shape', metadata_json->>'dtype'"
    assert sql(f"SELECT {columns} FROM study.call_artifacts") == [
        (f"sha256:{SHA256}", SHA256, 18128, "sweep_labels", [4500], "int32")
    ]
    assert sql("SELECT text_column, label_column FROM study.datasets") == [("text", "intent")]
    assert sql("SELECT dimension FROM projections.vectors_imports") == [(384,)]


async def test_a_nul_in_whatever_was_imported_or_kept_stops_nothing(log, follower, queries):
    log.write(DATASET_ID, replace(LATER_EXAMPLES["dataset.imported.v1 of a sample"], columns=("text", "a\x00b")))
    log.write(UUID(int=6), named("clinc"))
    log.write(ID, replace(KEPT, metadata={"columns": ("a\x00b", {"\x00": ["\x00"]})}))
    follower.catch_up()
    assert (await queries.catalogue.dataset("clinc"))["columns"] == ["text", "a\ufffdb"]
    assert (await queries.catalogue.artifact(ID))["metadata"] == {"columns": ["a\ufffdb", {"\ufffd": ["\ufffd"]}]}
