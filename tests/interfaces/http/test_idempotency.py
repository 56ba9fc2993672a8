"""A request that is sent again under its Idempotency-Key is answered as before, and nothing is done twice."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from application.answer_once import LARGEST_KEPT_BYTES, AnswerOnce, AskedOnce, Begun, KeptAnswer
from domain.errors import Conflict
from infrastructure.settings import Settings, read_settings
from interfaces.composition import open_study
from tests.conftest import Database
from tests.interfaces.http.conftest import serving
from tests.interfaces.http.test_problems import refused

PROMPT = {"prompt": "Name three primes.", "provider": "local", "share": False}


def ask(http: httpx.Client, key: str, address: str = "/api/calls", body: Any = PROMPT, **more: Any) -> httpx.Response:
    return http.post(address, json=body, headers={"Idempotency-Key": key}, **more)


def calls_of(http: httpx.Client) -> int:
    """How many there are, once the read models show all that is stored."""
    return len(http.get("/api/calls", params={"limit": 1000, "as_of": "2999-01-01"}).json()["items"])


def test_the_same_answer_comes_again_after_a_restart_and_from_another_server(settings: Settings) -> None:
    key = str(uuid4())
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
        first = ask(http, key)
        assert (first.status_code, "idempotency-replayed" in first.headers) == (201, False)
        with serving(settings) as beside, httpx.Client(base_url=beside, timeout=20) as another:
            again = ask(another, key)
    with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
        later = ask(http, key)
        for repeated in (again, later):
            assert repeated.headers["idempotency-replayed"] == "true"
            assert (repeated.status_code, repeated.content) == (201, first.content)
            assert repeated.headers["location"] == first.headers["location"]
            assert repeated.headers["content-type"] == first.headers["content-type"]
        assert calls_of(http) == 1


def test_another_body_address_or_query_under_a_key_is_a_conflict(http: httpx.Client) -> None:
    key = str(uuid4())
    assert ask(http, key).status_code == 201
    for address, body in (("/api/calls", {**PROMPT, "seed": 1}), ("/api/embeddings", {"texts": ["a"]})):
        assert "used for another request, POST /api/calls" in refused(ask(http, key, address, body), 409)["detail"]
    assert calls_of(http) == 1


def test_what_was_refused_leaves_the_key_free(http: httpx.Client) -> None:
    key = str(uuid4())
    refused(ask(http, key, body={**PROMPT, "n": 0}), 400)
    refused(ask(http, key, body={**PROMPT, "n": "1"}), 400)
    assert ask(http, key).status_code == 201
    assert calls_of(http) == 1


def test_a_group_that_was_created_is_told_again_and_without_a_key_it_is_a_conflict(http: httpx.Client) -> None:
    group = {"group_type": "run", "name": "march"}
    first = ask(http, "k", "/api/groups", group)
    assert ask(http, "k", "/api/groups", group).json() == first.json()
    assert refused(http.post("/api/groups", json=group), 409)["group_id"] == first.json()["group_id"]


@pytest.mark.parametrize("key", ["", "two words", "x" * 256, "ü"])
def test_a_key_that_is_none_is_refused(http: httpx.Client, key: str) -> None:
    problem = refused(http.post("/api/calls", json=PROMPT, headers=[(b"Idempotency-Key", key.encode())]), 400)
    assert problem["fields"] == ["Idempotency-Key"]


def test_what_is_streamed_takes_no_key(http: httpx.Client) -> None:
    assert refused(ask(http, "k", body={**PROMPT, "stream": True}), 400)["fields"] == ["Idempotency-Key", "stream"]
    assert calls_of(http) == 0


def test_of_many_at_once_one_is_carried_out(http: httpx.Client) -> None:
    started = threading.Barrier(8)

    def one(_: int) -> httpx.Response:
        started.wait(timeout=20)
        return ask(http, "together", body={**PROMPT, "n": 20})

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(8)))
    done = [answer for answer in answers if answer.status_code == 201]
    assert done
    assert {answer.content for answer in done} == {done[0].content}
    for answer in answers:
        if answer.status_code != 201:
            assert "under way" in refused(answer, 409)["detail"]
    assert calls_of(http) == 20


async def test_keys_belong_to_who_used_them_and_one_whose_server_ended_is_not_used_again(
    database: Database, tmp_path: Path
) -> None:
    settings = read_settings(database_url=database.application_uri, study_home=tmp_path)
    asked = AskedOnce(key="k", method="POST", path="/api/calls", body=b"{}")
    async with open_study(settings) as first, open_study(settings) as second:
        ada, bob = first.context("ada"), first.context("bob")
        assert isinstance(await AnswerOnce(first.notebook).begin(asked, ada), Begun)
        for study in (first, second):
            with pytest.raises(Conflict, match="under way"):
                await AnswerOnce(study.notebook).begin(asked, ada)
        begun = await AnswerOnce(second.notebook).begin(asked, bob)
        assert isinstance(begun, Begun)
        large = KeptAnswer(status=200, headers={}, body=b"x" * (LARGEST_KEPT_BYTES + 1))
        await AnswerOnce(second.notebook).finish(begun, large)
    async with open_study(settings) as later:
        with pytest.raises(Conflict, match=f"correlation id {ada.correlation_id}"):
            await AnswerOnce(later.notebook).begin(asked, ada)
        with pytest.raises(Conflict, match=r"answer of 8,000,001 bytes was too large to be kept"):
            await AnswerOnce(later.notebook).begin(asked, bob)
