"""The OpenAPI document is whole, and its page needs no internet."""

import re

import httpx
from jsonschema_rs import validate

from interfaces.http.document import KEY, LEADS_TO

NO_ID = "0195512a-7c00-7000-8000-000000000001"
NAMED = {
    "call_id": NO_ID,
    "sweep_id": NO_ID,
    "conversation_id": NO_ID,
    "other_id": NO_ID,
    "thing_id": NO_ID,
    "kind": "call",
    "part": "request",
    "name": "none",
}
ROUTES = {
    ("/health/live", "get"),
    ("/health/ready", "get"),
    ("/api/calls", "get"),
    ("/api/calls", "post"),
    ("/api/batches", "post"),
    ("/api/calls/{call_id}", "get"),
    ("/api/calls/{call_id}/attempts", "get"),
    ("/api/calls/{call_id}/events", "get"),
    ("/api/embeddings", "post"),
    ("/api/embeddings/search", "post"),
    ("/api/datasets", "get"),
    ("/api/datasets", "post"),
    ("/api/datasets/samples", "post"),
    ("/api/datasets/{name}", "get"),
    ("/api/groups", "get"),
    ("/api/groups", "post"),
    ("/api/groups/{group_id}", "get"),
    ("/api/groups/{group_id}", "patch"),
    ("/api/groups/{group_id}/members", "get"),
    ("/api/groups/{group_id}/members", "post"),
    ("/api/groups/{group_id}/members", "delete"),
    ("/api/groups/{group_id}/links", "post"),
    ("/api/groups/{group_id}/links", "delete"),
    ("/api/groups/{group_id}/children", "get"),
    ("/api/groups/{group_id}/parents", "get"),
    ("/api/groups/{group_id}/steps", "get"),
    ("/api/groups/{group_id}/dependencies", "get"),
    ("/api/artifacts", "get"),
    ("/api/artifacts", "post"),
    ("/api/artifacts/{artifact_id}", "get"),
    ("/api/artifacts/{artifact_id}/content", "get"),
    ("/api/sweeps", "get"),
    ("/api/sweeps/{sweep_id}", "get"),
    ("/api/sweeps/{sweep_id}/compare/{other_id}", "get"),
    ("/api/sweeps/{sweep_id}/report", "get"),
    ("/api/methods", "get"),
    ("/api/rules", "get"),
    ("/api/provenance/{kind}/{thing_id}", "get"),
    ("/api/provenance/links/{name}/{kind}/{thing_id}", "get"),
    ("/api/calls/{call_id}/bytes", "get"),
    ("/api/calls/{call_id}/bytes/{part}", "get"),
    ("/api/analytics/summary", "get"),
    ("/api/analytics/providers", "get"),
    ("/api/analytics/timeseries", "get"),
    ("/api/analytics/errors", "get"),
    ("/api/analytics/recent", "get"),
    ("/api/audit/events", "get"),
    ("/api/audit/unanswered", "get"),
    ("/api/projections", "get"),
    ("/api/projections/{name}/rebuild", "post"),
    ("/api/providers", "get"),
    ("/api/providers/{name}/models", "get"),
    ("/api/conversations", "get"),
    ("/api/conversations", "post"),
    ("/api/conversations/{conversation_id}", "get"),
    ("/api/conversations/{conversation_id}", "delete"),
    ("/api/conversations/{conversation_id}/messages", "post"),
    ("/api/conversations/{conversation_id}/fork", "post"),
    ("/api/providers/{name}/validate", "post"),
    ("/api/summaries", "post"),
    ("/api/sweeps", "post"),
    ("/api/sweeps/{sweep_id}/resume", "post"),
    ("/api/sweeps/{sweep_id}/cancel", "post"),
    ("/api/sweeps/{sweep_id}/progress", "get"),
    ("/v1/chat/completions", "post"),
    ("/v1/embeddings", "post"),
    ("/v1/models", "get"),
    ("/v1/models/{model}", "get"),
    ("/api/tokens", "get"),
    ("/api/tokens", "post"),
    ("/api/tokens/{name}", "delete"),
    ("/api/events/stream", "get"),
    ("/api/export/analytics", "get"),
    ("/api/export/calls", "get"),
    ("/api/export/embeddings", "get"),
    ("/api/export/events", "get"),
    ("/metrics", "get"),
}
OF_TOKENS = {"401", "403", "429"}  # the problems of every route but those to anybody


# Answers of which no example is kept: a token is a secret, and a server that makes examples runs no sweep.
UNSHOWN = {"ask_for_sweep", "resume_sweep", "cancel_sweep", "issue_token", "revoke_token"}

# What tells of this moment alone, or of the log itself.
TIMELESS = (
    "/v1/",
    "/health/",
    "/metrics",
    "/api/providers",
    "/api/projections",
    "/api/calls/{call_id}/events",
    "/api/events/stream",
    "/api/export/",  # files, which test_exports.py asks for as of a moment
    "/api/methods",
    "/api/rules",
    "/api/sweeps/{sweep_id}/progress",
    "/api/providers",
    "/api/projections",
    "/api/calls/{call_id}/events",
)


