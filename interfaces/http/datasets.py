"""Datasets: bring rows in, draw samples, list what is there."""

import asyncio
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Request, Response, Router, get, post
from litestar.openapi.spec import Example, OpenAPIMediaType, Schema
from litestar.openapi.spec.enums import OpenAPIType
from litestar.params import Body, FromPath
from msgspec import Meta, Struct

from application.import_dataset import Dataset, Table
from application.notebook import Context
from domain.datasets import LARGEST_SEED, sampling_of
from infrastructure.table_files import table_of
from interfaces.http.parameters import At, Json, OpenStudy, Page, RequestContext
from interfaces.http.problems import already_there, problem_responses
from interfaces.http.uploads import UploadOperation, is_upload, json_body, uploaded
from interfaces.study import Study

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
SAMPLE = {"dataset": "intents", "name": "few intents", "rows": 100, "seed": 7, "where": {"intent": "timer"}}


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


class SampleBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which sample of which dataset: the rows whose columns hold `where`, and of those `rows` by chance."""

    dataset: Annotated[str, Meta(min_length=1, max_length=300)]
    name: Annotated[str, Meta(min_length=1, max_length=300)]
    rows: Annotated[int, Meta(ge=1)] | None = None
    seed: Annotated[int, Meta(ge=0, le=LARGEST_SEED)] | None = None
    where: dict[str, str] = {}


@dataclass
class ImportOperation(UploadOperation):
    """The documentation of importing rows or a file."""

    def form(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """The fields of the form."""
        return {
            "name": "What the dataset is called from here on.",
            "text_column": "Column of the texts; `text` if there is one, else the first.",
            "label_column": "Column of the labels, if there are any.",
            "encoding": "Encoding of a text file; UTF-8 if none is named.",
        }, ("name",)

    def others(self) -> dict[str, OpenAPIMediaType]:
        """Rows as JSON."""
        text, cell = Schema(type=OpenAPIType.STRING), Schema(description="A text, a number, true, false or null.")
        row = Schema(type=OpenAPIType.OBJECT, additional_properties=cell)
        rows = Schema(
            type=OpenAPIType.OBJECT,
            description=DatasetBody.__doc__,
            properties={
                "name": text,
                "rows": Schema(type=OpenAPIType.ARRAY, items=row, min_items=1),
                "text_column": text,
                "label_column": text,
            },
            required=["name", "rows", "text_column"],
        )
        return {"application/json": OpenAPIMediaType(schema=rows, examples={"rows": Example(value=EXAMPLE)})}


@post(
    "/datasets",
    summary="Import a dataset",
    responses=already_there("The dataset was there already.") | problem_responses(400, 404, 409, 413, 415, 503),
    response_description="The dataset.",
    operation_class=ImportOperation,
)
async def import_dataset(request: Request[Any, Any, Any], study: OpenStudy, context: RequestContext) -> Response[Json]:
    """Bring texts in under a name: rows as JSON, or a CSV, TSV, JSON Lines, Parquet or plain text file as a form.

    The same content again is the same dataset; rows without a text are left out.
    """
    if is_upload(request):
        dataset = await _of_file(request, study, context)
    else:
        data = await json_body(request, DatasetBody)
        dataset = await study.datasets.add(
            data.table(), context, name=data.name, text_column=data.text_column, label_column=data.label_column
        )
    return await _answer(dataset, study)


@post(
    "/datasets/samples",
    summary="Draw a sample",
    responses=already_there("The sample was drawn before.") | problem_responses(400, 404, 409, 413, 415, 503),
    response_description="The sample.",
)
async def sample_dataset(
    data: Annotated[SampleBody, Body(title="The sample", examples=[Example(value=SAMPLE)])],
    study: OpenStudy,
    context: RequestContext,
) -> Response[Json]:
    """Draw a sample: a dataset that knows its parent. The same sample of the same dataset is the same dataset."""
    sampling = sampling_of(data.rows, data.seed, data.where)
    return await _answer(await study.datasets.sample(data.dataset, sampling, context, name=data.name), study)


async def _of_file(request: Request[Any, Any, Any], study: Study, context: Context) -> Dataset:
    async with uploaded(request) as upload:
        fields = upload.only("name", "text_column", "label_column", "encoding", required=("name",))
        source_name = PurePosixPath(upload.filename.replace("\\", "/")).name
        table = await asyncio.to_thread(
            lambda: table_of(upload.file.read(), source_name, encoding=fields.get("encoding"))
        )
    columns = table.columns
    return await study.datasets.add(
        table,
        context,
        name=fields["name"],
        text_column=fields.get("text_column") or ("text" if "text" in columns else next(iter(columns), "text")),
        label_column=fields.get("label_column"),
        source_name=source_name,
    )


async def _answer(dataset: Dataset, study: Study) -> Response[Json]:
    content = {**await study.datasets.get(dataset.name), "imported": dataset.imported}
    return Response(content, status_code=201 if dataset.imported else 200)


@get("/datasets", summary="List datasets", responses=problem_responses(400, 503))
async def list_datasets(study: OpenStudy, moment: At, page: Page) -> Json:
    """The datasets, newest first."""
    return await study.datasets.list(moment, page)


@get("/datasets/{name:path}", summary="Look at a dataset", responses=problem_responses(400, 404, 503))
async def get_dataset(study: OpenStudy, moment: At, name: FromPath[str]) -> Json:
    """One dataset by its name."""
    return await study.datasets.get(name.removeprefix("/"), moment)


def _as_text(value: Cell) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


ROUTES = Router("/", route_handlers=[import_dataset, sample_dataset, list_datasets, get_dataset], tags=["datasets"])
