"""Summarising texts, and the groups of rows that a table falls into."""

from collections.abc import Callable, Mapping, Sequence

from application.import_dataset import ImportDataset
from application.notebook import Context
from application.summarise_texts import Summarised, SummariseTexts, TextsToSummarise
from domain.datasets import texts_by
from domain.errors import Rejected

Lists = dict[str, tuple[str, ...]]


class Summaries:
    """Summaries of texts; what was answered before is not paid for again, and what fails falls back."""

    def __init__(self, summarise_texts: SummariseTexts, import_dataset: ImportDataset) -> None:
        self._summarise_texts = summarise_texts
        self._import_dataset = import_dataset

    async def of_texts(
        self, wanted: TextsToSummarise, context: Context, *, progress: Callable[[int, int], None] | None = None
    ) -> Summarised:
        """One summary for each list, in order. Raises Rejected, Unavailable."""
        return await self._summarise_texts(wanted, context, progress=progress)

    async def lists_of_dataset(self, name: str, *, by: str | None = None, most: int | None = None) -> Lists:
        """A dataset's texts, each by itself under its row, or those with one value of column `by` under the value.

        most: texts of a list. Raises NotFound, Rejected.
        """
        _, fact, table = await self._import_dataset.open(name)
        return self.lists_of_columns(table.columns, fact.text_column, by=by, most=most)

    def lists_of_columns(
        self,
        columns: Mapping[str, Sequence[str | None]],
        text_column: str,
        *,
        by: str | None = None,
        most: int | None = None,
    ) -> Lists:
        """The same of a table's columns."""
        for name in (text_column, by):
            if name is not None and name not in columns:
                raise Rejected(f"There is no column {name!r}; there are {', '.join(columns)}", fields=("by",))
        if by is None:
            return {str(row): (text,) for row, text in enumerate(columns[text_column]) if text and text.strip()}
        return texts_by(columns[text_column], columns[by], most=most)
