"""Draw a sample from a dataset: a dataset of its own, which knows its parent and how it was drawn."""

from msgspec import structs

from application.group_calls import GroupCalls
from application.import_dataset import Dataset, ImportDataset, hash_of_rows
from application.notebook import Context
from domain.datasets import Sampling, sample_id_of, sampled_rows
from domain.groups import GroupLinked


class SampleDataset:
    """Draws samples; the same sample of the same dataset is one dataset, whatever it is called."""

    def __init__(self, datasets: ImportDataset, groups: GroupCalls) -> None:
        self._datasets = datasets
        self._groups = groups

    async def __call__(self, parent: str, sampling: Sampling, context: Context, *, name: str) -> Dataset:
        """Draw a sample from the dataset of this name, and give it a name; its parent is linked to it by `generates`.

        Raises NotFound, Rejected for an unknown column or too few rows, Conflict when the name means other content.
        """
        drawn_from, imported, table = await self._datasets.open(parent)
        rows = table.only(sampled_rows(table.columns, sampling))
        fact = structs.replace(
            imported,
            content_sha256=hash_of_rows(rows, imported.text_column, imported.label_column),
            row_count=rows.row_count,
            source_name="",
            skipped_rows=0,
            metadata={},
            parent_dataset_id=drawn_from.dataset_id,
            sampling=sampling,
        )
        sample_id = sample_id_of(drawn_from.dataset_id, sampling)
        sample = await self._datasets.record(sample_id, fact, rows, context, name=name)
        link = GroupLinked(parent_group_id=drawn_from.group_id, child_group_id=sample.group_id, link_type="generates")
        await self._groups.link([link], context)
        return sample
