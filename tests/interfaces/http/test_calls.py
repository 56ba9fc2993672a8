"""Calls, embeddings, datasets, read models and providers over HTTP."""

from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest

from tests.support.misbehaving_server import MisbehavingServer

LOCAL = {"provider": "local", "model": "local-extract"}


def ask(http: httpx.Client, prompt: str, **more: Any) -> dict[str, Any]:
    answer = http.post("/api/calls", json={"prompt": prompt, **LOCAL, **more})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def read_back(http: httpx.Client, answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = http.get(f"/api/calls/{answer['call_id']}", params={"at_least": answer["position"]}).json()
    return found


def test_an_answer_has_the_promised_shape_and_can_be_read_back_at_once(http: httpx.Client) -> None:
    response = http.post("/api/calls", json={"prompt": "The cat sat. The dog ran. The cat slept.", **LOCAL})
    assert response.status_code == 201
    answer = response.json()
    assert set(answer) >= {
        "call_id", "status", "text", "provider", "model", "tokens", "latency_ms", "attempts", "cost", "shared_with",
        "cached", "position",
    }  # fmt: skip
    assert set(answer["tokens"]) == {"prompt", "completion", "total", "cached"}
    assert (answer["status"], answer["provider"], answer["model"]) == ("success", "local", "local-extract")
    assert (answer["cost"], answer["shared_with"], answer["cached"]) == ("0", None, False)
    assert response.headers["location"] == f"/api/calls/{answer['call_id']}"

    shown = http.get(response.headers["location"], params={"at_least": answer["position"]}).json()
    assert (shown["status"], shown["text"]) == ("success", answer["text"])
    attempts = http.get(f"/api/calls/{answer['call_id']}/attempts").json()["items"]
    assert len(attempts) == 1
    events = http.get(f"/api/calls/{answer['call_id']}/events").json()["items"]
    assert [event["event"] for event in events] == ["call.requested.v1", "call.answered.v1"]


def test_an_earlier_answer_is_given_again_to_who_asks_for_it(http: httpx.Client) -> None:
    first = ask(http, "The cat sat.", temperature=0, cache="1h")
    again = ask(http, "The cat sat.", temperature=0, cache=3600, share=False)
    assert [(answer["cached"], answer["text"]) for answer in (first, again)] == [
        (False, first["text"]),
        (True, first["text"]),
    ]
    shown = http.get(f"/api/calls/{again['call_id']}", params={"at_least": again["position"]}).json()
    assert (shown["how"], shown["source_call_id"], shown["text"]) == ("cached", first["call_id"], first["text"])
    events = http.get(f"/api/calls/{again['call_id']}/events").json()["items"]
    assert [event["event"] for event in events] == ["call.served_from_cache.v1"]
    assert len(http.get("/api/calls", params={"at_least": again["position"]}).json()["items"]) == 1


@pytest.mark.parametrize(
    ("more", "field"),
    [({"cache": "1h"}, "temperature"), ({"cache": "soon", "seed": 1}, "cache"), ({"cache": 0, "seed": 1}, "cache")],
)
def test_a_cache_that_makes_no_sense_is_refused_by_its_field(
    http: httpx.Client, more: dict[str, Any], field: str
) -> None:
    refused = http.post("/api/calls", json={"prompt": "The cat sat.", **LOCAL, **more})
    assert refused.status_code == 400
    assert field in refused.json()["fields"]


def test_several_samples_are_several_calls(http: httpx.Client) -> None:
    answers = ask(http, "The cat sat.", n=3)["items"]
    assert len({answer["call_id"] for answer in answers}) == 3
    last = max(answer["position"] for answer in answers)
    assert len(http.get("/api/calls", params={"at_least": last}).json()["items"]) == 3


def test_messages_and_groups_are_taken(http: httpx.Client) -> None:
    group = {"group_type": "batch", "name": "first", "role": "input", "position": 0}
    messages = [{"role": "user", "content": "The cat sat."}]
    response = http.post("/api/calls", json={"messages": messages, "group": group, "metadata": {"a": 1}, **LOCAL})
    assert response.status_code == 201, response.text
    shown = http.get(response.headers["location"], params={"at_least": response.json()["position"]}).json()
    assert shown["metadata"] == {"a": 1}


def test_calls_are_listed_by_filter_page_and_moment(http: httpx.Client) -> None:
    first = ask(http, "The cat sat on a tuffet.")
    second = ask(http, "The dog ran.")
    seen = {"at_least": second["position"]}

    def ids(**filters: Any) -> list[str]:
        response = http.get("/api/calls", params={**seen, **filters})
        assert response.status_code == 200, response.text
        return [item["call_id"] for item in response.json()["items"]]

    assert ids() == [second["call_id"], first["call_id"]]
    assert ids(q="tuffet") == [first["call_id"]]
    assert ids(provider="openai") == ids(status="failed") == ids(modality="embedding") == ids(until="2020-01-01") == []
    assert len(ids(provider="local", status="success", modality="text", since="2020-01-01T00:00:00+02:00")) == 2
    assert ids(as_of=str(first["position"])) == [first["call_id"]]
    assert ids(group_id=str(uuid4())) == []

    page = http.get("/api/calls", params={"limit": 1}).json()
    assert [item["call_id"] for item in page["items"]] == [second["call_id"]]
    rest = http.get("/api/calls", params={"limit": 1, "cursor": page["next_cursor"]}).json()
    assert [item["call_id"] for item in rest["items"]] == [first["call_id"]]
    assert rest["next_cursor"] is None


def test_a_providers_failure_is_a_502_that_names_the_recorded_call(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as provider:
        provider.behave_always("unauthorized")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-not-a-real-one")
        response = http.post("/api/calls", json={"prompt": "hello", "provider": "openai"})
        models = http.get("/api/providers/openai/models")
    for answer in (response, models):
        assert answer.status_code == 502, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert "sk-not-a-real-one" not in answer.text
    problem = response.json()
    events = http.get(f"/api/calls/{problem['call_id']}/events").json()["items"]
    assert events[0]["event"] == "call.requested.v1"
    assert events[-1]["event"] == "call.failed.v1"


def test_a_request_id_that_is_a_uuid_is_the_correlation_id_of_its_events(http: httpx.Client) -> None:
    wanted = str(uuid4())
    response = http.post("/api/calls", json={"prompt": "The cat.", **LOCAL}, headers={"x-request-id": wanted})
    assert response.headers["x-request-id"] == wanted
    events = http.get(f"/api/calls/{response.json()['call_id']}/events").json()["items"]
    assert {event["correlation_id"] for event in events} == {wanted}

    response = http.post("/api/calls", json={"prompt": "The cat.", **LOCAL}, headers={"x-request-id": "run 7 of a"})
    assert response.headers["x-request-id"] != "run 7 of a"  # it holds spaces, and would not be safe in a log
    response = http.post("/api/calls", json={"prompt": "The cat.", **LOCAL}, headers={"x-request-id": "run-7"})
    assert (response.status_code, response.headers["x-request-id"]) == (201, "run-7")


def test_embeddings_come_in_order_and_the_second_time_from_the_cache(http: httpx.Client) -> None:
    body = {"texts": ["a cat", "a dog", "a cat"], "provider": "local"}
    first, second = http.post("/api/embeddings", json=body), http.post("/api/embeddings", json=body)
    assert (first.json()["cost"], first.json()["saved"]) == ("0", "0")  # the local provider is free
    assert (first.status_code, second.status_code) == (200, 200), first.text
    items, again = first.json()["items"], second.json()["items"]
    assert [item["index"] for item in items] == [0, 1, 2]
    assert items[0]["vector"] == items[2]["vector"] == again[0]["vector"]
    assert set(items[0]) == {
        "index", "vector", "model", "dimension", "norm", "request_hash", "cached", "call_id",
    }  # fmt: skip
    vector = np.array(items[0]["vector"])
    assert len(vector) == items[0]["dimension"]
    assert np.array_equal(vector, vector.astype(np.float32))
    assert items[0]["norm"] == pytest.approx(np.linalg.norm(vector))
    assert [item["cached"] for item in items] == [False] * 3
    assert [item["cached"] for item in again] == [True] * 3
    assert [item["call_id"] for item in again] == [item["call_id"] for item in items]


def test_a_dataset_is_imported_once_and_a_name_means_one_content(http: httpx.Client) -> None:
    rows = [{"text": "a cat", "topic": "pets", "n": 1}, {"text": "a bus", "topic": "travel", "n": None}, {"text": " "}]
    body = {"name": "things & animals/1", "rows": rows, "text_column": "text", "label_column": "topic"}
    created, again = http.post("/api/datasets", json=body), http.post("/api/datasets", json=body)
    assert (created.status_code, again.status_code) == (201, 200), created.text
    assert (created.json()["imported"], again.json()["imported"]) == (True, False)
    assert created.json()["row_count"] == 2
    assert created.json()["skipped_rows"] == 1

    assert [item["name"] for item in http.get("/api/datasets").json()["items"]] == ["things & animals/1"]
    assert http.get("/api/datasets/things%20%26%20animals/1").json()["dataset_id"] == created.json()["dataset_id"]
    assert http.get("/api/datasets/nothing").status_code == 404

    other = http.post("/api/datasets", json={**body, "rows": rows[:1]})
    assert other.status_code == 409
    assert other.json()["existing_id"] == created.json()["dataset_id"]
    missing = http.post("/api/datasets", json={**body, "name": "other", "text_column": "txt"})
    assert (missing.status_code, missing.json()["fields"]) == (400, ["text_column"])


def test_read_models_can_be_looked_at_and_rebuilt(http: httpx.Client) -> None:
    answer = ask(http, "The cat sat.")
    names = [item["name"] for item in http.get("/api/projections").json()["items"]]
    assert names
    rebuilt = http.post(f"/api/projections/{names[0]}/rebuild")
    assert rebuilt.status_code == 200, rebuilt.text
    assert http.get(f"/api/calls/{answer['call_id']}").status_code == 200
    assert http.post("/api/projections/nothing/rebuild").status_code == 404


def test_providers_and_their_models_are_listed(http: httpx.Client) -> None:
    providers = [item["provider"] for item in http.get("/api/providers").json()["items"]]
    assert providers == ["local"]
    models = [item["model"] for item in http.get("/api/providers/local/models").json()["items"]]
    assert {"local-extract", "local-ngrams"} <= set(models)
    unknown = http.get("/api/providers/nobody/models")
    assert unknown.status_code == 400
    assert "local" in unknown.json()["detail"]


def test_deployments_are_validated_once_and_a_missing_one_is_named(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as provider:
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", provider.root)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "sk-not-a-real-one")
        body = {"models": ["embed-deploy", "gone"]}
        first, second = (http.post("/api/providers/azure/validate", json=body) for _ in range(2))
        refused = http.post("/api/embeddings", json={"texts": ["a"], "provider": "azure", "model": "gone"})
        embedded = http.post("/api/embeddings", json={"texts": ["a"], "provider": "azure", "model": "embed-deploy"})
        asked = [request.path for request in provider.requests if request.method == "POST"]
    assert first.status_code == 200, first.text
    items, again = first.json()["items"], second.json()["items"]
    assert [(item["model"], item["outcome"]) for item in items] == [("embed-deploy", "available"), ("gone", "missing")]
    assert items[1]["http_status"] == 404
    assert [item["remembered"] for item in items + again] == [False, False, True, True]
    assert [item["call_id"] for item in again] == [item["call_id"] for item in items]
    assert (refused.status_code, refused.json()["fields"]) == (400, ["model"])
    assert embedded.status_code == 200, embedded.text
    assert len(asked) == 3
    for models in ([], [" "]):
        assert http.post("/api/providers/azure/validate", json={"models": models}).status_code == 400
    assert http.post("/api/providers/nobody/validate", json=body).status_code == 400


def test_a_text_that_is_refused_is_named(http: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    with MisbehavingServer() as provider:
        provider.behave_by(lambda request, _number: "bad_request" if b"bad" in request.body else "ok")
        monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
        monkeypatch.setenv("OPENAI_EMBEDDING_MODEL", "tiny")
        body = {"texts": ["a", "bad", "c"], "provider": "openai", "metadata": {"seed": 7}}
        group = {"group_type": "embedding_batch", "name": "words"}
        response = http.post("/api/embeddings", json=body)
        rest = http.post("/api/embeddings", json={**body, "texts": ["a", "c"], "dimensions": 4, "group": group})
    assert (response.status_code, response.json()["fields"]) == (502, ["texts[1]"])
    assert http.get(f"/api/calls/{response.json()['call_id']}").json()["status"] == "failed"
    assert rest.status_code == 200, rest.text
    items = rest.json()["items"]
    assert [item["dimension"] for item in items] == [4, 4]
    call = http.get(f"/api/calls/{items[0]['call_id']}").json()
    assert call["metadata"] == {"seed": 7}


def test_there_are_no_sweeps_in_a_new_notebook(http: httpx.Client) -> None:
    assert http.get("/api/sweeps").json() == {"items": [], "next_cursor": None}
    assert http.get(f"/api/sweeps/{uuid4()}").status_code == 404


def test_of_several_answers_a_failed_one_stands_in_its_place(
    http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MisbehavingServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        server.behave_by(lambda _request, number: "bad_request" if number == 1 else "ok")
        wanted = {"prompt": "?", "provider": "openai", "n": 3}
        several = http.post("/api/calls", json=wanted)
        assert several.status_code == 201
        items = several.json()["items"]
        assert sorted(item["status"] for item in items) == ["failed", "success", "success"]
        (failed,) = (item for item in items if item["status"] == "failed")
        assert failed["text"] is None
        assert "That makes no sense" in failed["error"]
        events = http.get(f"/api/calls/{failed['call_id']}/events").json()["items"]
        assert events[-1]["event"] == "call.failed.v1"
        server.behave_by(lambda _request, _number: "bad_request")
        assert http.post("/api/calls", json=wanted).status_code == 502


def test_a_prompt_is_preprocessed_and_what_was_asked_is_kept(http: httpx.Client) -> None:
    steps = {"preprocess": ["whitespace"], "template": "{user_input} ({tone})", "fields": {"tone": "kind"}}
    call = read_back(http, ask(http, "Where  is Rome?", **steps))
    assert call["request"]["messages"][-1]["content"] == "Where is Rome? (kind)"
    assert [step["step"] for step in call["preprocessing"]["steps"]] == ["whitespace", "template"]
    assert call["original"]["messages"][0]["content"] == "Where  is Rome?"
    refused = http.post("/api/calls", json={"prompt": "?", "template": "{user_input[0]}"})
    assert (refused.status_code, "no plain name" in refused.json()["detail"]) == (400, True)


def test_costs_are_strings_without_an_exponent(http: httpx.Client) -> None:
    answer = ask(http, "Where is Rome now?")
    assert (answer["cost"], answer["saved"]) == ("0", None)
    assert read_back(http, answer)["cost"] == "0"


def test_methods_and_rules_are_listed_with_their_parameters(http: httpx.Client) -> None:
    methods = {each["method"]: each for each in http.get("/api/methods").json()["items"]}
    assert methods["k-subspaces"]["parameters"]["properties"]["rank"]["minimum"] == 1
    assert (methods["hdbscan"]["finds_k"], methods["hdbscan"]["extra"]) == (True, "clustering")
    rules = {each["rule"]: each for each in http.get("/api/rules").json()["items"]}
    assert rules["gap"]["measured_when_asked"]
    assert rules["prediction-strength"]["parameters"]["properties"]["threshold"]["default"] == 0.8
