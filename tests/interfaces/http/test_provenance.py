"""Provenance, comparisons, exact bytes and the log over HTTP, as somebody with nothing but links would go."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

import httpx
import psycopg
import pytest
from prov.model import ProvDocument

from infrastructure.settings import read_settings
from interfaces.composition import open_study
from tests.conftest import Database, fresh_database
from tests.interfaces.http.conftest import serving
from tests.support.swept import TEXTS, swept

Json = dict[str, Any]


class Swept(NamedTuple):
    """A server over a study that holds one sweep."""

    http: httpx.Client
    sweep: Json
    database: Database


@pytest.fixture(scope="module")
def study(server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swept]:
    """Shared, since nobody here writes, but for one test, which undoes it."""
    with fresh_database(server, template) as database:
        settings = read_settings(database_url=database.application_uri, study_home=tmp_path_factory.mktemp("home"))

        async def sweep() -> Json:
            async with open_study(settings, actor="ada") as opened:
                return await swept(opened)

        document = asyncio.run(sweep())
        with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
            yield Swept(http, document, database)


def got(http: httpx.Client, address: str, **parameters: Any) -> Json:
    answer = http.get(address, params=parameters) if parameters else http.get(address)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def root_of(document: Json) -> Json:
    (node,) = [node for node in document["nodes"] if node["id"] == document["root"]["id"]]
    return node


def step(http: httpx.Client, address: str, link: str) -> str:
    """Look at a thing, and return where the first thing behind one of its links is."""
    node = root_of(got(http, address, depth=1))
    (found,) = [each for each in node["links"] if each["name"] == link]
    href: str = found["items"][0]["href"]
    return href


def bytes_at(http: httpx.Client, address: str) -> bytes:
    """The content of a node of bytes, which has the hash that was recorded."""
    facts = root_of(got(http, address))["facts"]
    content = http.get(facts["content"])
    assert content.status_code == 200
    assert hashlib.sha256(content.content).hexdigest() == facts["sha256"]
    assert content.headers["etag"] == f'"{facts["sha256"]}"'
    assert content.headers["content-type"].startswith(facts["media_type"])
    return content.content


def test_a_cluster_leads_to_the_very_embeddings_of_its_representatives(study: Swept) -> None:
    cluster = study.sweep["clusters"][1]
    place = f"/api/provenance/cluster/{study.sweep['sweep_id']}/{cluster['cluster']}"
    text = root_of(got(study.http, step(study.http, step(study.http, place, "representatives"), "text")))
    assert text["facts"]["preview"] == cluster["representatives"][0]
    assert TEXTS[cluster["representative_rows"][0]] == cluster["representatives"][0]


def test_runs_record_what_they_ran_with_and_how_long_it_took(study: Swept) -> None:
    node = root_of(got(study.http, f"/api/provenance/sweep/{study.sweep['sweep_id']}"))
    facts = node["facts"]
    assert facts["config"]["seed"] == 0
    assert {"python", "numpy", "scipy", "numba", "blas", "platform", "rules", "study-query-llm"} <= set(
        facts["software"]
    )
    assert set(facts["timings_s"]) == {"preparing", "steps", "naming"}
    assert facts["gather_duration_s"] > 0
    assert facts["duration_s"] > 0
    assert node["actor"] == "ada"


@pytest.mark.parametrize("direction", ["up", "down", "both"])
def test_a_walk_is_prov_json_that_loads(study: Swept, direction: str) -> None:
    place = f"/api/provenance/sweep/{study.sweep['sweep_id']}"
    written = got(study.http, place, direction=direction, format="prov-json", few=20)
    document = ProvDocument.deserialize(content=json.dumps(written), format="json")
    assert len(list(document.get_records())) > 20


def test_links_of_many_things_are_paged_and_hrefs_keep_the_moment(study: Swept) -> None:
    place = f"/api/provenance/sweep/{study.sweep['sweep_id']}"
    position = got(study.http, "/api/audit/events", limit=1000)["looked_to"]
    walk = got(study.http, place, as_of=position, few=2, verify=True)
    batch = next(node for node in walk["nodes"] if node["label"].startswith("embedding_batch/"))
    link = next(link for link in batch["links"] if link["name"] == "embeddings")
    assert (link["count"], len(link["items"])) == (24, 2)
    assert f"as_of={position}" in link["all"]
    first = got(study.http, link["all"] + "&limit=20")
    rest = got(study.http, link["all"] + "&limit=20", limit=20, as_of=position, cursor=first["next_cursor"])
    ids = [node["id"] for page in (first, rest) for node in page["items"]]
    assert len(set(ids)) == 24
    assert rest["next_cursor"] is None
    checked = [node["facts"]["sha256_ok"] for node in walk["nodes"] if node["kind"] == "bytes"]
    assert checked
    assert all(checked)


def test_models_and_calls_lead_down_to_the_studies_that_used_them(study: Swept) -> None:
    call_id = study.sweep["clusters"][0]["named_by_call_id"]
    for place in (f"call/{call_id}", "model/local/local-extract"):
        found = got(study.http, f"/api/provenance/{place}", direction="down", few=100)
        assert study.sweep["sweep_id"] in {node["id"].split("/")[0] for node in found["nodes"]}


def test_bytes_are_sent_as_they_are_and_never_shown_as_a_page(study: Swept) -> None:
    call_id = study.sweep["clusters"][0]["named_by_call_id"]
    parts = got(study.http, f"/api/calls/{call_id}/bytes", verify="true")["items"]
    assert [(part["version"], part["part"], part["sha256_ok"]) for part in parts] == [
        (1, "request", True), (2, "response", True),
    ]  # fmt: skip
    answer = study.http.get(parts[1]["href"])
    assert len(answer.content) == parts[1]["size"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in answer.headers["content-security-policy"]
    for address, status in (
        (f"/api/calls/{call_id}/bytes/completion", 404),
        (f"/api/calls/{call_id}/bytes/vectors", 400),
        (f"/api/calls/{call_id}/bytes/response?version=0", 400),
        (f"/api/calls/{UUID(int=1)}/bytes/request", 404),
        (f"/api/calls/{call_id}/bytes/request?as_of=1", 404),
    ):
        assert study.http.get(address).status_code == status, address


def test_altered_bytes_are_not_sent(study: Swept) -> None:
    call_id = study.sweep["clusters"][0]["named_by_call_id"]
    with psycopg.connect(study.database.owner_uri, autocommit=True) as connection:

        def put(body: bytes) -> bytes:
            row = connection.execute(
                "SELECT body FROM events.payloads WHERE originator_id = %s AND part = 'response'", (call_id,)
            ).fetchone()
            assert row is not None
            connection.execute("ALTER TABLE events.payloads DISABLE TRIGGER append_only")
            connection.execute(
                "UPDATE events.payloads SET body = %s WHERE originator_id = %s AND part = 'response'", (body, call_id)
            )
            connection.execute("ALTER TABLE events.payloads ENABLE TRIGGER append_only")
            return bytes(row[0])

        original = put(b"altered")
        try:
            refused = study.http.get(f"/api/calls/{call_id}/bytes/response")
            parts = got(study.http, f"/api/calls/{call_id}/bytes", verify=True)["items"]
            walk = got(study.http, f"/api/provenance/call/{call_id}", verify=True)
        finally:
            put(original)
    assert refused.status_code == 503
    assert "is not what was recorded" in refused.json()["detail"]
    assert [part["sha256_ok"] for part in parts] == [True, False]
    checked = {node["facts"]["part"]: node["facts"]["sha256_ok"] for node in walk["nodes"] if node["kind"] == "bytes"}
    assert checked == {"request": True, "response": False}


def test_a_sweep_does_not_differ_from_itself(study: Swept) -> None:
    sweep_id = study.sweep["sweep_id"]
    found = got(study.http, f"/api/sweeps/{sweep_id}/compare/{sweep_id}")
    assert (found["differences"], found["chosen_ari"], found["same_rows"]) == ([], 1.0, True)
    assert [step["ari"] for step in found["steps"]] == [1.0, 1.0]


def test_the_log_is_looked_through_by_kind_name_thing_and_time(study: Swept) -> None:
    def names(**filters: Any) -> list[str]:
        return [event["event"] for event in got(study.http, "/api/audit/events", limit=1000, **filters)["items"]]

    everything = got(study.http, "/api/audit/events", limit=1000)["items"]
    assert [event["position"] for event in everything] == sorted(event["position"] for event in everything)
    sweep = names(entity=study.sweep["sweep_id"])
    assert (sweep[0], sweep[-1]) == ("sweep.started.v1", "sweep.finished.v1")
    assert set(names(kind="call")) == {"call.requested.v1", "call.answered.v1"}
    assert names(event="dataset.imported") == ["dataset.imported.v1"]
    assert names(actor="bob") == names(since="2999-01-01") == names(until="2001-01-01") == []
    assert names(after=everything[2]["position"], actor="ada")[0] == everything[3]["event"]
    assert names(as_of=everything[3]["position"]) == [event["event"] for event in everything[:4]]
    run = names(entity=study.sweep["run_group_id"])
    assert run.count("group.linked.v1") == 4  # the batch, the names, and a step for each K
    history = got(study.http, f"/api/calls/{study.sweep['clusters'][0]['named_by_call_id']}/events")["items"]
    assert [payload["part"] for event in history for payload in event["payloads"]] == ["request", "response"]
    assert study.http.get(history[0]["payloads"][0]["href"]).status_code == 200
    first = got(study.http, "/api/audit/events", limit=2)
    second = got(study.http, "/api/audit/events", limit=2, cursor=first["next_cursor"])
    assert [event["position"] for event in first["items"] + second["items"]] == [
        event["position"] for event in everything[:4]
    ]
    for wrong, field in (
        ({"kind": "dog"}, "kind"),
        ({"event": "x"}, "event"),
        ({"correlation_id": "x"}, "correlation_id"),
    ):
        refused = study.http.get("/api/audit/events", params=wrong)
        assert (refused.status_code, refused.json()["fields"]) == (400, [field])
    assert got(study.http, "/api/audit/unanswered")["items"] == []


@pytest.mark.parametrize(
    ("address", "status"),
    [
        ("/api/provenance/dog/1", 400),
        ("/api/provenance/call/tomorrow", 404),
        (f"/api/provenance/cluster/{UUID(int=1)}/0", 404),
        ("/api/provenance/model/a/b?direction=sideways", 400),
        ("/api/provenance/model/a/b?depth=99", 400),
        ("/api/provenance/links/nothing/model/a/b", 400),
    ],
)
def test_what_cannot_be_asked_is_answered_by_a_problem(study: Swept, address: str, status: int) -> None:
    answer = study.http.get(address)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
