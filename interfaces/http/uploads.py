"""Bodies that are read as they come: an uploaded file with a few words beside it, or JSON of bounded size."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, TypeVar, cast

from litestar import Request
from litestar.openapi.spec import OpenAPIMediaType, Operation, Reference, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIType
from msgspec import Struct
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from domain.errors import Rejected
from interfaces.http.problems import TooLarge
from interfaces.http.requests import decoded

MULTIPART = "multipart/form-data"
MOST_PARTS = 20
LARGEST_FIELD_BYTES = 200_000
IN_MEMORY_BYTES = 1_000_000  # what is larger goes to a temporary file while it comes
LARGEST_JSON_BYTES = 20_000_000

T = TypeVar("T")


class Upload(Struct, frozen=True):
    """An uploaded file, open from its beginning, its name, and the other fields of the form."""

    file: BinaryIO
    filename: str
    fields: dict[str, str]

    def only(self, *known: str, required: Sequence[str] = ()) -> dict[str, str]:
        """The fields, empty ones left out. Raises Rejected for unknown ones, and for required ones that are missing."""
        if unknown := [name for name in self.fields if name not in known]:
            raise Rejected(
                f"Unknown fields: {', '.join(unknown)}; there are {', '.join(('file', *known))}", fields=tuple(unknown)
            )
        given = {name: value for name, value in self.fields.items() if value}
        if missing := [name for name in required if name not in given]:
            raise Rejected(f"Missing fields: {', '.join(missing)}", fields=tuple(missing))
        return given


def is_upload(request: Request[Any, Any, Any]) -> bool:
    """Whether the body is a form with files."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == MULTIPART


@asynccontextmanager
async def uploaded(request: Request[Any, Any, Any]) -> AsyncIterator[Upload]:
    """The one file in the part `file` of a form, for as long as the block runs. Raises Rejected, TooLarge."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    if not is_upload(request) or not options.get("boundary"):
        raise Rejected(f"Send the file as {MULTIPART}, in a part named file", fields=("file",))
    with SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as file:
        form = _Form(cast("BinaryIO", file))
        try:
            with PushMultipartParser(options["boundary"], max_segment_count=MOST_PARTS) as parser:
                async for chunk in request.stream():
                    for part in parser.parse(chunk):
                        form.take(part)
        except MultipartError as error:
            raise Rejected(f"The body is no {MULTIPART}: {error}", fields=("file",)) from None
        if form.filename is None:
            raise Rejected("The form has no file in a part named file", fields=("file",))
        form.file.seek(0)
        yield Upload(form.file, form.filename, form.fields)


class _Form:
    """What has come of a form."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.filename: str | None = None
        self.fields: dict[str, str] = {}
        self._part: MultipartSegment | None = None
        self._value = bytearray()

    def take(self, part: Any) -> None:
        """The head of a part, some of its bytes, or None at its end."""
        if isinstance(part, MultipartSegment):
            self._begin(part)
        elif part is None:
            self._end()
        elif self._part is not None and self._part.filename is not None:
            self.file.write(part)
        else:
            self._value += part
            if len(self._value) > LARGEST_FIELD_BYTES:
                name = "" if self._part is None else self._part.name
                raise TooLarge(detail=f"The field {name} is larger than {LARGEST_FIELD_BYTES:,} bytes")

    def _begin(self, part: MultipartSegment) -> None:
        if part.filename is not None:
            if part.name != "file" or self.filename is not None:
                raise Rejected("Send one file, in a part named file", fields=(part.name,))
            self.filename = part.filename
        self._part, self._value = part, bytearray()

    def _end(self) -> None:
        part, self._part = self._part, None
        if part is not None and part.filename is None:
            try:
                self.fields[part.name] = self._value.decode(part.charset or "utf-8")
            except (UnicodeDecodeError, LookupError):
                raise Rejected(f"The field {part.name} is no text", fields=(part.name,)) from None


async def json_body(request: Request[Any, Any, Any], kind: type[T]) -> T:
    """A JSON body of at most 20 MB. Raises what a route with a declared body would, and TooLarge."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_JSON_BYTES:
            raise TooLarge(detail=f"The body is larger than {LARGEST_JSON_BYTES:,} bytes; upload a file instead")
    if not body:
        raise Rejected(f"The body is empty; send JSON, or a file as {MULTIPART}")
    found: T = decoded(body, kind)
    return found


@dataclass
class UploadOperation(Operation):
    """The documentation of a route that takes a form with a file; subclasses say which fields, and more bodies."""

    def form(self) -> tuple[dict[str, str], tuple[str, ...]]:
        """The fields beside `file`, each with its description, and which of them must be there."""
        raise NotImplementedError

    def others(self) -> dict[str, OpenAPIMediaType]:
        """Bodies of other media types."""
        return {}

    def __post_init__(self) -> None:
        """Describe the body, which Litestar does not read."""
        described, required = self.form()
        properties: dict[str, Reference | Schema] = {
            "file": Schema(
                type=OpenAPIType.STRING,
                content_media_type="application/octet-stream",
                description="The file, with its name.",
            ),
            **{name: Schema(type=OpenAPIType.STRING, description=text) for name, text in described.items()},
        }
        form = Schema(type=OpenAPIType.OBJECT, properties=properties, required=["file", *required])
        self.request_body = RequestBody(
            content={**self.others(), MULTIPART: OpenAPIMediaType(schema=form)}, required=True
        )
