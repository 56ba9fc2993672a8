"""As of any position, every query answers as a replay of the log up to there does, whatever has happened.

STUDY_TEST_SCALE multiplies the number of histories; they are the same at every run unless it is above 1.
"""

import asyncio
import os
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test
from msgspec.structs import replace
from psycopg_pool import AsyncConnectionPool

from application.keep_conversation import messages_payload
from application.ports import Payload
from application.stored_vectors import FOR_SEARCH
from domain.artifacts import ArtifactKept
from domain.calls import CallFoundInDoubt, CallJoined, CallRequested, CallServedFromCache, VectorBlock
from domain.conversations import ConversationClosed, ConversationForked, ConversationStarted, ConversationTurnTaken
from domain.datasets import DatasetImported, VectorsImported
from domain.events import Fact
from domain.groups import (
    LINKS_STREAM_ID,
    GroupCreated,
    GroupDescribed,
    GroupLinked,
    GroupMembersAdded,
    GroupMembersRemoved,
    GroupUnlinked,
    Member,
)
from domain.sweeps import (
    SweepCancelled,
    SweepFailed,
    SweepFinished,
    SweepInterrupted,
    SweepRequested,
    SweepResumed,
    SweepRoundFinished,
    SweepStarted,
    SweepStepFinished,
)
from domain.tokens import TOKENS_STREAM_ID, TokenIssued, TokenRevoked
from projections.follow import Follower
from projections.generations import install, opened
from projections.queries import Queries
from projections.read_models import READ_MODELS
from tests.conftest import Database, fresh_database
from tests.projections.log import (
    COMPLETION,
    NOON,
    PROCESS,
    REQUEST,
    RESPONSE,
    STREAM,
    Log,
    answered,
    attempt_failed,
    broke_off,
    failed,
    left,
    requested,
    streamed,
)
from tests.projections.questions import QUESTIONS, TURNS, Known, all_questions, answers
from tests.projections.replayed import Redirect, replaying
from tests.support.facts import EXAMPLES, PREPROCESSED

SCALE = float(os.environ.get("STUDY_TEST_SCALE", "1"))
BY_TYPE: dict[type[Fact], Any] = {type(fact): fact for fact in EXAMPLES}
PROJECTED = {fact_type for model in READ_MODELS for fact_type in model.reads}
HASHES = [bytes([number]) * 32 for number in range(5)]

EVENTS_BETWEEN_LOOKS = 15

which = st.integers(min_value=0, max_value=10**6)  # of those there are
batch_sizes = st.sampled_from([1, 2, 3, 7, 50, 2000])
rows = st.lists(st.integers(0, len(HASHES) - 1), min_size=1, max_size=4)


class Past:
    """A store of its own, its read models, and queries of both them and a replay."""

    def __init__(self, database: Database) -> None:
        def connect() -> psycopg.Connection[Any]:
            return psycopg.connect(database.application_uri)

        self._stack = ExitStack()
        self.log = Log(database.application_uri)
        self._stack.callback(self.log.close)
        self.connection = self._stack.enter_context(opened(connect))
        install(self.connection, READ_MODELS)
        self.follower = Follower(self.log, connect, READ_MODELS)
        self._stack.callback(self.follower.close)
        self._loop = self._stack.enter_context(asyncio.Runner())
        self.redirect = Redirect()
        self.live = self._queries(AsyncConnectionPool(database.application_uri, min_size=1, max_size=1, open=False))
        self.replay = self._queries(self.redirect.pool(database.application_uri))

    def _queries(self, pool: AsyncConnectionPool[Any]) -> Queries:
        async def opened() -> None:
            await pool.open()

        self._loop.run(opened())
        self._stack.callback(lambda: self._loop.run(pool.close()))
        return Queries(pool)

    def compare(
        self, known: Known, positions: Sequence[int], chance: random.Random, *, limit: int = 3, batch_size: int = 2000
    ) -> None:
        """Every query as of each position, about some of what is known, with the same one of a replay up to there."""
        with replaying(self.connection, self.log, READ_MODELS, self.redirect, batch_size=batch_size) as replay_up_to:
            for position in sorted(positions):
                replay_up_to(position)
                some = replace(known.some(chance), turn=position)
                expected = self._loop.run(answers(self.replay, some, as_of=None))
                found = self._loop.run(answers(self.live, some, as_of=position, limit=limit))
                for question, answer in found.items():
                    assert answer == expected[question], f"{question} as of {position}"

    def check_position_at(self, position: int, microseconds: int) -> None:
        """The time of a position's recording, or one beside it, leads by bisection to where looking at all does."""
        recorded = [(event.recorded_at, event.position) for event in self.log.page(after=0, limit=10_000)]
        moment = {at: when for when, at in recorded}[position] + timedelta(microseconds=microseconds)
        expected = max((at for when, at in recorded if when <= moment), default=0)
        row = self.connection.execute("SELECT events.position_at(%s)", (moment,)).fetchone()
        assert row == (expected,)

    def close(self) -> None:
        self._stack.close()


