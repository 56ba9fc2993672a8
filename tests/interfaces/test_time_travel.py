"""Every question can be asked as of a moment, and then has one answer for ever, however many pages it takes."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import study_query_llm as sq
from application.ask_model import Question
from domain.errors import NotFound, Rejected
from infrastructure.settings import read_settings
from interfaces.as_of import Moment
from interfaces.composition import open_study
from interfaces.study import Study
from projections.paging import Paging
from tests.conftest import Database

TOMORROW = "2999-01-01"


@pytest.fixture
async def study(database: Database, tmp_path: Path) -> AsyncIterator[Study]:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path)
    async with open_study(settings) as study:
        yield study


async def ask(study: Study, prompt: str = "The cat sat.") -> int:
    """Ask and return the position of the answer, which the read models show."""
    answer = await study.asking.ask(Question(prompt=prompt, provider="local"), study.context())
    assert answer.position is not None
    await study.moments.wait_until(answer.position)
    return answer.position


def ids(page: dict[str, Any]) -> list[str]:
    return [item["call_id"] for item in page["items"]]


async def test_a_time_and_the_position_it_leads_to_give_the_same_answer(study: Study) -> None:
    first = await ask(study)
    (event,) = study.store.page(after=first - 1, limit=1)
    moment = event.recorded_at
    later = await ask(study, "The dog ran.")
    here = timedelta(hours=5, minutes=30)
    for as_of in (
        first,
        str(first),
        moment,
        moment.isoformat(),
        moment.replace(tzinfo=None).isoformat(),  # UTC unless it says otherwise
        (moment + here).replace(tzinfo=None).isoformat() + "+05:30",
    ):
        assert await study.calls.list(moment=Moment(as_of)) == await study.calls.list(moment=Moment(first)), as_of
    assert len(ids(await study.calls.list(moment=Moment(first)))) == 1
    assert len(ids(await study.calls.list(moment=Moment(later)))) == 2
    just_before = await study.calls.list(moment=Moment(moment - timedelta(microseconds=1)))
    assert [item["status"] for item in just_before["items"]] == ["requested"]


async def test_before_the_first_event_there_is_nothing(study: Study) -> None:
    await ask(study)
    call_id = ids(await study.calls.list())[0]
    for as_of in ("0", 0, "0001-01-01T00:00:00+14:00", "1999-12-31", datetime.min.replace(tzinfo=UTC)):
        for find in (study.calls.list, study.datasets.list, study.sweeps.list):
            assert (await find(moment=Moment(as_of)))["items"] == []
        for look in (study.calls.get, study.calls.attempts, study.datasets.get, study.sweeps.get):
            with pytest.raises(NotFound, match="at position 0"):
                await look(call_id, Moment(as_of))


async def test_a_time_that_is_still_to_come_means_now(study: Study) -> None:
    await ask(study)
    for as_of in (TOMORROW, "9999-12-31T23:59:59-14:00", datetime.max.replace(tzinfo=UTC)):
        assert (await study.calls.list(moment=Moment(as_of)))["items"] == (await study.calls.list())["items"]


async def test_what_is_neither_a_time_nor_a_position_in_the_log_is_refused_in_words(study: Study) -> None:
    assert await ask(study) == 2
    neither = "is neither a position nor a time such as 2026-"
    beyond = "is after the end of the log, which is at position 2; a day is written 2026-03-01"
    wrong: tuple[Any, ...] = ("", "-5", "1e3", "²", "12.5", "yesterday", "2026-13-01", "9" * 5000, "\x00", -1)
    for as_of, says in [*((each, neither) for each in wrong), ("20260301", beyond), (3, beyond), ("9" * 30, beyond)]:
        with pytest.raises(Rejected, match=says) as refused:
            await study.calls.list(moment=Moment(as_of))
        assert refused.value.fields == ("as_of",)
        assert len(str(refused.value)) < 200


@pytest.mark.parametrize("as_of", [TOMORROW, "6"])
async def test_pages_as_of_a_moment_stand_still_while_calls_are_made(study: Study, as_of: str) -> None:
    for prompt in "abc":
        await ask(study, f"The cat sat on {prompt}.")
    expected = await study.calls.list(moment=Moment(as_of))
    found, cursor = [], None
    while True:
        page = await study.calls.list(moment=Moment(as_of if len(found) < 2 else None), page=Paging(1, cursor))
        found += page["items"]
        cursor = page["next_cursor"]
        if cursor is None:
            break
        await ask(study, f"The dog ran to {len(found)}.")
    assert found == expected["items"]
    assert len(found) == 3


async def test_a_cursor_of_one_moment_is_not_taken_for_another(study: Study) -> None:
    await ask(study)
    last = await ask(study)
    then = await study.calls.list(moment=Moment(last), page=Paging(1))
    now = await study.calls.list(page=Paging(1))
    await ask(study)
    for cursor, as_of, says in (
        (then["next_cursor"], last - 1, f"as of position {last}"),
        (then["next_cursor"], last + 1, f"as of position {last}"),
        (then["next_cursor"], "1999-01-01", f"as of position {last}"),
        (now["next_cursor"], last, "a list of now"),
    ):
        with pytest.raises(Rejected, match=says) as refused:
            await study.calls.list(moment=Moment(as_of), page=Paging(1, cursor))
        assert refused.value.fields == ("cursor", "as_of")


async def test_what_the_read_models_do_not_show_yet_is_waited_for(study: Study, database: Database) -> None:
    """Without the wait, the answer would be short."""
    await ask(study)
    async with await psycopg.AsyncConnection.connect(database.application_uri) as held:
        await held.execute("SELECT FROM projections.generations WHERE state = 'live' FOR UPDATE")
        answer = await study.asking.ask(Question(prompt="The dog ran.", provider="local"), study.context())
        questions = [
            asyncio.create_task(study.calls.list(moment=Moment(**{name: answer.position})))
            for name in ("as_of", "at_least")
        ] + [asyncio.create_task(study.calls.list(moment=Moment(TOMORROW)))]
        done, _ = await asyncio.wait(questions, timeout=0.3)
        assert not done
        await held.rollback()
        for question in questions:
            assert len(ids(await question)) == 2


def test_scripts_travel_in_time_too(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        before = datetime.now(UTC)
        study.sweep([[0.0, 1.0], [1.0, 0.0], [1.0, 0.1]], k=[2], restarts=1, pca_dim=None)
        answer = study.ask("The cat sat.", provider="local")
        position = answer.position
        assert position is not None
        (tmp_path / "lines.txt").write_text("a cat\na dog\n")
        study.import_dataset(tmp_path / "lines.txt", name="lines", text_column="text")
        assert study.call(answer.call_id, as_of=position)["status"] == "success"
        assert study.call(answer.call_id, as_of=position - 1)["status"] == "requested"
        assert [len(study.datasets(as_of=at)) for at in (position, None)] == [0, 1]
        assert [len(study.sweeps(as_of=at)) for at in (before, position)] == [0, 1]
