"""Pass a client's own request on to a provider and its reply back, byte for byte, as a call like every other."""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
from msgspec import Struct, structs

from application.call_provider import AttemptPolicy, CallIntent, CallProvider
from application.flights import Given
from application.group_calls import GroupCalls, GroupPlace
from application.notebook import Context
from application.ports import EventStore, Ids, NewEvent, PassageDirectory
from application.providers import ClientsRequest, Operation, Passage, Provider, Reply
from application.reuse_answers import ReuseAnswers
from application.share_calls import ShareCalls
from domain.calls import CallAttemptFailed
from domain.errors import ProviderFailed, Rejected
from domain.events import Metadata
from domain.groups import LARGEST_METADATA
from domain.identity import canonical_json
from domain.request_identity import (
    chat_request_hash,
    embedding_request_hashes,
    embeddings_request_hash,
    normalised_texts,
)

# Understanding a body larger than this holds up the event loop for some milliseconds; it is done in a thread.
LARGE_BODY_BYTES = 500_000
LONGEST_MODEL_CHARACTERS = 500
REMEMBERED_ENDS = 10_000  # of calls that came to nothing, for the client that tries again
# What an embedding depends on, and what it doesn't: with anything else the vector may be another one.
PLAIN_EMBEDDING = {"model", "input", "encoding_format", "dimensions", "user"}


class RequestToRelay(Struct, frozen=True, kw_only=True):
    """What a client sent, and what it wants besides.

    headers: those that concern the provider
    client_retry: how many times the client has sent it before, by its own count
    """

    operation: Operation
    body: bytes
    headers: dict[str, str] = {}
    group: GroupPlace | None = None
    metadata: Metadata = {}
    cache_seconds: float | None = None
    share: bool = False
    client_retry: int = 0


class Relayed(Struct, frozen=True, kw_only=True):
    """What came back, durable. `reply` is what is to be sent, or of a stream what is left to be sent.

    position: where the answer or the failure is stored; None for one that waits in the journal
    provider_ms: that were spent waiting for the provider
    is_broken: the provider's connection broke before the end, and so must the client's
    should_not_retry: it failed as often as it was to be tried; a client's own tries would multiply ours
    """

    call_id: UUID
    reply: Reply
    position: int | None = None
    provider_ms: float = 0.0
    is_cached: bool = False
    is_broken: bool = False
    should_not_retry: bool = False


class Begun(Struct, frozen=True, kw_only=True):
    """A stream has begun to come. `position` is where its request is stored."""

    call_id: UUID
    reply: Reply
    position: int
    provider_ms: float


Tell = Callable[[Begun | bytes], None]


