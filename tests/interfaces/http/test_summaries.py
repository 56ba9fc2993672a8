"""Summaries over HTTP."""

import httpx
import pytest


def test_texts_and_lists_have_summaries_that_the_same_request_gets_again(http: httpx.Client) -> None:
    body = {"texts": ["The night train was late.", ["bake a cake", "bake bread"]], "provider": "local"}
    answer = http.post("/api/summaries", json=body)
    assert answer.status_code == 200
    done = answer.json()
    assert [(item["index"], item["status"], item["fell_back"]) for item in done["items"]] == [
        (0, "success", False),
        (1, "success", False),
    ]
    assert done["items"][0]["summary"] == "The night train was late."
    assert "bake" in done["items"][1]["summary"]
    assert done["position"] > 0
    again = http.post("/api/summaries", json=body).json()
    assert [item["call_id"] for item in again["items"]] == [item["call_id"] for item in done["items"]]
    assert all(item["cached"] for item in again["items"])
    members = http.get(f"/api/groups/{done['group_id']}/members").json()["items"]
    assert [(member["role"], member["position"]) for member in members] == [("output", 0), ("output", 1)]


def test_a_group_names_the_batch(http: httpx.Client) -> None:
    group = {"group_type": "summarization_batch", "name": "mine"}
    done = http.post("/api/summaries", json={"texts": ["a text"], "provider": "local", "group": group}).json()
    assert done["name"] == "mine"
    assert http.get(f"/api/groups/{done['group_id']}").json()["group_type"] == "summarization_batch"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"texts": []}, "texts"),
        ({"texts": [""]}, "texts"),
        ({"texts": [[]]}, "texts"),
        ({"texts": [" "]}, "texts[0]"),
        ({"texts": [7]}, "texts"),
        ({"template": "nothing"}, "template"),
        ({"temperature": 3}, "temperature"),
        ({"provider": "nobody"}, "provider"),
        ({"prompt": "x"}, "prompt"),
    ],
)
def test_what_cannot_be_summarised_is_a_problem_that_names_it(reader: httpx.Client, change: dict, field: str) -> None:
    answer = reader.post("/api/summaries", json={"texts": ["a"], "provider": "local", **change})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert field in answer.text
