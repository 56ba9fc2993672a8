"""Conversations from a script, and from inside an event loop."""

from pathlib import Path

import pytest

import study_query_llm as sq
from infrastructure.providers.local import LocalProvider
from tests.conftest import Database

PROVIDERS = {"mine": LocalProvider()}


def test_a_script_talks_streams_forks_closes_and_goes_on_later(database: Database, tmp_path: Path) -> None:
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        talk = study.conversation(system="Be brief.", provider="local", title="cities")
        turn = talk.say("Rome is in Italy. Where is Rome?", metadata={"note": "n"})
        with talk.stream("And Paris?") as stream:
            pieces = list(stream)
        fork = talk.fork(at=1)
        fork.say("And Berlin?", token_budget=1000)
        talk.close()
        with pytest.raises(sq.Conflict, match="closed"):
            talk.say("more")
        with pytest.raises(TypeError, match="no option temprature"):
            fork.say("more", temprature=1)
    assert turn.text == turn.answer.text
    assert ("".join(pieces), stream.answer.turn) == (stream.answer.text, 2)
    with sq.open(database_url=database.application_uri, home=tmp_path) as study:
        again = study.conversation(fork.conversation_id)
        assert [message["turn"] for message in again.messages] == [1, 1, 2, 2]
        assert again.messages[2]["content"] == "And Berlin?"
        assert again.say("And Bonn?").turn == 3
        assert {row["status"] for row in study.conversations()} == {"open", "closed"}
        assert list(study.conversations(status="closed").to_frame()["title"]) == ["cities"]
        assert study.history("conversation", talk.conversation_id)[-1]["event"] == "conversation.closed.v1"
        with pytest.raises(sq.Rejected, match="has its settings already"):
            study.conversation(fork.conversation_id, temperature=1)
        with pytest.raises(sq.NotFound):
            study.conversation("none")


async def test_inside_an_event_loop(database: Database, tmp_path: Path) -> None:
    async with sq.open_async(database_url=database.application_uri, home=tmp_path, providers=PROVIDERS) as study:
        talk = await study.conversation(provider="mine")
        first = await talk.say("Rome is in Italy.")
        stream = talk.stream("Where is Rome?")
        assert "".join([piece async for piece in stream]) == stream.answer.text
        fork = await talk.fork()
        assert [message["turn"] for message in await fork.messages()] == [1, 1, 2, 2]
        assert len(await talk.messages(as_of=first.position)) == 2
        await fork.say("I am ada@example.org", preprocess=["pii"], template="{user_input} {a}", fields={"a": "b"})
        assert (await fork.messages())[4]["content"] == "I am [EMAIL] b"
        await talk.close("done")
        assert (await talk.document())["closed_reason"] == "done"