class RelayRequest:
    """Relays requests. Instances are shared by all tasks."""

    def __init__(
        self,
        call_provider: CallProvider,
        share_calls: ShareCalls,
        reuse_answers: ReuseAnswers,
        providers: PassageDirectory,
        groups: GroupCalls,
        store: EventStore,
        ids: Ids,
        policy: Callable[[], AttemptPolicy],
    ) -> None:
        self._call_provider = call_provider
        self._share_calls = share_calls
        self._reuse_answers = reuse_answers
        self._providers = providers
        self._groups = groups
        self._store = store
        self._ids = ids
        self._policy = policy
        self._ended: OrderedDict[tuple[str, str], UUID] = OrderedDict()

    async def __call__(self, asked: RequestToRelay, context: Context, tell: Tell | None = None) -> Relayed:
        """Relay one request. What the provider replies comes back whatever its status.

        tell: is told the pieces of a stream as they come, its beginning first; a reply in one piece tells nothing
        Raises Rejected, ProviderFailed when there was no reply, Unavailable.
        """
        relay = await self._begin(asked, context, tell)
        if asked.group is not None:
            await self._groups.ensure(asked.group, context)
        try:
            given = await self._given(relay)
        except ProviderFailed as failure:
            self._remember(relay, UUID(failure.call_id))
            return await self._after_failure(relay, failure)
        except asyncio.CancelledError:
            self._remember(relay, relay.call_id)
            raise
        return self._relayed(relay, given)

    def providers(self) -> list[Provider]:
        """Those that can be asked, the preferred ones first."""
        return [self._providers.create(name) for name in self._providers.configured()]

    def full_name(self, model: str) -> str:
        """A model's name with its provider's in front. Raises Rejected."""
        name, named = self.route(model)
        return f"{name or self._providers.create(None).name}/{named}"

    async def _begin(self, asked: RequestToRelay, context: Context, tell: Tell | None) -> "_Relay":
        read = partial(_understood, asked.operation, asked.body)
        members, model = await asyncio.to_thread(read) if len(asked.body) > LARGE_BODY_BYTES else read()
        if asked.cache_seconds is not None:
            _check_has_one_answer(asked.operation, members)
        name, named = self.route(model)
        provider = self._providers.create(name)
        body = asked.body if named == model else _with_model(asked.body, members, model, named)
        streams = asked.operation == "chat" and members.get("stream") is True
        relay = _Relay(asked, context, self._ids.new(), tell if streams else None)
        relay.passage = self._providers.passage(
            provider,
            ClientsRequest(
                operation=asked.operation,
                model=named,
                body=body,
                members=members,
                headers=asked.headers,
                pass_on=None if relay.tell is None else relay.pass_on,
            ),
        )
        describe = partial(_intent, relay.passage, members, self._policy(), streams=relay.tell is not None)
        intent = await asyncio.to_thread(describe) if len(asked.body) > LARGE_BODY_BYTES else describe()
        relay.intent = structs.replace(intent, metadata=self._metadata(asked, context, members, intent.request_hash))
        return relay

    def route(self, model: str) -> tuple[str | None, str]:
        """The provider that a model's name begins with, or None for the default one, and the model as it calls it.

        A model's own name may hold slashes: only what is a provider's name is taken for one.
        """
        first, slash, rest = model.partition("/")
        if slash and rest and first.lower() in self._providers.known():
            return first.lower(), rest
        return None, model

    def _metadata(
        self, asked: RequestToRelay, context: Context, members: dict[str, Any], request_hash: str
    ) -> Metadata:
        """What the body's own `metadata` says, what the headers say, and which call this one is another try of."""
        found = {**_own_metadata(members), **asked.metadata}
        if asked.client_retry:
            found["client_retry"] = asked.client_retry
            earlier = self._ended.get((context.actor, request_hash))
            if earlier is not None:
                found["retry_of"] = str(earlier)
        return found

    async def _given(self, relay: "_Relay") -> Given:
        asked, intent, context = relay.asked, relay.intent, relay.context
        members_of = partial(self._places, asked.group, context)
        if asked.cache_seconds is not None:
            earlier = await self._reuse_answers(
                intent, context, longest_seconds=asked.cache_seconds, members_of=members_of
            )
            if earlier is not None:
                return earlier
        # A stream is a call of its own: who joined it would wait for its end, and break off with it.
        if asked.share and relay.tell is None:
            given = await self._share_calls(relay.passage, intent, context, members_of=members_of)
        else:
            done = await self._call_provider(
                relay.passage,
                intent,
                context,
                call_id=relay.call_id,
                companions=members_of(relay.call_id),
                still_needed=relay.requested if relay.tell is not None else None,
            )
            given = Given(call_id=relay.call_id, source=done, position=done.position)
        self._reuse_answers.answered_at(given.position)
        return given

    def _relayed(self, relay: "_Relay", given: Given) -> Relayed:
        reply = relay.passage.reply
        if reply is None:  # of another's call, or an earlier one
            reply = relay.passage.again(given.source.answer)
        elif relay.tell is not None:
            reply = structs.replace(reply, body=relay.passage.rest())
        return Relayed(
            call_id=given.call_id,
            reply=reply,
            position=given.position,
            provider_ms=relay.passage.provider_ms,
            is_cached=given.cached,
            is_broken=relay.has_begun and relay.is_cut,
        )

    async def _after_failure(self, relay: "_Relay", failure: ProviderFailed) -> Relayed:
        """What the provider replied, if it did: that it is a failure is for the record, not for its bytes."""
        passage = relay.passage
        reply = passage.reply
        if reply is None:
            reply = await self._recorded_reply(failure)
        elif relay.is_cut and (failure.kind == "timeout" or not relay.has_begun):
            reply = None
        elif relay.tell is not None:
            reply = structs.replace(reply, body=passage.rest())
        if reply is None or 300 <= reply.status < 400:  # a redirect would lead the client past us
            raise failure
        return Relayed(
            call_id=UUID(failure.call_id),
            reply=reply,
            position=failure.position,
            provider_ms=passage.provider_ms,
            is_broken=relay.is_cut and failure.kind == "connection",
            should_not_retry=relay.intent.policy.attempts > 1,
        )

    async def _recorded_reply(self, failure: ProviderFailed) -> Reply | None:
        """The reply to another's call that was joined, as it is recorded."""
        if failure.http_status is None:
            return None
        events = await self._store.read_stream(UUID(failure.call_id))
        failed = next((event for event in reversed(events) if isinstance(event.fact, CallAttemptFailed)), None)
        if failed is None or not isinstance(failed.fact, CallAttemptFailed) or failed.fact.response is None:
            return None
        body = await self._store.read_payload(failed.stream_id, failed.version, failed.fact.response.part)
        if body is None:
            return None
        headers = ((b"content-type", failed.fact.response.media_type.encode()),)
        return Reply(status=failure.http_status, headers=headers, body=body.body or b"")

    def _remember(self, relay: "_Relay", call_id: UUID) -> None:
        """Note a call that came to nothing, so that the client's next try can say whose it is."""
        key = (relay.context.actor, relay.intent.request_hash)
        self._ended[key] = call_id
        self._ended.move_to_end(key)
        if len(self._ended) > REMEMBERED_ENDS:
            self._ended.popitem(last=False)

    def _places(self, group: GroupPlace | None, context: Context, call_id: UUID) -> tuple[NewEvent, ...]:
        return () if group is None else (self._groups.member_entry(group, call_id, context),)


