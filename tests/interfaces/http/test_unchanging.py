"""An answer as of a moment is kept by who has it, under an ETag that is the same for as long as the answer is."""

import httpx
import pytest

from infrastructure.settings import read_settings
from interfaces.http.app import create_app
from interfaces.http.unchanging import CHANGING, never_changes

PLAIN = {"accept-encoding": "identity"}


@pytest.fixture
def position(reader: httpx.Client) -> int:
    asked = reader.post("/api/calls", json={"prompt": "Two is prime.", "provider": "local"}).json()
    found: int = asked["position"]
    return found


def asked(reader: httpx.Client, address: str, known: str | None = None, **questions: object) -> httpx.Response:
    headers = PLAIN if known is None else {**PLAIN, "if-none-match": known}
    return reader.get(address, params=questions, headers=headers)  # type: ignore[arg-type]


def test_who_has_an_answer_as_of_a_moment_is_told_so(reader: httpx.Client, position: int) -> None:
    first = asked(reader, "/api/calls", as_of=position)
    etag = first.headers["etag"]
    assert (first.status_code, etag[0], etag[-1]) == (200, '"', '"')
    assert first.headers["cache-control"] == "private, no-cache"
    for known in (etag, f"W/{etag}", f'"x", {etag}'):
        again = asked(reader, "/api/calls", known, as_of=position)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag), known
    head = reader.head("/api/calls", params={"as_of": position}, headers={**PLAIN, "if-none-match": etag})
    assert head.status_code == 304


def test_it_stays_the_same_whatever_comes_later(reader: httpx.Client, position: int) -> None:
    first = asked(reader, "/api/calls", as_of=position)
    moment = reader.get("/api/audit/events", params={"after": position - 1, "as_of": position}).json()["items"][0]
    reader.post("/api/calls", json={"prompt": "Three is prime.", "provider": "local"})
    later = asked(reader, "/api/calls", as_of=position)
    assert (later.headers["etag"], later.json()) == (first.headers["etag"], first.json())
    at_the_time = asked(reader, "/api/calls", as_of=moment["recorded_at"])
    assert at_the_time.json() == first.json()
    assert asked(reader, "/api/calls", at_the_time.headers["etag"], as_of=moment["recorded_at"]).status_code == 304


def test_another_question_or_moment_has_another(reader: httpx.Client, position: int) -> None:
    etags = {
        asked(reader, address, **questions).headers["etag"]
        for address, questions in (
            ("/api/calls", {"as_of": position}),
            ("/api/calls", {"as_of": position - 1}),
            ("/api/calls", {"as_of": position, "limit": 3}),
            ("/api/groups", {"as_of": position}),
        )
    }
    assert len(etags) == 4


def test_a_time_that_is_still_to_come_means_now_and_its_etag_changes(reader: httpx.Client, position: int) -> None:
    first = asked(reader, "/api/calls", as_of="2999-01-01")
    known = first.headers["etag"]
    assert asked(reader, "/api/calls", known, as_of="2999-01-01").status_code == 304
    reader.post("/api/calls", json={"prompt": "Five is prime.", "provider": "local"})
    assert asked(reader, "/api/calls", known, as_of="2999-01-01").status_code == 200


def test_the_same_answer_compressed_is_another_with_an_etag_of_its_own(reader: httpx.Client, position: int) -> None:
    answers = [reader.post("/api/calls", json={"prompt": f"{n} is a number.", "provider": "local"}) for n in range(5)]
    last = answers[-1].json()["position"]
    plain = asked(reader, "/api/calls", as_of=last)
    coded = reader.get("/api/calls", params={"as_of": last}, headers={"accept-encoding": "gzip"})
    assert coded.headers["content-encoding"] == "gzip"
    assert coded.headers["etag"] == f'{plain.headers["etag"][:-1]}-gzip"'
    for etag in (plain.headers["etag"], coded.headers["etag"]):
        assert asked(reader, "/api/calls", etag, as_of=last).headers["etag"] == etag


def test_what_is_asked_now_or_went_wrong_has_none(reader: httpx.Client, position: int) -> None:
    for address, questions, status in (
        ("/api/calls", {}, 200),
        ("/api/calls/none", {"as_of": position}, 404),
        ("/api/calls", {"as_of": "tomorrow"}, 400),
        ("/api/calls", {"as_of": 10**9}, 400),
        ("/api/calls", {"as_of": position, "limit": 0}, 400),
        ("/api/audit/unanswered", {"as_of": position}, 200),
    ):
        answer = asked(reader, address, "*", **questions)
        assert (answer.status_code, "etag" in answer.headers) == (status, False), (address, questions)


def test_every_question_as_of_a_moment_either_has_one_or_is_named_as_telling_of_now(reader: httpx.Client) -> None:
    app = create_app(read_settings())
    taking = {
        handler.handler_name: never_changes(handler)
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if "moment" in handler.parsed_fn_signature.parameters
    }
    assert {name for name, never in taking.items() if not never} == CHANGING
    paths = reader.get("/api/openapi.json").json()["paths"]
    told = {
        operation["operationId"]
        for item in paths.values()
        for operation in item.values()
        if any(parameter["name"] == "If-None-Match" for parameter in operation.get("parameters", ()))
    }
    assert told == {name for name, never in taking.items() if never}
