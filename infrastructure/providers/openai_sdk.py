"""The `openai` SDK, told to send bytes as they are and to hand out answers unread."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
import openai
from openai import AsyncOpenAI

from infrastructure.providers.attempt import HttpAnswer
from infrastructure.providers.settings import CONNECTIONS
from infrastructure.providers.streamed_attempt import HttpStream

BROKEN = (openai.APIConnectionError, httpx2.HTTPError)


def pooled_client(login: tuple[str, str] | None = None) -> httpx2.AsyncClient:
    """Connections that are kept and never wait for each other; time limits are the attempt's.

    login: user and password, which take the place of a key
    """
    limits = httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS)
    return httpx2.AsyncClient(limits=limits, timeout=None, follow_redirects=False, auth=login)


async def post(client: AsyncOpenAI, path: str, body: bytes) -> HttpAnswer:
    """Post bytes as they are and read the answer whole, whatever its status."""
    response = await _posted(client, path, body, stream=False)
    return HttpAnswer(response.status_code, response.headers, await response.aread())


@asynccontextmanager
async def streamed_post(client: AsyncOpenAI, path: str, body: bytes) -> AsyncIterator[HttpStream]:
    """The same, and hand out the answer as it comes."""
    response = await _posted(client, path, body, stream=True)
    try:
        yield HttpStream(response.status_code, response.headers, response.aiter_bytes())
    finally:
        await response.aclose()


async def _posted(client: AsyncOpenAI, path: str, body: bytes, *, stream: bool) -> httpx2.Response:
    headers = {"content-type": "application/json"}
    try:
        return await client.post(
            path, cast_to=httpx2.Response, content=body, options={"headers": headers}, stream=stream
        )
    except openai.APIStatusError as error:
        return error.response


async def get(client: AsyncOpenAI, path: str, **query: str) -> HttpAnswer:
    """Get an answer whole, whatever its status."""
    try:
        response = await client.get(path, cast_to=httpx2.Response, options={"params": query})
    except openai.APIStatusError as error:
        response = error.response
    return HttpAnswer(response.status_code, response.headers, await response.aread())
