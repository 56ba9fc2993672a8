"""Bringing datasets in, and looking at them."""

from application.import_dataset import Dataset, ImportDataset, Table
from application.notebook import Context
from application.sample_dataset import SampleDataset
from domain.datasets import Sampling
from interfaces.as_of import NOW, Moment
from interfaces.study.moments import Moments
from interfaces.study.words import Json
from projections.catalogue import CATALOGUE
from projections.paging import FIRST_PAGE, Paging
from projections.queries import Queries

DATASETS = (CATALOGUE.name,)


class Datasets:
    """Texts under a name."""

    def __init__(
        self, import_dataset: ImportDataset, sample_dataset: SampleDataset, queries: Queries, moments: Moments
    ) -> None:
        self._import_dataset = import_dataset
        self._sample_dataset = sample_dataset
        self._queries = queries
        self._moments = moments

    async def add(
        self,
        table: Table,
        context: Context,
        *,
        name: str,
        text_column: str,
        label_column: str | None = None,
        source_name: str = "",
    ) -> Dataset:
        """Bring texts in under a name; the same content again is the same dataset."""
        dataset = await self._import_dataset(
            table, context, name=name, text_column=text_column, label_column=label_column, source_name=source_name
        )
        await self._moments.all_shown()
        return dataset

    async def sample(self, parent: str, sampling: Sampling, context: Context, *, name: str) -> Dataset:
        """Draw a sample from a dataset: a dataset that knows its parent. Raises NotFound, Rejected, Conflict."""
        sample = await self._sample_dataset(parent, sampling, context, name=name)
        await self._moments.all_shown()
        return sample

    async def get(self, name: str, moment: Moment = NOW) -> Json:
        """A dataset by name. Raises NotFound."""
        position = await self._moments.shown(moment, reads=DATASETS)
        return await self._queries.catalogue.dataset(name, as_of=position)

    async def list(self, moment: Moment = NOW, page: Paging = FIRST_PAGE) -> Json:
        """The datasets, newest first."""
        position = await self._moments.shown(moment, page, reads=DATASETS)
        return await self._queries.catalogue.datasets(as_of=position, page=page)