class Histories(RuleBasedStateMachine):
    """Writes what may happen, in any order and in appends of any size, and looks back now and then."""

    @contextmanager
    def database(self) -> Iterator[Database]:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.past = Past(self.stack.enter_context(self.database()))
        self.stack.callback(self.past.close)
        self.log = self.past.log
        self.known = Known(hashes=[each.hex() for each in HASHES])
        self.pending: list[tuple[UUID, Fact, Sequence[Payload]]] = []
        self.calls: dict[UUID, tuple[CallRequested, int]] = {}  # that have not ended, with their failed attempts
        self.doubted: set[UUID] = set()
        self.sweeps: dict[UUID, bool] = {}  # that are not finished: whether they run
        self.wanted: list[UUID] = []  # sweeps that were asked for and have not started
        self.conversations: dict[UUID, int] = {}  # with the numbers of their last turns
        self.closed: set[UUID] = set()
        self.tokens: list[UUID] = []  # that are not revoked
        self.looked_back_at = 0
        self.numbers = iter(range(1, 10**9))

    def teardown(self) -> None:
        self.stack.close()

    def happens(self, stream_id: UUID, *facts: Fact, payloads: Sequence[Payload] = ()) -> None:
        self.pending += [(stream_id, fact, payloads if number == 0 else ()) for number, fact in enumerate(facts)]

    def new_id(self) -> UUID:
        return UUID(int=next(self.numbers))

    def a_call(self, number: int) -> UUID:
        return list(self.calls)[number % len(self.calls)]

    def a_group(self, number: int) -> UUID:
        return list(self.known.groups)[number % len(self.known.groups)]

    def a_conversation(self, number: int) -> UUID:
        return list(self.conversations)[number % len(self.conversations)]

    def a_sweep(self, number: int) -> UUID:
        return list(self.sweeps)[number % len(self.sweeps)]

    # Writing

    @initialize()
    def there_is_one_of_each(self) -> None:
        """So that every rule has something to go on with from the start."""
        self.calls_are_requested(count=1, provider="openai")
        self.an_embedding_is_requested(rows=[0, 1, 0], in_passing=False)
        self.a_call_is_joined(number=0, joins=2)
        self.earlier_answers_are_given_again(number=0)
        self.a_group_is_created(group_type="run")
        self.a_dataset_is_imported(named_first=False, names=1)
        self.vectors_are_imported()
        self.an_artifact_is_kept(number=0, name="run/labels.npy", scatter=False)
        self.a_sweep_starts()
        self.a_conversation_begins(titled=False)
        self.a_token_is_issued(expires=False)

    @rule(seconds=st.integers(min_value=-3, max_value=1))
    def time_goes_on_or_back(self, seconds: int) -> None:
        """Each event is a second later than the one before, but for these: equal times, and times out of order."""
        self.log.at += timedelta(seconds=seconds)

    @rule()
    def what_happened_is_appended(self) -> None:
        if self.pending:
            self.log.write_all(self.pending)
            self.pending = []

    @rule(count=st.integers(min_value=1, max_value=4), provider=st.sampled_from(["openai", "azure"]))
    def calls_are_requested(self, count: int, provider: str) -> None:
        for _ in range(count):
            # What was kept of the original is a body of the first event, like the request.
            kept = replace(PREPROCESSED, original=None) if provider == "azure" else None
            self._request(requested(provider=provider, preprocessing=kept))

    @rule(rows=rows, in_passing=st.booleans())
    def an_embedding_is_requested(self, rows: list[int], in_passing: bool) -> None:
        hashes, metadata = b"".join(HASHES[row] for row in rows), FOR_SEARCH if in_passing else {}
        self._request(requested(modality="embedding", input_hashes=hashes, metadata=metadata))

    def _request(self, fact: Fact) -> None:
        call_id = self.new_id()
        assert isinstance(fact, CallRequested)
        self.calls[call_id] = (fact, 0)
        self.known.calls.append(call_id)
        self.happens(call_id, fact, payloads=[REQUEST])

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def an_attempt_fails(self, number: int) -> None:
        call_id = self.a_call(number)
        fact, attempts = self.calls[call_id]
        self.calls[call_id] = (fact, attempts + 1)
        self.happens(call_id, attempt_failed(attempts + 1))

    @precondition(lambda self: self.calls)
    @rule(number=which, end=st.sampled_from(["answered", "broken", "left"]))
    def a_stream_ends(self, number: int, end: str) -> None:
        chats = [call_id for call_id, (fact, _) in self.calls.items() if not fact.input_hashes]
        if not chats:
            return
        call_id = chats[number % len(chats)]
        _, attempts = self.calls.pop(call_id)
        facts: dict[str, list[Fact]] = {
            "answered": [streamed(attempt=attempts + 1)],
            "broken": [broke_off(attempts + 1), failed(attempts + 1)],
            "left": [left(attempts + 1, streamed=True)],
        }
        self.happens(call_id, *facts[end], payloads=[STREAM, COMPLETION])

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def a_call_is_answered(self, number: int) -> None:
        call_id = self.a_call(number)
        fact, attempts = self.calls.pop(call_id)
        response, block = RESPONSE, None
        if fact.input_hashes:
            count = len(fact.input_hashes) // 32
            response = replace(RESPONSE, vectors=np.ones((count, 3), dtype="<f4").tobytes())
            block = VectorBlock(count=count, dimension=3, norms=np.full(count, 3**0.5, dtype="<f4").tobytes())
        self.happens(call_id, answered(attempt=attempts + 1, response=response, vectors=block), payloads=[response])

    @precondition(lambda self: self.calls)
    @rule(number=which, cancelled=st.booleans())
    def a_call_ends_without_an_answer(self, number: int, cancelled: bool) -> None:
        call_id = self.a_call(number)
        _, attempts = self.calls.pop(call_id)
        self.happens(call_id, left(attempts) if cancelled else failed(attempts))

    @precondition(lambda self: self.known.calls)
    @rule(number=which, joins=st.integers(1, 2))
    def a_call_is_joined(self, number: int, joins: int) -> None:
        """And perhaps another one, when the first comes to nothing."""
        joiner_id, calls = self.new_id(), self.known.calls
        joined = [replace(BY_TYPE[CallJoined], call_id=calls[(number + more) % len(calls)]) for more in range(joins)]
        self.known.calls.append(joiner_id)
        self.happens(joiner_id, *joined)

    @precondition(lambda self: len(self.known.calls) > 1)
    @rule(number=which)
    def earlier_answers_are_given_again(self, number: int) -> None:
        served_id, calls = self.new_id(), self.known.calls
        sources = (calls[number % len(calls)], calls[(number + 1) % len(calls)])
        self.known.calls.append(served_id)
        self.happens(served_id, replace(BY_TYPE[CallServedFromCache], call_ids=sources))

    @precondition(lambda self: self.calls)
    @rule(number=which)
    def a_call_is_found_in_doubt(self, number: int) -> None:
        """Once. It may still go on, or be answered late: whoever made it may have been thought dead too early."""
        call_id = self.a_call(number)
        if call_id not in self.doubted:
            self.doubted.add(call_id)
            self.happens(call_id, CallFoundInDoubt(dead_process=PROCESS, first_seen_dead_at=NOON))

    @rule(group_type=st.sampled_from(["run", "dataset"]))
    def a_group_is_created(self, group_type: str) -> None:
        group_id = self.new_id()
        name = f"group {group_id.int}"
        self.known.groups[group_id] = (group_type, name)
        self.happens(group_id, GroupCreated(group_type=group_type, name=name, metadata={"dataset_id": "none"}))

    @precondition(lambda self: self.known.groups and self.known.calls)
    @rule(number=which, members=st.lists(st.tuples(which, st.sampled_from([None, 0, 1])), min_size=1, max_size=5))
    def members_are_added(self, number: int, members: list[tuple[int, int | None]]) -> None:
        """Some of them are members already."""
        calls = self.known.calls
        added = tuple(
            Member(call_id=calls[one % len(calls)], role=("input", "output")[one % 2], position=place)
            for one, place in members
        )
        self.happens(self.new_id(), GroupMembersAdded(group_id=self.a_group(number), members=added))

    @precondition(lambda self: self.known.groups and self.known.calls)
    @rule(number=which, members=st.lists(which, min_size=1, max_size=5))
    def members_are_removed(self, number: int, members: list[int]) -> None:
        """Some of them are no members; they may come again."""
        calls = self.known.calls
        call_ids = tuple(calls[one % len(calls)] for one in members)
        self.happens(self.new_id(), GroupMembersRemoved(group_id=self.a_group(number), call_ids=call_ids))

    @precondition(lambda self: self.known.groups)
    @rule(number=which, description=st.sampled_from(["", "the first", "the second"]))
    def a_group_is_described(self, number: int, description: str) -> None:
        described = GroupDescribed(description=description, metadata={"dataset_id": "none", "said": description})
        self.happens(self.a_group(number), described)

    @precondition(lambda self: self.known.groups)
    @rule(
        parent=which, child=which, link_type=st.sampled_from(["step", "depends_on"]), place=st.sampled_from([None, 1])
    )
    def groups_are_linked(self, parent: int, child: int, link_type: Any, place: int | None) -> None:
        """Perhaps once more."""
        link = GroupLinked(
            parent_group_id=self.a_group(parent),
            child_group_id=self.a_group(child),
            link_type=link_type,
            position=place,
        )
        self.happens(LINKS_STREAM_ID, link)

    @precondition(lambda self: self.known.groups)
    @rule(parent=which, child=which, link_type=st.sampled_from(["step", "depends_on"]))
    def groups_are_unlinked(self, parent: int, child: int, link_type: Any) -> None:
        """Perhaps where no link stands."""
        unlinked = GroupUnlinked(
            parent_group_id=self.a_group(parent), child_group_id=self.a_group(child), link_type=link_type
        )
        self.happens(LINKS_STREAM_ID, unlinked)

    @rule(named_first=st.booleans(), names=st.integers(min_value=1, max_value=2))
    def a_dataset_is_imported(self, named_first: bool, names: int) -> None:
        dataset_id = self.new_id()
        self.known.datasets.append(dataset_id)
        if not named_first:
            self.happens(dataset_id, BY_TYPE[DatasetImported])
        for _ in range(names):
            group_id = self.new_id()
            self.known.groups[group_id] = ("dataset", f"dataset {group_id.int}")
            metadata = {"dataset_id": str(dataset_id)}
            self.happens(
                group_id, GroupCreated(group_type="dataset", name=f"dataset {group_id.int}", metadata=metadata)
            )
        if named_first:
            self.happens(dataset_id, BY_TYPE[DatasetImported])

    @rule()
    def vectors_are_imported(self) -> None:
        vectors_id = self.new_id()
        self.known.vectors.append(vectors_id)
        self.happens(vectors_id, BY_TYPE[VectorsImported])

    @precondition(lambda self: self.known.groups)
    @rule(number=which, name=st.sampled_from(["run/labels.npy", "run/scatter.npy"]), scatter=st.booleans())
    def an_artifact_is_kept(self, number: int, name: str, scatter: bool) -> None:
        artifact_id = self.new_id()
        self.known.artifacts += [artifact_id, name]
        kept = replace(BY_TYPE[ArtifactKept], name=name, group_id=self.a_group(number))
        self.happens(artifact_id, replace(kept, artifact_type="scatter") if scatter else kept)

    @rule()
    def a_sweep_is_asked_for(self) -> None:
        sweep_id = self.new_id()
        self.known.sweeps.append(sweep_id)
        self.wanted.append(sweep_id)
        self.happens(sweep_id, BY_TYPE[SweepRequested])

    @precondition(lambda self: self.sweeps)
    @rule(number=which)
    def a_sweep_is_asked_for_again(self, number: int) -> None:
        sweep_id = self.a_sweep(number)
        self.sweeps[sweep_id] = False
        self.happens(sweep_id, replace(BY_TYPE[SweepRequested], compute=None))

    @rule()
    def a_sweep_starts(self) -> None:
        sweep_id = self.wanted.pop() if self.wanted else self.new_id()
        if sweep_id not in self.known.sweeps:
            self.known.sweeps.append(sweep_id)
        self.sweeps[sweep_id] = True
        started, groups = BY_TYPE[SweepStarted], list(self.known.groups)
        if groups:
            source = replace(started.source, embedding_group_id=groups[0], vectors_id=self.known.vectors[0])
            started = replace(started, source=source, run_group_id=groups[-1])
        self.happens(sweep_id, started)

    @precondition(lambda self: self.sweeps)
    @rule(number=which, k=st.sampled_from([2, 3]), duration_s=st.sampled_from([0.5, 2.0]))
    def a_round_is_finished(self, number: int, k: int, duration_s: float) -> None:
        done = BY_TYPE[SweepRoundFinished]
        call_id = self.known.calls[number % len(self.known.calls)]
        summaries = (replace(done.summaries[0], call_id=call_id), *done.summaries[1:])
        self.happens(self.a_sweep(number), replace(done, k=k, summaries=summaries, duration_s=duration_s))

    @precondition(lambda self: self.sweeps)
    @rule(number=which, k=st.sampled_from([2, 3]), duration_s=st.sampled_from([0.5, 2.0]))
    def a_step_is_finished(self, number: int, k: int, duration_s: float) -> None:
        """Perhaps by two processes, of which one was thought dead."""
        step = BY_TYPE[SweepStepFinished]
        finished = replace(step, metrics=replace(step.metrics, k=k), duration_s=duration_s)
        self.happens(self.a_sweep(number), finished)

    @precondition(lambda self: self.sweeps)
    @rule(number=which)
    def a_sweep_fails_or_goes_on(self, number: int) -> None:
        sweep_id = self.a_sweep(number)
        runs = self.sweeps[sweep_id]
        self.sweeps[sweep_id] = not runs
        ends = [SweepFailed(reason="the disk is full"), BY_TYPE[SweepCancelled], BY_TYPE[SweepInterrupted]]
        self.happens(sweep_id, ends[number % 3] if runs else SweepResumed(finished_steps=1))

    @precondition(lambda self: self.sweeps)
    @rule(number=which)
    def a_sweep_is_finished(self, number: int) -> None:
        sweep_id = self.a_sweep(number)
        del self.sweeps[sweep_id]
        finished, call_id = BY_TYPE[SweepFinished], self.known.calls[number % len(self.known.calls)]
        clusters = (replace(finished.clusters[0], named_by_call_id=call_id),)
        hashes = ((HASHES[number % len(HASHES)].hex(),), ())
        self.happens(sweep_id, replace(finished, clusters=clusters, representative_hashes=hashes))

    @rule(titled=st.booleans())
    def a_conversation_begins(self, titled: bool) -> None:
        conversation_id = self.new_id()
        self.conversations[conversation_id] = 0
        self.known.conversations.append(conversation_id)
        self.happens(conversation_id, replace(BY_TYPE[ConversationStarted], title="primes" if titled else None))

    @precondition(lambda self: self.conversations)
    @rule(number=which, again=st.booleans())
    def a_turn_is_taken(self, number: int, again: bool) -> None:
        """Perhaps by two processes, of which the journal of one was appended late."""
        conversation_id = self.a_conversation(number)
        turn = self.conversations[conversation_id] = self.conversations[conversation_id] + 1
        for call in range(1 + again):
            taken = replace(BY_TYPE[ConversationTurnTaken], turn=turn, call_id=UUID(int=call), opening=f"turn {turn}")
            self.happens(conversation_id, taken, payloads=[messages_payload(f"turn {turn}", f"answer {call}")])

    @precondition(lambda self: self.conversations)
    @rule(number=which, at=which)
    def a_conversation_is_forked(self, number: int, at: int) -> None:
        fork_id, parent_id = self.new_id(), self.a_conversation(number)
        at_turn = at % (self.conversations[parent_id] + 1)
        self.conversations[fork_id] = at_turn
        self.known.conversations.append(fork_id)
        self.happens(fork_id, replace(BY_TYPE[ConversationForked], parent_id=parent_id, at_turn=at_turn))

    @precondition(lambda self: self.conversations)
    @rule(number=which)
    def a_conversation_is_closed(self, number: int) -> None:
        """Once. A turn that was under way then is still taken."""
        conversation_id = self.a_conversation(number)
        if conversation_id not in self.closed:
            self.closed.add(conversation_id)
            self.happens(conversation_id, BY_TYPE[ConversationClosed])

    @rule(expires=st.booleans())
    def a_token_is_issued(self, expires: bool) -> None:
        issued, token_id = BY_TYPE[TokenIssued], self.new_id()
        self.tokens.append(token_id)
        name, expires_at = f"token {token_id.int}", issued.expires_at if expires else None
        self.happens(TOKENS_STREAM_ID, replace(issued, token_id=token_id, name=name, expires_at=expires_at))

    @precondition(lambda self: self.tokens)
    @rule(number=which)
    def a_token_is_revoked(self, number: int) -> None:
        token_id = self.tokens.pop(number % len(self.tokens))
        self.happens(TOKENS_STREAM_ID, TokenRevoked(token_id=token_id, name=f"token {token_id.int}"))

    # Following, and looking back

    @rule(batch_size=batch_sizes, rounds=st.integers(min_value=1, max_value=3))
    def the_read_models_follow(self, batch_size: int, rounds: int) -> None:
        self.past.follower.batch_size = batch_size
        for _ in range(rounds):
            self.past.follower.step()

    @precondition(lambda self: len(self.pending) + self.log.written - self.looked_back_at >= EVENTS_BETWEEN_LOOKS)
    @rule(
        numbers=st.lists(which, min_size=1, max_size=8),
        microseconds=st.sampled_from([-1, 0, 1]),
        limit=st.sampled_from([1, 3, 1000]),
        batch_size=batch_sizes,
        chance=st.randoms(use_true_random=False),
    )
    def the_past_is_as_a_replay_shows_it(
        self, numbers: list[int], microseconds: int, limit: int, batch_size: int, chance: random.Random
    ) -> None:
        self.what_happened_is_appended()
        last = self.looked_back_at = self.log.written
        positions = {number % (last + 1) for number in numbers}
        for position in positions - {0}:
            self.past.check_position_at(position, microseconds)
        assert self.past.follower.catch_up(max(positions)).failures == ()
        self.past.compare(self.known, sorted(positions), chance, limit=limit, batch_size=batch_size)


