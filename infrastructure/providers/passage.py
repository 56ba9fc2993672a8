"""A client's own request on its way to a provider that speaks OpenAI's protocol: the bytes go and come as they are.

The client here is aiohttp's: a request costs it 85 µs, httpx 900 µs and the `openai` SDK 800 µs (docs/decisions/030).
"""

import re
import ssl
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from msgspec import structs

from application.providers import ClientsRequest, PreparedRequest, ProviderAnswer, Reply, Transcript
from infrastructure.providers.attempt import HttpAnswer, attempt, milliseconds_since
from infrastructure.providers.event_stream import DONE
from infrastructure.providers.failures import Redactor
from infrastructure.providers.settings import CONNECTIONS
from infrastructure.providers.shaped_passage import as_reply
from infrastructure.providers.streamed_attempt import HttpStream, streamed_attempt

BROKEN = (aiohttp.ClientError, OSError)
AGENT = "study-query-llm"
ENDS_OF_LINES = re.compile(rb"\r\n|\r|\n")
# What belongs to the connection, to the server's own site, or to bytes that were unpacked on the way.
OTHERS_AFFAIR = frozenset(
    b"connection keep-alive transfer-encoding te trailer upgrade proxy-authenticate proxy-connection content-length "
    b"content-encoding set-cookie server date alt-svc strict-transport-security".split()
)


class Upstream:
    """A provider's server: where it is, what it is told, and the connections to it."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str],
        redact: Redactor,
        query: Mapping[str, str] | None = None,
        login: tuple[str, str] | None = None,
    ) -> None:
        """headers: those with our key; login: user and password, which take the key's place."""
        self.redact = redact
        self.url = url
        self.query = dict(query or {})
        self._headers = {**headers, "content-type": "application/json", "user-agent": AGENT}
        if login is not None:
            self._headers["authorization"] = aiohttp.encode_basic_auth(*login)

    @cached_property
    def session(self) -> aiohttp.ClientSession:
        """Made when first needed, in the loop that runs then."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS, ssl=_certificates(self.url)),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),  # time limits are the attempt's
            proxy=_proxy_to(self.url),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=self._headers,
        )

    def post(self, path: str, request: ClientsRequest) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """Post a request's bytes."""
        return self.session.post(
            self.url + path, data=request.body, headers=request.headers, params=self.query, allow_redirects=False
        )

    async def aclose(self) -> None:
        """Close the connections."""
        if "session" in vars(self):
            await self.session.close()


