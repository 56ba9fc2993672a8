"""Searching prompts and answers over HTTP."""

import httpx
import pytest


def test_calls_are_searched_for_page_by_page(http: httpx.Client) -> None:
    for number in range(3):
        prompt = f"Say <b>zebra{number}</b> zebra"
        answer = http.post("/api/calls", json={"prompt": prompt, "provider": "local", "share": False})
    asked = {"q": "zebra", "part": "prompt", "limit": 2, "at_least": answer.json()["position"]}
    first = http.get("/api/calls", params=asked).json()
    assert [each["found"][0]["text"] for each in first["items"]] == [
        f"Say <b>zebra{number}</b> zebra" for number in (2, 1)
    ]
    assert first["items"][0]["found"][0]["marks"] == [[18, 23]]
    rest = http.get("/api/calls", params={**asked, "cursor": first["next_cursor"]}).json()
    assert [len(rest["items"]), rest["next_cursor"]] == [1, None]
    ranked = http.get("/api/calls", params={**asked, "order": "rank", "limit": 5}).json()
    assert [len(ranked["items"]), ranked["searched"]["ranked_among"]] == [3, 1000]
    before = http.get("/api/calls", params={"q": "zebra", "as_of": "0"}).json()
    assert (before["items"], before["searched"]) == ([], {"to_position": 0, "behind_events": 0})


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"q": "+++"}, "q"),
        ({"q": "a" * 1001}, "q"),
        ({"q": "a " * 65}, "q"),
        ({"q": "a", "order": "worst"}, "order"),
        ({"q": "a", "part": "title"}, "part"),
        ({"part": "prompt"}, "part"),
        ({"match": "substring"}, "match"),
        ({"q": "abc", "match": "substring"}, "match"),
        ({"q": "abc", "match": "sounds"}, "match"),
        ({"q": "a", "cursor": "sideways"}, "cursor"),
    ],
)
def test_what_can_not_be_searched_for_is_told(http: httpx.Client, asked: dict[str, str], field: str) -> None:
    answer = http.get("/api/calls", params=asked)
    assert answer.status_code == 400
    assert field in answer.json()["fields"]
