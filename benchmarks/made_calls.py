"""Made-up calls of a long study, the same whenever they are made: what `benchmarks/queries.py` fills a store with.

60 days of chats with seven models of three providers, their texts made of words as frequent as in any language (the
n-th most frequent one stands in proportion to 1/n), and beside them the words of `WORDS`, each in a known share of the
calls. Of 1,000 calls 10 fail, 1 is cancelled and 20 are answered at the second attempt.
"""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple
from uuid import UUID

import msgspec

from application.ports import NewEvent, Payload
from domain.calls import AttemptError, CallAnswered, CallAttemptFailed, CallCancelled, CallFailed, CallRequested, Tokens
from domain.events import Envelope, Fact
from domain.groups import GroupCreated, GroupMembersAdded, Member, group_id_of
from domain.pricing import Charge, Price

DAYS = 60
CHUNK = 5_000  # calls that are made together
AT_ONCE = 50  # of them are under way at a time
CHUNK_EVENTS = 2 * CHUNK + CHUNK // 100 + CHUNK // 50 + 3
LARGE_GROUP, RUNS = ("experiment", "every tenth call"), "batch"
LARGE_GROUP_ID = group_id_of(*LARGE_GROUP)

# The share of calls in whose prompt or answer a word stands, and which of both.
WORDS = {
    "theorem": (0.1, "prompt"),
    "gradient": (0.01, "prompt"),
    "marmalade": (0.001, "answer"),
    "obelisk": (0.0001, "answer"),
    "quasar": (0.00001, "prompt"),
}
LONG_AGO = "fortran"  # in half of the prompts of the first twentieth of the time, and never again
COMMON = ("the", "of", "and", "to", "in", "is", "that", "for", "as", "with")

# A provider, a model and its share of the calls.
MODELS = (
    ("openai", "gpt-4o-mini", 0.4),
    ("openai", "gpt-4o", 0.15),
    ("openai", "o4-mini", 0.05),
    ("azure", "gpt-4o-mini", 0.2),
    ("azure", "gpt-4o", 0.0999),
    ("azure", "gpt-35-turbo", 0.0001),
    ("local", "llama-3.1-8b", 0.1),
)
ACTORS = (("nightly", 0.7), ("ada", 0.2), ("grace", 0.0999), ("auditor", 0.0001))
RARE_MODEL, RARE_ACTOR = "gpt-35-turbo", "auditor"
CORRELATION = UUID(int=0x7E57)


class Made(NamedTuple):
    """An event, its bodies beside it in `payloads`, and when it is recorded."""

    event: NewEvent
    at: datetime


