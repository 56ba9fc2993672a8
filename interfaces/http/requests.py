"""How a JSON body is read: strictly, as what its route declares, and no other media type for it."""

from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import ClientException, ValidationException

from domain.errors import Rejected
from domain.nesting import check_depth

# curl calls a body a form, unless it is told. Taken for JSON, any site's page could send one without asking first.
HOW_TO_SEND = "send JSON under its name: -H 'Content-Type: application/json' for curl"


class UnsupportedMediaType(ClientException):
    """A body that says it is something else than JSON."""

    status_code = 415


class JsonRequest(Request[Any, Any, Any]):
    """A request whose JSON becomes the struct that its route declares: no text is a number, and 1 is not true."""

    async def json(self) -> Any:
        """The body as its route declares it. Raises what of_http_error turns into 400 or 415."""
        media_type = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type and media_type != "application/json" and not media_type.endswith("+json"):
            raise UnsupportedMediaType(f"The body is {media_type[:100]}; {HOW_TO_SEND}")
        field = self.route_handler.parsed_data_field
        body = decoded(await self.body(), Any if field is None else field.annotation)
        check_depth(body)
        return body


def decoded(body: bytes | bytearray, kind: Any) -> Any:
    """A JSON body as a struct. Raises Rejected for what is no JSON, ValidationException with the place at fault."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        text, _, path = str(error).partition(" - at `$")
        raise ValidationException(extra=[{"message": text, "key": path.strip("`.") or "data"}]) from None
    except RecursionError:
        raise Rejected("The body is not to be read: its objects and lists are nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(f"The body is not JSON: {error}") from None