class _Relay:
    """One request under way."""

    passage: Passage
    intent: CallIntent

    def __init__(self, asked: RequestToRelay, context: Context, call_id: UUID, tell: Tell | None) -> None:
        self.asked = asked
        self.context = context
        self.call_id = call_id
        self.tell = tell
        self.has_begun = False
        self._position = 0

    @property
    def is_cut(self) -> bool:
        """Whether the reply has begun to come, and its end never came."""
        return self.passage.reply is not None and not self.passage.ended

    async def requested(self, position: int) -> None:
        """The request is durable."""
        self._position = position

    def pass_on(self, piece: bytes) -> None:
        """Tell a piece, and before the first one how the reply begins."""
        if self.tell is None or self.passage.reply is None:
            raise RuntimeError("A piece came of what is no stream, or before its head")
        if not self.has_begun:
            self.has_begun = True
            self.tell(
                Begun(
                    call_id=self.call_id,
                    reply=self.passage.reply,
                    position=self._position,
                    provider_ms=self.passage.provider_ms,
                )
            )
        self.tell(piece)


def _understood(operation: Operation, body: bytes) -> tuple[dict[str, Any], str]:
    """A body's members, and the model that it names. Raises Rejected; all else is the provider's to judge."""
    try:
        members = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected(f"The body is not JSON: {error}" if body else "The body is empty; send JSON") from None
    if not isinstance(members, dict):
        raise Rejected("The body must be a JSON object")
    model = members.get("model")
    if not isinstance(model, str) or not model.strip():
        raise Rejected(
            f"you must provide a model parameter: a model of {operation}, or PROVIDER/MODEL", fields=("model",)
        )
    if len(model) > LONGEST_MODEL_CHARACTERS or "\0" in model:
        raise Rejected(
            f"A model's name has at most {LONGEST_MODEL_CHARACTERS} characters and no NUL", fields=("model",)
        )
    return members, model


def _own_metadata(members: dict[str, Any]) -> Metadata:
    """What the body itself says under `metadata`, if an event can hold that much; the body holds it anyway."""
    said = members.get("metadata")
    if not isinstance(said, dict) or not said:
        return {}
    return said if len(canonical_json(said)) <= LARGEST_METADATA else {}


def _with_model(body: bytes, members: dict[str, Any], model: str, named: str) -> bytes:
    """The body with the model's own name in it, and otherwise the same bytes wherever that is possible."""
    written = re.compile(rb'("model"\s*:\s*)' + re.escape(msgspec.json.encode(model)))
    if len(written.findall(body)) == 1:
        return written.sub(lambda found: found[1] + msgspec.json.encode(named), body)
    return msgspec.json.encode({**members, "model": named})


def _check_has_one_answer(operation: Operation, members: dict[str, Any]) -> None:
    if operation == "chat" and members.get("temperature") != 0 and members.get("seed") is None:
        raise Rejected(
            "Only a request that has one answer can be cached: set temperature to 0, or give a seed",
            fields=("x-sq-cache", "temperature", "seed"),
        )


def _intent(passage: Passage, members: dict[str, Any], policy: AttemptPolicy, *, streams: bool) -> CallIntent:
    prepared = passage.prepared
    place = {"provider": prepared.provider, "endpoint": prepared.endpoint, "model": prepared.model}
    if prepared.operation == "chat":
        # Streaming is transport: the request's hash is that of the same request unstreamed, whoever asks.
        apart = {"model", "messages", "stream", "stream_options"}
        parameters = {name: value for name, value in members.items() if name not in apart}
        request_hash = chat_request_hash(
            **place, messages=members.get("messages", ()), parameters=parameters, sample_index=0
        )
        tell = (lambda _text: None) if streams else None  # its bytes are passed on instead
        return CallIntent(prepared=prepared, modality="text", request_hash=request_hash, policy=policy, tell=tell)
    parameters = {name: value for name, value in members.items() if name not in {"model", "input"}}
    dimensions = members.get("dimensions")
    return CallIntent(
        prepared=prepared,
        modality="embedding",
        request_hash=embeddings_request_hash(**place, inputs=members.get("input"), parameters=parameters),
        policy=policy,
        input_hashes=_hashes_of_texts(members, **place),
        dimensions=dimensions if type(dimensions) is int else None,
    )


def _hashes_of_texts(members: dict[str, Any], *, provider: str, endpoint: str, model: str) -> bytes:
    """Under what the vectors are found again, (n_texts x 32) bytes; none where they may be others than ours would be.

    Our own texts are composed and stripped before they are embedded, so that only those count that are so already;
    and our vectors come in base64, which keeps every bit.
    """
    given, dimensions = members.get("input"), members.get("dimensions")
    texts = [given] if isinstance(given, str) else given
    plain = members.keys() <= PLAIN_EMBEDDING and members.get("encoding_format") == "base64"
    if not plain or not isinstance(texts, list) or not isinstance(dimensions, int | None):
        return b""
    try:
        if not texts or normalised_texts(texts) != texts:
            return b""
    except Rejected:
        return b""
    hashes = embedding_request_hashes(texts, provider=provider, endpoint=endpoint, model=model, dimensions=dimensions)
    return bytes.fromhex("".join(hashes))