class Study:
    """So many calls, spread over the days from `begin` on; any chunk of them can be made by itself."""

    def __init__(self, calls: int, begin: datetime) -> None:
        self.chunks = max(1, calls // CHUNK)
        self.calls = self.chunks * CHUNK
        self._step = timedelta(days=DAYS) / self.calls
        self._begin = begin

    def events_before(self, chunk: int) -> int:
        """How many events come before a chunk."""
        return 1 + chunk * CHUNK_EVENTS

    def beginning(self) -> Made:
        """The first event: the large group is there before its members."""
        created = GroupCreated(group_type=LARGE_GROUP[0], name=LARGE_GROUP[1])
        return self._made(LARGE_GROUP_ID, 1, created, self._begin, "nightly")

    def chunk(self, number: int) -> list[Made]:
        """The events of a chunk in order; behind those of the chunks before."""
        first = number * CHUNK
        chance = random.Random(number)
        made: list[Made] = []
        ids: list[UUID] = []
        for start in range(first, first + CHUNK, AT_ONCE):
            block = [self.call(index, self.at(index), chance) for index in range(start, start + AT_ONCE)]
            ids += [call[0].event.stream_id for call in block]
            at = self.at(start + AT_ONCE)
            made += [call[0] for call in block]
            made += [Made(later.event, at) for call in block for later in call[1:]]
        return made + self._groups(number, ids, self.at(first + CHUNK))

    def at(self, index: int) -> datetime:
        """When a call is asked."""
        return self._begin + index * self._step

    def call(self, index: int, at: datetime, chance: random.Random) -> list[Made]:
        """The events of one call."""
        call_id, actor = _id(at, chance), _chosen(ACTORS, chance)
        provider, model = _chosen_model(chance)
        request = self._prompt(index, model, chance)
        asked = CallRequested(
            modality="text",
            provider=provider,
            endpoint=f"https://{provider}.example/v1",
            model=model,
            operation="chat",
            request=request.ref(),
            request_hash=chance.randbytes(32).hex(),
            max_attempts=3,
            attempt_timeout_seconds=60.0,
            metadata={"run": index // CHUNK},
        )
        facts = self._end(index, provider, model, chance)
        made = [self._made(call_id, 1, asked, at, actor, request)]
        for version, (fact, *bodies) in enumerate(facts, start=2):
            made.append(self._made(call_id, version, fact, at + timedelta(seconds=2), actor, *bodies))
        return made

    def _end(self, index: int, provider: str, model: str, chance: random.Random) -> list[tuple]:
        """What comes after the request: an answer, or whatever keeps it from coming."""
        latency = chance.lognormvariate(6.5, 0.6)
        slow = AttemptError(kind="rate_limited", message="slow down", transient=True, http_status=429)
        if index % 1000 == 501:
            return [(CallCancelled(attempts=1, reason="the caller left", total_ms=latency),)]
        if index % 100 == 17:
            wrong = AttemptError(kind="bad_request", message="no such thing", transient=False, http_status=400)
            failed = CallAttemptFailed(attempt=1, error=wrong, latency_ms=latency)
            return [(failed,), (CallFailed(attempts=1, error=wrong, total_ms=latency),)]
        retried = index % 50 == 9
        response, tokens = _answer(index, model, chance)
        answered = CallAnswered(
            attempt=1 + retried,
            latency_ms=latency,
            total_ms=latency * (1 + retried),
            tokens=tokens,
            response=response.ref(),
            served_model=model,
            http_status=200,
            headers={"x-request-id": f"req_{index:016x}"},
            finish_reason="stop",
            text_path=("choices", "0", "message", "content"),
            charge=_charge(provider, model, tokens),
        )
        again = CallAttemptFailed(attempt=1, error=slow, latency_ms=latency, waits_seconds=1.0)
        return [*([(again,)] if retried else []), (answered, response)]

    def _prompt(self, index: int, model: str, chance: random.Random) -> Payload:
        words = [f"ticket{index:07d}", *_phrases(2, chance), *_named("prompt", chance)]
        if index < self.calls // 20 and chance.random() < 0.5:
            words.append(LONG_AGO)
        asked = {"model": model, "messages": [{"role": "user", "content": " ".join(words)}], "max_tokens": 400}
        return Payload(part="request", body=msgspec.json.encode(asked), media_type="application/json", is_json=True)

    def _groups(self, number: int, ids: list[UUID], at: datetime) -> list[Made]:
        """Every tenth call in the large group, and every tenth in one of the chunk's own."""
        name = f"run {number}"
        run = group_id_of(RUNS, name)
        members = [Member(call_id=each, role="output", position=place) for place, each in enumerate(ids[3::10])]
        chance = random.Random(f"groups {number}")
        added = [
            (LARGE_GROUP_ID, tuple(Member(call_id=each, role="output") for each in ids[5::10])),
            (run, tuple(members)),
        ]
        return [
            self._made(run, 1, GroupCreated(group_type=RUNS, name=name), at, "nightly"),
            *(
                self._made(_id(at, chance), 1, GroupMembersAdded(group_id=group, members=some), at, "nightly")
                for group, some in added
            ),
        ]

    def _made(self, stream: UUID, version: int, fact: Fact, at: datetime, actor: str, *bodies: Payload) -> Made:
        envelope = Envelope(at, actor, "00000000000000a1", CORRELATION)
        return Made(NewEvent(stream_id=stream, version=version, fact=fact, envelope=envelope, payloads=bodies), at)


class Words:
    """Phrases of ten words each, of 20,000 words: made once, since a million texts are made of them."""

    @cached_property
    def phrases(self) -> list[str]:
        """What texts are made of."""
        chance = random.Random(7)
        syllables = [first + second for first in "bdfgklmnprstvz" for second in ("a", "e", "i", "o", "u", "an", "el")]
        words = [*COMMON, *("".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(20_000))]
        shares = list(accumulate(1 / place for place in range(1, len(words) + 1)))
        return [" ".join(chance.choices(words, cum_weights=shares, k=10)) for _ in range(50_000)]


_WORDS = Words()


def _phrases(count: int, chance: random.Random) -> Iterator[str]:
    phrases = _WORDS.phrases
    for _ in range(count):
        yield phrases[int(chance.random() * len(phrases))]


def _named(part: str, chance: random.Random) -> list[str]:
    return [word for word, (share, where) in WORDS.items() if where == part and chance.random() < share]


def _answer(index: int, model: str, chance: random.Random) -> tuple[Payload, Tokens]:
    text = " ".join([*_phrases(3, chance), *_named("answer", chance)])
    prompt, completion = 20 + int(chance.random() * 20), 30 + int(chance.random() * 40)
    said = {
        "id": f"chatcmpl-{index:016x}",
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
    }
    body = Payload(part="response", body=msgspec.json.encode(said), media_type="application/json", is_json=True)
    return body, Tokens(prompt=prompt, completion=completion, total=prompt + completion)


def _charge(provider: str, model: str, tokens: Tokens) -> Charge | None:
    """What it costs; of what runs here, nothing is known."""
    if provider == "local":
        return None
    price = Price(provider=provider, model=model, input=Decimal("0.15"), output=Decimal("0.6"), source="benchmark")
    return Charge(price=price, cost=Decimal(15 * (tokens.prompt or 0) + 60 * (tokens.completion or 0)).scaleb(-8))


def _chosen(shares: tuple[tuple[str, float], ...], chance: random.Random) -> str:
    left = chance.random()
    for name, share in shares:
        left -= share
        if left < 0:
            return name
    return shares[0][0]


def _chosen_model(chance: random.Random) -> tuple[str, str]:
    left = chance.random()
    for provider, model, share in MODELS:
        left -= share
        if left < 0:
            return provider, model
    return MODELS[0][:2]


def _id(at: datetime, chance: random.Random) -> UUID:
    """A UUIDv7, as the ids of real calls are."""
    number = (int(at.timestamp() * 1000) << 80) | (7 << 76) | (2 << 62)
    return UUID(int=number | (chance.getrandbits(12) << 64) | chance.getrandbits(62))
