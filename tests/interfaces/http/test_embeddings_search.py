"""Similar texts over HTTP."""

import httpx
import pytest

TEXTS = ["a train to Rome", "the train to Paris", "bake a cake"]


@pytest.fixture
def embedded(http: httpx.Client) -> list[dict[str, object]]:
    answer = http.post("/api/embeddings", json={"texts": TEXTS, "provider": "local"})
    items: list[dict[str, object]] = answer.json()["items"]
    return items


def test_similar_texts_are_found_by_text_and_by_vector(http: httpx.Client, embedded: list[dict[str, object]]) -> None:
    found = http.post("/api/embeddings/search", json={"text": "a train to Rome", "limit": 2})
    assert found.status_code == 200
    first, second = found.json()["items"]
    assert (first["text"], second["text"]) == ("a train to Rome", "the train to Paris")
    assert first["similarity"] == pytest.approx(1)
    assert first["call_id"] == embedded[0]["call_id"]
    assert first["request_hash"] == embedded[0]["request_hash"]
    by_vector = http.post("/api/embeddings/search", json={"vector": embedded[0]["vector"], "limit": 2})
    assert by_vector.json() == found.json()
    early = http.post("/api/embeddings/search", json={"vector": embedded[0]["vector"], "until": "2020-01-01"})
    assert early.json() == {"items": []}


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "text"),
        ({"text": "a", "vector": [1.0]}, 400, "text"),
        ({"vector": [1.0, 2.0]}, 400, "vector"),
        ({"vector": [0.0] * 512}, 400, "vector"),
        ({"text": "a", "limit": 1001}, 400, "limit"),
        ({"text": "a", "model": "another"}, 404, None),
        ({"text": "a", "as_of": "0"}, 404, None),
        ({"text": "a", "as_of": "someday"}, 400, "as_of"),
        ({"text": "a", "nonsense": 1}, 400, "nonsense"),
    ],
)
def test_what_can_not_be_searched_is_told(
    http: httpx.Client, embedded: list[dict[str, object]], body: dict[str, object], status: int, field: str | None
) -> None:
    answer = http.post("/api/embeddings/search", json=body)
    assert answer.status_code == status
    if field is not None:
        assert field in answer.json()["fields"]


def test_where_nothing_was_embedded_there_is_nothing_to_compare(http: httpx.Client) -> None:
    answer = http.post("/api/embeddings/search", json={"text": "a"})
    assert (answer.status_code, "No text has been embedded" in answer.text) == (404, True)
    assert http.get("/api/calls").json()["items"] == []  # nothing was paid for