class HttpPassage:
    """Implements the port Passage over HTTP."""

    def __init__(self, upstream: Upstream, path: str, prepared: PreparedRequest, request: ClientsRequest) -> None:
        self.prepared = prepared
        self.reply: Reply | None = None
        self._ended = False
        self._upstream = upstream
        self._path = path
        self._request = request
        self._asked_at = 0.0
        self._waited_ms = 0.0
        self._pieces = UntilDone()

    @property
    def ended(self) -> bool:
        """See the port. What comes after [DONE] is nobody's loss."""
        return self._ended or self._pieces.is_done

    @property
    def provider_ms(self) -> float:
        """See the port: of earlier attempts, and of the one that is under way."""
        return self._waited_ms + (milliseconds_since(self._asked_at) if self._asked_at else 0.0)

    async def send(self, prepared: PreparedRequest, *, timeout_seconds: float) -> ProviderAnswer:
        """See the port."""
        self._begin()
        try:
            return await attempt(
                self._exchange, prepared, timeout_seconds=timeout_seconds, redact=self._upstream.redact, broken=BROKEN
            )
        finally:
            self._end()

    async def stream(
        self, prepared: PreparedRequest, *, timeout_seconds: float, transcript: Transcript
    ) -> ProviderAnswer:
        """See the port."""
        self._begin()
        try:
            return await streamed_attempt(
                lambda: self._opened(transcript),
                prepared,
                timeout_seconds=timeout_seconds,
                redact=self._upstream.redact,
                broken=BROKEN,
                transcript=transcript,
            )
        finally:
            self._end()

    def rest(self) -> bytes:
        """See the port."""
        return self._without_key(self._pieces.rest())

    def again(self, answer: ProviderAnswer) -> Reply:
        """See the port."""
        return as_reply(answer.body, self._request)

    async def _exchange(self) -> HttpAnswer:
        async with self._upstream.post(self._path, self._request) as response:
            body = await response.read()
        self._ended = True
        self.reply = self._reply(response)
        self.reply = structs.replace(self.reply, body=self._without_key(body))
        return HttpAnswer(response.status, response.headers, body)

    @asynccontextmanager
    async def _opened(self, transcript: Transcript) -> AsyncIterator[HttpStream]:
        async with self._upstream.post(self._path, self._request) as response:
            self.reply = self._reply(response)
            is_stream = response.status < 300 and response.content_type != "application/json"
            parts = self._passed_on(response, transcript if is_stream else None)
            yield HttpStream(response.status, response.headers, parts)

    async def _passed_on(self, response: aiohttp.ClientResponse, transcript: Transcript | None) -> AsyncIterator[bytes]:
        """What comes; whole lines of a stream are passed on before anybody reads them."""
        async for part in response.content.iter_any():
            self._pieces.feed(part)
            if transcript is not None and self._request.pass_on is not None and (piece := self._pieces.ready()):
                transcript.told = True  # so that nobody asks again: the client has a part of this answer
                self._request.pass_on(self._upstream.redact.own_key(piece))
            yield part
        self._ended = True

    def _begin(self) -> None:
        self.reply, self._ended, self._pieces = None, False, UntilDone()
        self._asked_at = time.perf_counter()

    def _end(self) -> None:
        self._waited_ms, self._asked_at = self.provider_ms, 0.0

    def _reply(self, response: aiohttp.ClientResponse) -> Reply:
        redact = self._upstream.redact
        return Reply(
            status=response.status,
            headers=[
                (name.lower(), redact.own_key(value))
                for name, value in response.raw_headers
                if name.lower() not in OTHERS_AFFAIR
            ],
        )

    def _without_key(self, body: bytes) -> bytes:
        """An error may echo what it was sent; an answer that was paid for is not edited for a word like "none"."""
        redact = self._upstream.redact
        return redact.own_key(body) if self.reply is None or self.reply.status < 300 else redact.told_key(body)


class UntilDone:
    """A stream's bytes, cut between lines: what may be passed on, up to the line that says [DONE]."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self.is_done = False

    def feed(self, part: bytes) -> None:
        """Take in what came."""
        self._waiting += part

    def ready(self) -> bytes:
        """The whole lines that came since the last time, up to [DONE]."""
        if self.is_done:
            return b""
        end = max(self._waiting.rfind(b"\n"), self._waiting.rfind(b"\r")) + 1
        if DONE in self._waiting[:end]:
            end = self._start_of_done(end)
        piece = bytes(self._waiting[:end])
        del self._waiting[:end]
        return piece

    def rest(self) -> bytes:
        """What has not been given out."""
        piece = bytes(self._waiting)
        self._waiting.clear()
        return piece

    def _start_of_done(self, end: int) -> int:
        """Where the line begins that says [DONE] and nothing else; `end` if none does."""
        start = 0
        for line_end in ENDS_OF_LINES.finditer(self._waiting, 0, end):
            line = bytes(self._waiting[start : line_end.start()])
            if line.startswith(b"data:") and line.removeprefix(b"data:").strip() == DONE:
                self.is_done = True
                return start
            start = line_end.end()
        return end


def _proxy_to(url: str) -> str | None:
    """The proxy that the environment names for an address, as other clients go by it."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)


def _certificates(url: str) -> ssl.SSLContext | bool:
    """The authorities that other clients here trust; no need of any for plain HTTP."""
    if not url.startswith("https://"):
        return True
    import httpx

    return httpx.create_ssl_context()