def test_every_question_about_what_is_recorded_can_be_asked_as_of_a_moment(reader: httpx.Client) -> None:
    paths = reader.get("/api/openapi.json").json()["paths"]
    asked = {path: item["get"] for path, item in paths.items() if "get" in item and not path.startswith(TIMELESS)}
    assert asked
    for path, operation in asked.items():
        assert {"as_of", "at_least"} <= {parameter["name"] for parameter in operation["parameters"]}, path
        address = path
        for name, value in NAMED.items():
            address = address.replace(f"{{{name}}}", value)
        address = re.sub(r"\{\w+_id\}", NO_ID, address)
        address = address.replace("links/none", "links/attempts")
        answer = reader.get(address, params={"as_of": "0", "at_least": 0})
        if "{" in path:
            assert (answer.status_code, "at position 0" in answer.text) == (404, True), path
        elif path == "/api/analytics/summary":
            assert (answer.json()["calls"], answer.json()["cost"]) == (0, "0"), path
        else:
            assert {**answer.json(), "items": [], "next_cursor": None} == answer.json(), path
        refused = reader.get(address, params={"as_of": "tomorrow"})
        assert (refused.status_code, refused.json()["fields"]) == (400, ["as_of"]), path


def test_every_route_is_documented_with_its_problems(reader: httpx.Client) -> None:
    document = reader.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations = {
        (path, method): operation for path, item in document["paths"].items() for method, operation in item.items()
    }
    assert set(operations) == ROUTES
    for (path, method), operation in operations.items():
        assert operation["summary"], path
        assert operation["description"], path
        for status, response in operation["responses"].items():
            if path.startswith("/v1/"):
                assert status == "200" or response["content"]["application/json"]["example"]["error"]["message"]
            elif int(status) >= 400:
                content = response["content"]["application/problem+json"]
                examples = [example["value"] for example in content["examples"].values()]
                assert examples, (path, status)
                assert all(str(example["status"]) == status for example in examples), (path, method, status)
    for (path, method), operation in operations.items():
        assert (operation["responses"].keys() >= OF_TOKENS) == (not path.startswith("/health/")), (path, method)
    asking = set(operations["/api/calls", "post"]["responses"])
    assert asking == {"201", "400", "408", "409", "413", "415", "502", "503"} | OF_TOKENS
    body = document["components"]["schemas"]["CallBody"]
    assert body["properties"]["n"]["minimum"] == 1


def test_every_operation_shows_requests_and_answers_that_fit_what_it_says_of_them(reader: httpx.Client) -> None:
    document = reader.get("/api/openapi.json").json()
    names: list[str] = []
    checked = 0
    for item in document["paths"].values():
        for operation in item.values():
            name = operation["operationId"]
            names.append(name)
            assert re.fullmatch(r"[a-z_]+", name), name
            shown = [operation["requestBody"]] if "requestBody" in operation else []
            shown += operation["responses"].values()
            for each in shown:
                for media_type, content in each.get("content", {}).items():
                    examples = [example["value"] for example in content.get("examples", {}).values()]
                    examples += [content["example"]] if "example" in content else []
                    examples += content["schema"].get("examples", [])
                    if media_type in ("application/json", "application/problem+json", "text/event-stream"):
                        assert examples or name in UNSHOWN, (name, media_type)
                    for example in examples:
                        validate({**content["schema"], "components": document["components"]}, example)
                        checked += 1
    assert len(set(names)) == len(names)
    assert checked > 200
    shown = document["paths"]["/api/calls"]["get"]["responses"]["200"]["content"]["application/json"]["examples"]
    ((found,),) = ([each["found"] for each in shown[name]["value"]["items"]] for name in shown if name != "answer")
    assert [each["text"][slice(*each["marks"][0])] for each in found] == ["primes", "primes"]
    assert document["components"]["securitySchemes"]["bearer"]["scheme"] == "bearer"


def test_links_lead_to_operations_there_are(reader: httpx.Client) -> None:
    paths = reader.get("/api/openapi.json").json()["paths"]
    operations = {operation["operationId"]: operation for item in paths.values() for operation in item.values()}
    led = 0
    for operation in operations.values():
        for response in operation["responses"].values():
            for link in response.get("links", {}).values():
                named = {parameter["name"] for parameter in operations[link["operationId"]]["parameters"]}
                assert set(link["parameters"]) <= named
                led += 1
    assert led == len(LEADS_TO)
    once = {name for name, operation in operations.items() if KEY in operation.get("parameters", ())}
    assert {"ask_model", "ask_batch", "embed_texts", "create_group", "start_conversation", "say"} <= once
    assert not once & {"import_dataset", "keep_artifact", "list_calls"}


def test_bounds_are_shown_of_what_may_be_left_out_too(reader: httpx.Client) -> None:
    document = reader.get("/api/openapi.json").json()
    schemas = document["components"]["schemas"]
    temperature = schemas["CallBody"]["properties"]["temperature"]
    assert (temperature["minimum"], temperature["maximum"]) == (0, 2)
    assert schemas["CallBody"]["properties"]["attempt_timeout_s"]["exclusiveMinimum"] == 0
    assert schemas["SweepBody"]["properties"]["k_values"]["oneOf"][0]["items"]["maximum"] == 10_000
    asked_of_calls = {each["name"]: each["schema"] for each in document["paths"]["/api/calls"]["get"]["parameters"]}
    assert asked_of_calls["at_least"]["minimum"] == 0
    assert asked_of_calls["limit"]["maximum"] == 1000


def test_the_page_loads_only_from_this_server(reader: httpx.Client) -> None:
    for address in ("/api/docs", "/api/docs/"):
        page = reader.get(address)
        assert page.status_code == 200
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert "http" not in page.headers["content-security-policy"]
        loaded = re.findall(r'(?:src|href)="([^"]*)"', page.text)
        assert len(loaded) == 6
        for asset in loaded:
            assert asset.startswith("/api/"), asset
            answer = reader.get(asset)
            assert answer.status_code == 200, asset
            assert answer.content
    styles = reader.get("/api/docs/assets/swagger-ui.css").text
    assert "@import" not in styles
    assert not re.search(r"url\(['\"]?(?!['\"]?data:)", styles)
