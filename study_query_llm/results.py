"""What comes back: lists that become data frames."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, overload
from uuid import UUID

from msgspec import to_builtins

from application.ask_model import Answer
from application.batches import AnsweredBatch, Outcome, Unanswered
from application.summarise_texts import Summarised, Summary
from domain.errors import Rejected
from domain.pricing import Total
from interfaces.answer_document import item_document
from interfaces.study import Json
from interfaces.summaries_document import summary_item
from study_query_llm.notebook.lineage import lineage_page
from study_query_llm.notebook.pages import batch_page, rows_page, summaries_page

if TYPE_CHECKING:
    import polars
    import pyarrow
    from pandas import DataFrame


class Batch(Sequence[Outcome]):
    """What came of a batch: an Answer, or why there is none, for each sample of each question, in order."""

    def __init__(self, answered: AnsweredBatch) -> None:
        self._answered = answered
        self._outcomes = [item.outcome for item in answered.items]

    @property
    def group_id(self) -> UUID:
        """The group of its calls."""
        return self._answered.group_id

    @property
    def name(self) -> str:
        """What it is asked again under, and what `study calls --group batch/NAME` takes."""
        return self._answered.name

    @property
    def texts(self) -> list[str | None]:
        """The answers' texts; None where there is no answer."""
        return [outcome.text if isinstance(outcome, Answer) else None for outcome in self._outcomes]

    @property
    def unanswered(self) -> list[Unanswered]:
        """What has no answer, and why."""
        return self._answered.unanswered

    @property
    def cost(self) -> Total:
        """USD for all answers: `usd` of those whose cost is known, and of how many it is `unknown`."""
        return self._answered.cost

    @property
    def saved(self) -> Total:
        """USD that answers had cost which were not paid for again, likewise."""
        return self._answered.saved

    def to_frame(self) -> "DataFrame":
        """One row an item: its question's index, its sample, and the answer or the error."""
        return frame_of([item_document(item) for item in self._answered.items])

    @overload
    def __getitem__(self, place: int) -> Outcome: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Outcome]: ...
    def __getitem__(self, place: int | slice) -> Outcome | Sequence[Outcome]:
        return self._outcomes[place]

    def __len__(self) -> int:
        return len(self._outcomes)

    def __repr__(self) -> str:
        return f"<Batch {self.name}: {len(self) - len(self.unanswered)} of {len(self)} answered>"

    def _repr_html_(self) -> str:
        return batch_page(self.name, self._outcomes)


class Summaries(Sequence[Summary]):
    """What came of texts that were to be summarised, in order; where there is no summary, the first text stands in."""

    def __init__(self, summarised: Summarised) -> None:
        self._summarised = summarised

    @property
    def group_id(self) -> UUID:
        """The group of its calls, of type summarization_batch."""
        return self._summarised.group_id

    @property
    def name(self) -> str:
        """What `study calls --group summarization_batch/NAME` takes."""
        return self._summarised.name

    @property
    def texts(self) -> list[str]:
        """The summaries, and the texts that stand in for those that there are not."""
        return [summary.text for summary in self._summarised.summaries]

    @property
    def fell_back(self) -> list[Summary]:
        """Those that are no summaries; `status` and `reason` say why."""
        return self._summarised.fell_back

    @property
    def cost(self) -> Total:
        """USD for all answers: `usd` of those whose cost is known, and of how many it is `unknown`."""
        return self._summarised.cost

    @property
    def saved(self) -> Total:
        """USD that answers had cost which were not paid for again, likewise."""
        return self._summarised.saved

    def to_frame(self) -> "DataFrame":
        """One row a summary."""
        return frame_of([to_builtins(summary_item(*each)) for each in enumerate(self._summarised.summaries)])

    @overload
    def __getitem__(self, place: int) -> Summary: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Summary]: ...
    def __getitem__(self, place: int | slice) -> Summary | Sequence[Summary]:
        return self._summarised.summaries[place]

    def __len__(self) -> int:
        return len(self._summarised.summaries)

    def __repr__(self) -> str:
        return f"<Summaries {self.name}: {len(self)}, of which {len(self.fell_back)} fell back>"

    def _repr_html_(self) -> str:
        return summaries_page(self.name, self._summarised.summaries)


class Rows(list[Json]):
    """A list of rows that becomes a data frame."""

    def to_frame(self) -> "DataFrame":
        """The rows as a pandas data frame."""
        return frame_of(self)

    def to_arrow(self) -> "pyarrow.Table":
        """The rows as an Arrow table: times in UTC, costs exact, and what has parts (errors, tokens …) as JSON text."""
        from study_query_llm.arrow import arrow_of

        return arrow_of(self)

    def to_polars(self) -> "polars.DataFrame":
        """The same as a polars data frame. Raises Rejected where polars is not installed."""
        from study_query_llm.arrow import polars_of

        return polars_of(self)

    def _repr_html_(self) -> str:
        return rows_page(self)


class Walked(dict[str, Any]):
    """What a thing came from, or what was made of it: {root, nodes, edges, complete}."""

    def _repr_html_(self) -> str:
        return lineage_page(self)


# An artifact says which call and group it belongs to as well, and a dataset in which artifact its rows lie.
NAMED_FIRST = ("sweep", "dataset", "artifact", "call", "conversation", "group")


def thing_asked_about(thing: Any) -> tuple[str, str]:
    """The kind and the id of what provenance is asked of. Raises Rejected for what says neither."""
    match thing:
        case str() if "/" in thing:
            kind, _, thing_id = thing.partition("/")
            return kind, thing_id
        case (str() as kind, thing_id):
            return kind, str(thing_id)
    for kind in NAMED_FIRST:
        name = f"{kind}_id"
        named = thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)
        if named is not None:
            return kind, str(named)
    raise Rejected(
        f"{str(thing)[:60]!r} has no provenance by itself; give a sweep, an answer, a group, a row, or (kind, id)",
        fields=("thing",),
    )


def frame_of(rows: Sequence[Json]) -> "DataFrame":
    """Rows as a pandas data frame."""
    import pandas as pd

    return pd.DataFrame(list(rows))
