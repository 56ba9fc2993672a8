"""Given a table, when it is brought in or a sample is drawn from it, then these events, or this error."""

from pathlib import Path

import pytest

from application.group_calls import GroupCalls
from application.import_dataset import ImportDataset, Table
from application.keep_artifact import KeepArtifact
from application.sample_dataset import SampleDataset
from domain.artifacts import ArtifactKept
from domain.datasets import DatasetImported, Sampling, dataset_id_of, sampling_of
from domain.errors import Conflict, NotFound, Rejected
from domain.groups import GroupCreated, GroupLinked
from infrastructure.artifact_files import FolderArtifacts
from infrastructure.table_files import ColumnarFiles
from tests.support.given_when_then import CONTEXT, ListStore, notebook

TABLE = Table(columns={"text": ["a", "b", " ", "c", None], "kind": ["x", "y", "x", None, "x"]})


class Importing:
    def __init__(self, folder: Path) -> None:
        self.store = ListStore()
        book = notebook(self.store)
        groups = GroupCalls(book)
        self.datasets = ImportDataset(book, groups, KeepArtifact(book, FolderArtifacts(folder)), ColumnarFiles())
        self.sample = SampleDataset(self.datasets, groups)

    async def bring(self, name: str, table: Table = TABLE):
        return await self.datasets(table, CONTEXT, name=name, text_column="text", label_column="kind")


@pytest.fixture
def importing(tmp_path: Path) -> Importing:
    return Importing(tmp_path)


async def test_rows_without_a_text_are_left_out_and_counted(importing: Importing) -> None:
    dataset = await importing.bring("d")
    assert (dataset.texts, dataset.labels, dataset.skipped_rows) == (("a", "b", "c"), ("x", "y", ""), 2)
    assert dataset.dataset_id == dataset_id_of(dataset.content_sha256)
    assert (await importing.datasets.load("d")).texts == dataset.texts


async def test_the_same_content_is_one_dataset_under_any_number_of_names(importing: Importing) -> None:
    first = await importing.bring("d")
    again = await importing.bring("other name")
    assert (first.imported, again.imported, again.dataset_id) == (True, False, first.dataset_id)
    assert [len(importing.store.facts(kind)) for kind in (DatasetImported, ArtifactKept, GroupCreated)] == [1, 1, 2]
    with pytest.raises(Conflict) as standing:
        await importing.bring("d", Table(columns={"text": ["z"], "kind": ["x"]}))
    assert standing.value.existing_id == str(first.dataset_id)


@pytest.mark.parametrize(
    ("columns", "why"), [({"kind": ["x"]}, "no column 'text'"), ({"text": ["", None], "kind": ["x", "x"]}, "no text")]
)
async def test_a_table_without_texts_is_rejected(importing: Importing, columns, why) -> None:
    with pytest.raises(Rejected, match=why):
        await importing.bring("d", Table(columns=columns))
    assert importing.store.events == []


async def test_a_sample_is_a_dataset_that_knows_its_parent(importing: Importing) -> None:
    parent = await importing.bring("d")
    sample = await importing.sample("d", sampling_of(None, None, {"kind": "x"}), CONTEXT, name="only x")
    assert (sample.texts, sample.labels) == (("a",), ("x",))
    fact = importing.store.facts(DatasetImported)[-1]
    assert isinstance(fact, DatasetImported)
    assert (fact.parent_dataset_id, fact.sampling) == (parent.dataset_id, Sampling(where={"kind": "x"}))
    assert importing.store.facts(GroupLinked) == [
        GroupLinked(parent_group_id=parent.group_id, child_group_id=sample.group_id, link_type="generates")
    ]
    loaded = await importing.datasets.load("only x")
    assert (loaded.dataset_id, loaded.parent_dataset_id) == (sample.dataset_id, parent.dataset_id)


async def test_the_same_sample_of_the_same_parent_is_the_same_dataset(importing: Importing) -> None:
    await importing.bring("d")
    first = await importing.sample("d", sampling_of(2, 1, {}), CONTEXT, name="two")
    again = await importing.sample("d", sampling_of(2, 1, {}), CONTEXT, name="two")
    named = await importing.sample("d", sampling_of(2, 1, {}), CONTEXT, name="two as well")
    other = await importing.sample("d", sampling_of(3, 1, {}), CONTEXT, name="all three")
    assert {first.dataset_id} == {again.dataset_id, named.dataset_id} != {other.dataset_id}
    assert (first.imported, again.imported, named.imported) == (True, False, False)
    assert other.content_sha256 == (await importing.datasets.load("d")).content_sha256
    with pytest.raises(Conflict):
        await importing.sample("d", sampling_of(1, 1, {}), CONTEXT, name="two")


async def test_a_sample_of_nothing_is_refused(importing: Importing) -> None:
    with pytest.raises(NotFound, match="no dataset named"):
        await importing.sample("none", sampling_of(1, 1, {}), CONTEXT, name="s")
    await importing.bring("d")
    with pytest.raises(Rejected, match="4 rows are wanted"):
        await importing.sample("d", sampling_of(4, 1, {}), CONTEXT, name="s")
    assert len(importing.store.facts(DatasetImported)) == 1
