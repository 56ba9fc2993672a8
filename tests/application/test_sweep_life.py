"""What becomes of a sweep that is cancelled, stopped, thought dead, taken up by another process, or killed anywhere."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest

from application.ports import Append
from application.recover_sweeps import RecoverSweeps, RunningSweep
from application.sweep_turns import SweepTurns, SweepUnderWay, SweepWasCancelled
from domain.errors import Conflict, NotFound, Unavailable
from domain.events import Fact
from domain.sweeps import (
    SweepCancelled,
    SweepFinished,
    SweepInterrupted,
    SweepResumed,
    SweepStarted,
    SweepState,
    SweepStepFinished,
    fingerprint_of,
    sweep_id_of,
)
from tests.support.facts import EXAMPLES
from tests.support.given_when_then import CONTEXT, START, ListStore, notebook
from tests.support.sweeping import LABELS, Sweeping, blobs, config_of, request

SWEEP = sweep_id_of(fingerprint_of(request().config, request().source))


def results(state: SweepState) -> list[Any]:
    """All that must be the same bits."""
    return [(k, step.metrics, step.labels_sha256, step.centroids_sha256) for k, step in sorted(state.steps.items())]


def steps_of(store: ListStore) -> list[int]:
    return [fact.metrics.k for fact in store.facts(SweepStepFinished) if isinstance(fact, SweepStepFinished)]


async def begun(sweeping: Sweeping, *, up_to: int = 4) -> "asyncio.Task[Any]":
    """A sweep under way that waits at a K, the others finished."""
    sweeping.compute.waits_at = up_to
    running = asyncio.create_task(sweeping.run(request(), CONTEXT))
    while len(steps_of(sweeping.store)) < 2:
        await asyncio.sleep(0)
    return running


async def test_a_cancelled_sweep_stops_wherever_it_runs_keeps_its_steps_and_can_be_resumed() -> None:
    sweeping = Sweeping()
    running = await begun(sweeping)
    elsewhere = Sweeping(beside=sweeping)
    await elsewhere.cancel(SWEEP, CONTEXT)
    with pytest.raises(SweepWasCancelled, match="was cancelled by ada"):
        await running
    assert (await sweeping.turns.load(SWEEP)).status == "cancelled"
    assert sweeping.store.claims == {}
    elsewhere.compute.steps.clear()
    _, state = await elsewhere.run(request(), CONTEXT)
    assert elsewhere.compute.steps == [4]
    _, expected = await Sweeping().run(request(), CONTEXT)
    assert (state.status, results(state)) == ("finished", results(expected))


async def test_cancelling_again_changes_nothing_and_what_is_finished_or_unknown_cannot_be_cancelled() -> None:
    sweeping = Sweeping()
    running = await begun(sweeping)
    position = await sweeping.cancel(SWEEP, CONTEXT)
    assert await sweeping.cancel(SWEEP, CONTEXT) == position
    with pytest.raises(SweepWasCancelled):
        await running
    with pytest.raises(NotFound, match="study sweep list"):
        await sweeping.cancel(UUID(int=1), CONTEXT)
    finished = Sweeping()
    sweep_id, _ = await finished.run(request(), CONTEXT)
    with pytest.raises(Conflict, match="is finished"):
        await finished.cancel(sweep_id, CONTEXT)
    assert sweeping.store.facts(SweepCancelled) == [SweepCancelled(reason="asked for")]


async def test_a_stopped_sweep_says_that_nobody_runs_it() -> None:
    sweeping = Sweeping()
    running = await begun(sweeping)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    (interrupted,) = sweeping.store.facts(SweepInterrupted)
    assert interrupted == SweepInterrupted(reason="the caller left or the process was stopped")
    sweeping.compute.waits_at = None
    _, state = await sweeping.run(request(), CONTEXT)
    assert sweeping.store.facts(SweepResumed) == [SweepResumed(finished_steps=2)]
    assert state.status == "finished"


async def test_the_same_sweep_twice_at_once_is_run_once_and_both_get_it() -> None:
    sweeping = Sweeping()
    one, other = await asyncio.gather(sweeping.run(request(), CONTEXT), sweeping.run(request(), CONTEXT))
    assert one == other
    assert sweeping.count(SweepStarted, SweepStepFinished, SweepFinished) == 5
    assert sweeping.compute.steps == [4, 3, 2]


async def test_different_sweeps_at_once_end_as_they_do_alone() -> None:
    together = Sweeping()
    seeds = (0, 1, 2)
    ended = await asyncio.gather(*(together.run(request(seed=seed), CONTEXT) for seed in seeds))
    for seed, (_, state) in zip(seeds, ended, strict=True):
        _, alone = await Sweeping().run(request(seed=seed), CONTEXT)
        assert results(state) == results(alone)


async def test_who_was_thought_dead_goes_on_and_says_so() -> None:
    sweeping = Sweeping()
    running = await begun(sweeping)
    sweeping.store.given(SWEEP, SweepInterrupted(reason="it seemed dead"))
    while not sweeping.store.facts(SweepResumed):
        await asyncio.sleep(0)
    sweeping.compute.waits_at = None
    _, state = await running
    assert (state.status, sorted(steps_of(sweeping.store))) == ("finished", [2, 3, 4])


async def test_who_was_thought_dead_stops_when_another_has_taken_the_sweep_over() -> None:
    sweeping = Sweeping()
    running = await begun(sweeping)
    other = Sweeping(beside=sweeping)
    version = (await other.turns.load(SWEEP)).version
    book = notebook(sweeping.store, process="00000000000000b2")
    await book.write(book.entry(CONTEXT, SWEEP, version + 1, SweepResumed(finished_steps=2)))
    with pytest.raises(SweepUnderWay, match="00000000000000b2 goes on"):
        await running
    assert (await other.turns.load(SWEEP)).status == "running"


async def test_a_sweep_of_kept_vectors_is_resumed_by_its_id_alone() -> None:
    sweeping = Sweeping()
    wanted = await sweeping.keep_vectors(blobs(), config_of(summarise=None), CONTEXT, labels=LABELS)
    sweeping.compute.breaks_at = 3
    with pytest.raises(RuntimeError):
        await sweeping.run(wanted, CONTEXT)
    sweep_id = sweep_id_of(fingerprint_of(wanted.config, wanted.source))
    elsewhere = Sweeping(beside=sweeping)
    state = await elsewhere.resume(sweep_id, CONTEXT)
    assert state.status == "finished"
    assert state.steps[3].metrics.acc == 1.0  # the labels came from the record too
    assert sorted(steps_of(sweeping.store)) == [2, 3, 4]
    assert await elsewhere.resume(sweep_id, CONTEXT) == state
    whole = Sweeping()
    _, expected = await whole.run(wanted, CONTEXT)
    assert results(state) == results(expected)


async def test_what_goes_on_by_itself_does_not_once_it_is_cancelled() -> None:
    sweeping = Sweeping()
    running = await begun(sweeping)
    await sweeping.cancel(SWEEP, CONTEXT)
    with pytest.raises(SweepWasCancelled):
        await running
    events = len(sweeping.store.events)
    assert (await sweeping.resume(SWEEP, CONTEXT, unasked=True)).status == "cancelled"
    assert len(sweeping.store.events) == events


async def test_a_place_to_compute_that_is_not_there_is_told_by_the_sweep() -> None:
    sweeping = Sweeping()
    wanted = await sweeping.keep_vectors(blobs(), config_of(summarise=None), CONTEXT)
    sweeping.compute.breaks_at = 3
    with pytest.raises(RuntimeError):
        await sweeping.run(wanted, CONTEXT)
    sweep_id = sweep_id_of(fingerprint_of(wanted.config, wanted.source))
    sweeping.compute.breaks_at = None
    with pytest.raises(Unavailable, match="nobody at tcp://gone:1"):
        await sweeping.resume(sweep_id, CONTEXT, compute="tcp://gone:1")
    assert (await sweeping.turns.load(sweep_id)).status == "failed"
    assert (await sweeping.resume(sweep_id, CONTEXT)).status == "finished"


async def test_what_has_no_record_of_its_vectors_says_how_to_go_on() -> None:
    sweeping = Sweeping()
    sweeping.compute.breaks_at = 3
    with pytest.raises(RuntimeError):
        await sweeping.run(request(), CONTEXT)
    with pytest.raises(NotFound, match="no dataset named"):
        await sweeping.resume(SWEEP, CONTEXT)
    with pytest.raises(NotFound, match="study sweep list"):
        await sweeping.resume(UUID(int=5), CONTEXT)


async def test_other_vectors_are_refused() -> None:
    sweeping = Sweeping()
    same = {"n_samples": 30, "n_features": 6, "request_hashes_sha256": "ab" * 32}
    await sweeping.run(request(source={"vectors_sha256": "v", **same}), CONTEXT)
    with pytest.raises(Conflict, match="began with other vectors"):
        await sweeping.run(request(source={"vectors_sha256": "w", **same}), CONTEXT)


class Dying(ListStore):
    """A store that the process loses sight of after so many appends, as if it had been killed there."""

    def __init__(self, appends: int) -> None:
        super().__init__()
        self.left = appends

    async def append(self, append: Append) -> int:
        self.left -= 1
        if self.left < 0:
            self.unavailable = True
        return await super().append(append)


async def test_killed_after_any_event_a_sweep_ends_as_one_that_was_not() -> None:
    whole = Sweeping()
    _, expected = await whole.run(request(summarise=None), CONTEXT)
    for appends in range(whole.store.begun - 1):  # the last one gives the turn back
        store = Dying(appends)
        killed = Sweeping(store=store)
        with pytest.raises(Unavailable):
            await killed.run(request(summarise=None), CONTEXT)
        store.left, store.unavailable = 10**6, False
        before = steps_of(store)
        next_one = Sweeping(beside=killed)
        sweep_id, state = await next_one.run(request(summarise=None), CONTEXT)
        assert (sweep_id, state.status, results(state)) == (sweep_id, "finished", results(expected)), appends
        assert sorted(steps_of(store)) == [2, 3, 4], appends
        assert sorted(next_one.compute.steps + before) == [2, 3, 4], appends
        links = {
            (fact.child_group_id, fact.link_type) for fact in store.facts() if type(fact).__name__ == "GroupLinked"
        }
        assert len([link_type for _, link_type in links if link_type == "step"]) == 3, appends


class Running:
    """Sweeps that processes said they run, and which of these are dead."""

    def __init__(self, *running: RunningSweep) -> None:
        self.running = running

    async def running_sweeps(self) -> Sequence[RunningSweep]:
        return self.running

    async def processes_in_doubt(self, processes: Sequence[int], *, after_seconds: float) -> dict[int, datetime]:
        return {number: START for number in processes if number == 0xA1}


async def recovered(store: ListStore) -> int:
    found = Running(RunningSweep(UUID(int=1), "00000000000000a1"), RunningSweep(UUID(int=2), "00000000000000e1"))
    return await RecoverSweeps(notebook(store, process="00000000000000c3"), found, found, after_seconds=15)(CONTEXT)


@pytest.mark.parametrize(
    ("since", "marked"),
    [((), 1), ((SweepFinished,), 0), ((SweepCancelled,), 0), ((SweepInterrupted, SweepResumed), 1)],
)
async def test_a_dead_process_runs_no_sweep(since: tuple[type[Fact], ...], marked: int) -> None:
    by_type = {type(fact): fact for fact in EXAMPLES}
    store = ListStore()
    for sweep in (UUID(int=1), UUID(int=2)):
        store.given(sweep, by_type[SweepStarted], *(by_type[each] for each in since))
    before = len(store.events)
    assert await recovered(store) == marked
    assert await recovered(store) == 0
    assert [event.stream_id for event in store.events[before:]] == [UUID(int=1)] * marked
    state = await SweepTurns(notebook(store)).load(UUID(int=1))
    if marked:
        assert state.status == "interrupted"
        (fact,) = [event.fact for event in store.events[before:]]
        assert isinstance(fact, SweepInterrupted)
        assert (fact.dead_process, fact.first_seen_dead_at) == ("00000000000000a1", START)
        assert "study sweep resume" in fact.reason
