from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from application.recover_calls import OpenCall, RecoverCalls
from domain.calls import CallAnswered, CallFoundInDoubt, CallRequested
from tests.support.facts import EXAMPLES
from tests.support.given_when_then import CONTEXT, START, ListStore, notebook

ONE, TWO = UUID(int=101), UUID(int=102)
DEAD, ALIVE = "00000000000000d1", "00000000000000e1"
REQUESTED = next(fact for fact in EXAMPLES if isinstance(fact, CallRequested))
ANSWERED = next(fact for fact in EXAMPLES if isinstance(fact, CallAnswered))


class Listed:
    """Open calls and dead processes, as told."""

    def __init__(self, *calls: OpenCall) -> None:
        self.calls = calls

    async def open_calls(self) -> Sequence[OpenCall]:
        return self.calls

    async def processes_in_doubt(self, processes: Sequence[int], *, after_seconds: float) -> dict[int, datetime]:
        return {number: START for number in processes if number == int(DEAD, 16)}


async def recovered(store: ListStore, *calls: OpenCall) -> int:
    listed = Listed(*calls)
    return await RecoverCalls(notebook(store), listed, listed, after_seconds=15)(CONTEXT)


async def test_only_the_calls_of_dead_processes_are_marked() -> None:
    store = ListStore()
    store.given(ONE, REQUESTED)
    store.given(TWO, REQUESTED)
    assert await recovered(store, OpenCall(ONE, DEAD), OpenCall(TWO, ALIVE)) == 1
    assert store.events[-1].stream_id == ONE
    assert store.facts(CallFoundInDoubt) == [CallFoundInDoubt(dead_process=DEAD, first_seen_dead_at=START)]


async def test_a_call_that_was_answered_meanwhile_is_left_alone() -> None:
    store = ListStore()
    store.given(ONE, REQUESTED, ANSWERED)
    assert await recovered(store, OpenCall(ONE, DEAD)) == 0


async def test_marking_again_changes_nothing() -> None:
    store = ListStore()
    store.given(ONE, REQUESTED)
    await recovered(store, OpenCall(ONE, DEAD))
    assert await recovered(store, OpenCall(ONE, DEAD)) == 0
    assert len(store.facts(CallFoundInDoubt)) == 1
