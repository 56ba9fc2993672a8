"""What an open store does beside: it marks what dead processes left, appends what waits, and gives up claims."""

import asyncio

import structlog

from domain.errors import StudyError, Unavailable
from infrastructure.answer_journal import AnswerJournal
from interfaces.study import Study

RECOVERY_SECONDS = 15.0
REPLAY_SECONDS = 1.0
MEASURE_SECONDS = 1.0

log = structlog.get_logger(__name__)


async def recover_for_ever(study: Study) -> None:
    """Look for dead processes again and again, for as long as a server serves."""
    while True:
        await asyncio.sleep(RECOVERY_SECONDS)
        await recover(study)


async def measure_for_ever(study: Study) -> None:
    """Say how things stand in this process, which a sibling may be asked for."""
    while True:
        study.house.measure(readers=study.live.readers)
        await asyncio.sleep(MEASURE_SECONDS)


async def recover(study: Study) -> None:
    """Mark once what dead processes left; without a store it waits for the next time."""
    try:
        await study.house.recover()
    except Unavailable as error:
        log.warning("recovery waits for the store", reason=str(error))


async def replay_for_ever(study: Study, journal: AnswerJournal) -> None:
    """Append what waits in the journal as soon as the store takes it, and give up claims that were left."""
    while True:
        await asyncio.sleep(REPLAY_SECONDS)
        await study.house.give_up_claims()
        if journal.waits:
            try:
                await study.house.replay()
            except Unavailable as error:
                log.debug("the journal waits for the store", reason=str(error))
            except (StudyError, OSError) as error:
                log.warning("the journal can't be replayed", reason=str(error))


async def replay_at_last(study: Study, journal: AnswerJournal) -> None:
    """Try the journal once more before the store is closed."""
    if journal.waits:
        try:
            await study.house.replay()
        except (StudyError, OSError) as error:
            log.warning("the journal waits for the next command", reason=str(error))


async def cancelled(task: "asyncio.Task[None]") -> None:
    """End a task and wait for its end."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