@pytest.fixture
def histories(server: tuple[str, str], template: str) -> type[Histories]:
    """Histories in databases of their own."""

    class Here(Histories):
        def database(self) -> Any:
            return fresh_database(server, template)

    return Here


def test_whatever_happens_every_query_as_of_a_position_answers_as_a_replay_does(histories: type[Histories]) -> None:
    run_state_machine_as_test(
        histories,
        settings=settings(
            max_examples=max(1, round(3 * SCALE)),
            stateful_step_count=100,
            deadline=None,
            derandomize=SCALE <= 1,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_all_that_can_happen_is_seen_as_of_every_position(histories: type[Histories]) -> None:
    history = histories()
    try:
        history.there_is_one_of_each()
        history.members_are_added(0, [(0, 1), (1, None), (0, None)])
        history.members_are_removed(0, [0, 1])
        history.members_are_added(0, [(1, 0)])
        history.groups_are_linked(0, 1, "step", None)
        history.groups_are_unlinked(0, 1, "step")
        history.groups_are_linked(0, 1, "step", 1)
        history.a_group_is_described(0, "the run")
        history.an_attempt_fails(0)
        history.a_call_is_found_in_doubt(0)
        history.a_call_is_answered(0)
        history.a_call_is_answered(0)
        history.calls_are_requested(5, "azure")
        for end in ("answered", "broken", "left"):
            history.a_stream_ends(0, end)
        history.a_call_ends_without_an_answer(0, cancelled=True)
        history.a_call_ends_without_an_answer(0, cancelled=False)
        history.a_step_is_finished(0, 2, 0.5)
        for end in range(3):
            history.a_sweep_fails_or_goes_on(end)
            history.a_sweep_fails_or_goes_on(0)
        history.a_step_is_finished(0, 2, 2.0)
        history.a_round_is_finished(0, 2, 0.5)
        history.a_round_is_finished(0, 2, 2.0)
        history.a_sweep_is_asked_for_again(0)
        history.a_sweep_is_asked_for()
        history.a_sweep_is_finished(0)
        history.a_turn_is_taken(0, again=False)
        history.a_turn_is_taken(0, again=True)
        history.a_conversation_is_forked(0, at=2)
        history.a_conversation_is_forked(1, at=1)
        for conversation in range(3):
            history.a_turn_is_taken(conversation, again=False)
        history.a_conversation_is_closed(0)
        history.a_turn_is_taken(0, again=False)
        history.a_token_is_revoked(0)
        history.what_happened_is_appended()
        assert {type(event.fact) for event in history.log.page(after=0, limit=1000)} == PROJECTED
        history.past.follower.catch_up()
        history.past.compare(history.known, range(history.log.written + 1), random.Random(7), batch_size=1)
    finally:
        history.teardown()


def test_the_comparison_is_complete(database: Database) -> None:
    """Every method of Queries that takes as_of is compared, and all tables of all read models are read for it."""
    past = Past(database)
    try:
        assert set(QUESTIONS) == all_questions(past.live)
        one, group = UUID(int=1), UUID(int=9)
        past.log.write(one, requested())
        past.log.write(group, GroupCreated(group_type="run", name="r"))
        past.log.write(UUID(int=2), requested())
        past.follower.catch_up()
        known = Known([one, UUID(int=2)], ["00" * 32], {group: ("run", "r")}, [one], [one], [one, "name"], [one])
        past.compare(known, range(TURNS), random.Random(7))
        tables = {table.name for model in READ_MODELS for table in model.tables}
        assert past.redirect.tables_read == tables
    finally:
        past.close()
