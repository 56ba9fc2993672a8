"""Datasets: bring rows in, list what is there."""

from typing import Annotated, TypeAlias

import msgspec
from litestar import Response, Router, get, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath
from msgspec import Meta, Struct

from application.import_dataset import Table
from interfaces.http.parameters import AsOf, AtLeast, Cursor, Json, Limit, OpenStudy, RequestContext
from interfaces.http.problems import problem_responses

Cell: TypeAlias = str | int | float | bool | None

EXAMPLE = {
    "name": "intents",
    "rows": [
        {"text": "what's the spanish word for pasta", "intent": "translate"},
        {"text": "set a timer for five minutes", "intent": "timer"},
    ],
    "text_column": "text",
    "label_column": "intent",
}


class DatasetBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of texts, and which column holds what. A column that a row leaves out is empty there."""

    name: Annotated[str, Meta(min_length=1, max_length=300)]
    rows: Annotated[list[dict[str, Cell]], Meta(min_length=1)]
    text_column: str
    label_column: str | None = None

    def table(self) -> Table:
        """As the use case takes it: columns of text."""
        columns = dict.fromkeys(name for row in self.rows for name in row)
        return Table(columns={name: [_as_text(row.get(name)) for row in self.rows] for name in columns})


@post(
    "/datasets",
    summary="Import a dataset",
    responses=problem_responses(400, 409, 413, 503),
    response_description="The dataset. The status is 200 when the same content was there already.",
)
async def import_dataset(
    data: Annotated[DatasetBody, Body(title="The dataset", examples=[Example(value=EXAMPLE)])],
    study: OpenStudy,
    context: RequestContext,
) -> Response[Json]:
    """Bring texts in under a name. The same content again is the same dataset; rows without a text are left out."""
    dataset = await study.datasets.add(
        data.table(), context, name=data.name, text_column=data.text_column, label_column=data.label_column
    )
    content = {**await study.datasets.get(dataset.name), "imported": dataset.imported}
    return Response(content, status_code=201 if dataset.imported else 200)


@get("/datasets", summary="List datasets", responses=problem_responses(400, 503))
async def list_datasets(
    study: OpenStudy, as_of: AsOf = None, at_least: AtLeast = None, limit: Limit = 50, cursor: Cursor = None
) -> Json:
    """The datasets, newest first."""
    return await study.datasets.list(as_of=as_of, at_least=at_least, limit=limit, cursor=cursor)


@get("/datasets/{name:path}", summary="Look at a dataset", responses=problem_responses(400, 404, 503))
async def get_dataset(study: OpenStudy, name: FromPath[str], as_of: AsOf = None, at_least: AtLeast = None) -> Json:
    """One dataset by its name."""
    return await study.datasets.get(name.removeprefix("/"), as_of=as_of, at_least=at_least)


def _as_text(value: Cell) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


ROUTES = Router("/", route_handlers=[import_dataset, list_datasets, get_dataset], tags=["datasets"])
