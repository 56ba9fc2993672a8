"""Groups over HTTP: create, describe, members, links, walks, all as of a moment."""

from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest


@pytest.fixture
def made(reader: httpx.Client) -> dict[str, Any]:
    """A group of this test's own."""
    body = {"group_type": "experiment", "name": uuid4().hex, "description": "mine", "metadata": {"a": 1, "b": [2]}}
    answer = reader.post("/api/groups", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/groups/{answer.json()['group_id']}"
    return answer.json()


def another(reader: httpx.Client, group_type: str = "run") -> str:
    return reader.post("/api/groups", json={"group_type": group_type, "name": uuid4().hex}).json()["group_id"]


def call(reader: httpx.Client) -> str:
    asked = {"prompt": f"Two is prime. {uuid4().hex}", "provider": "local"}
    return reader.post("/api/calls", json=asked).json()["call_id"]


def test_a_group_is_there_at_once_and_once(reader: httpx.Client, made: dict[str, Any]) -> None:
    found = reader.get(f"/api/groups/{made['group_id']}").json()
    assert (found["description"], found["metadata"], found["member_count"]) == ("mine", {"a": 1, "b": [2]}, 0)
    again = reader.post("/api/groups", json={"group_type": made["group_type"], "name": made["name"]})
    assert (again.status_code, again.json()["group_id"]) == (409, made["group_id"])
    named = reader.get("/api/groups", params={"group_type": "experiment", "name": made["name"]}).json()["items"]
    assert [group["group_id"] for group in named] == [made["group_id"]]


def test_a_description_changes_and_the_past_stays(reader: httpx.Client, made: dict[str, Any]) -> None:
    changed = reader.patch(f"/api/groups/{made['group_id']}", json={"description": "ours", "metadata": {"a": None}})
    assert (changed.json()["description"], changed.json()["metadata"]) == ("ours", {"b": [2]})
    before = reader.get(f"/api/groups/{made['group_id']}", params={"as_of": made["position"]}).json()
    assert (before["description"], before["metadata"]) == ("mine", {"a": 1, "b": [2]})
    assert reader.patch(f"/api/groups/{uuid4()}", json={"description": "none"}).status_code == 404


def test_members_come_and_go_and_the_past_stays(reader: httpx.Client, made: dict[str, Any]) -> None:
    address, calls = f"/api/groups/{made['group_id']}/members", [call(reader) for _ in range(3)]
    members = [{"call_id": calls[0]}, {"call_id": calls[1], "role": "output", "position": 1}, {"call_id": calls[2]}]
    added = reader.post(address, json={"members": members})
    assert (added.status_code, added.json()["member_count"]) == (200, 3)
    listed = reader.get(address, params={"at_least": added.json()["position"], "limit": 2}).json()
    assert [item["call_id"] for item in listed["items"]] == [calls[1], calls[0]]
    rest = reader.get(address, params={"cursor": listed["next_cursor"], "limit": 2}).json()
    assert [item["call_id"] for item in rest["items"]] == [calls[2]]
    only = reader.get(address, params={"role": "output"}).json()["items"]
    assert [(item["role"], item["position"]) for item in only] == [("output", 1)]
    removed = reader.request("DELETE", address, json={"members": [{"call_id": calls[0]}, {"call_id": calls[1]}]})
    assert (removed.status_code, removed.json()["member_count"]) == (200, 1)
    past = reader.get(address, params={"as_of": added.json()["position"]}).json()["items"]
    assert len(past) == 3
    assert reader.get("/api/calls", params={"group_id": made["group_id"]}).json()["items"][0]["call_id"] == calls[2]


def test_what_is_no_call_is_named(reader: httpx.Client, made: dict[str, Any]) -> None:
    address, stranger = f"/api/groups/{made['group_id']}/members", str(uuid4())
    for method in ("POST", "DELETE"):
        refused = reader.request(method, address, json={"members": [{"call_id": call(reader)}, {"call_id": stranger}]})
        assert (refused.status_code, stranger in refused.json()["detail"]) == (400, True)
    assert reader.get(address).json()["items"] == []
    assert reader.post(f"/api/groups/{uuid4()}/members", json={"members": [{"call_id": stranger}]}).status_code == 404
    assert reader.post(address, json={"members": []}).json()["fields"] == ["members"]
    assert reader.post(address, json={"members": [{"call_id": "x"}]}).json()["fields"] == ["members[0].call_id"]


def test_links_stand_once_close_no_cycle_and_can_be_taken_back(reader: httpx.Client, made: dict[str, Any]) -> None:
    run, step = another(reader), another(reader, "step")
    contains = {"child_group_id": run, "link_type": "contains", "position": 1, "metadata": {"why": "so"}}
    linked = reader.post(f"/api/groups/{made['group_id']}/links", json=contains)
    assert (linked.status_code, linked.json()["linked"]) == (201, True)
    again = reader.post(f"/api/groups/{made['group_id']}/links", json=contains)
    assert (again.status_code, again.json()["linked"]) == (200, False)
    stepped = reader.post(f"/api/groups/{run}/links", json={"child_group_id": step, "link_type": "step", "position": 2})
    cycle = reader.post(
        f"/api/groups/{step}/links", json={"child_group_id": made["group_id"], "link_type": "depends_on"}
    )
    assert (cycle.status_code, "would close a cycle" in cycle.json()["detail"]) == (400, True)
    at = {"at_least": stepped.json()["position"]}
    (child,) = reader.get(f"/api/groups/{made['group_id']}/children", params=at).json()["items"]
    assert (child["group_id"], child["link_type"], child["metadata"]) == (run, "contains", {"why": "so"})
    (parent,) = reader.get(f"/api/groups/{run}/parents", params=at).json()["items"]
    assert parent["name"] == made["name"]
    assert [each["group_id"] for each in reader.get(f"/api/groups/{run}/steps", params=at).json()["items"]] == [step]
    gone = reader.request(
        "DELETE", f"/api/groups/{run}/links", json={"child_group_id": step, "link_type": "step"}
    ).json()
    assert gone["unlinked"]
    assert reader.get(f"/api/groups/{run}/steps", params={"at_least": gone["position"]}).json()["items"] == []
    assert (
        len(reader.get(f"/api/groups/{run}/steps", params={"as_of": stepped.json()["position"]}).json()["items"]) == 1
    )
    lost = reader.post(f"/api/groups/{run}/links", json={"child_group_id": str(uuid4()), "link_type": "step"})
    assert lost.status_code == 404


def test_dependencies_are_walked_both_ways_to_a_depth(reader: httpx.Client) -> None:
    chain = [another(reader) for _ in range(4)]
    for parent, child in pairwise(chain):
        at = reader.post(
            f"/api/groups/{parent}/links", json={"child_group_id": child, "link_type": "depends_on"}
        ).json()["position"]
    up = reader.get(f"/api/groups/{chain[0]}/dependencies", params={"at_least": at}).json()
    assert [(item["group_id"], item["depth"]) for item in up["items"]] == [
        (chain[1], 1),
        (chain[2], 2),
        (chain[3], 3),
    ]
    assert not up["truncated"]
    near = reader.get(f"/api/groups/{chain[0]}/dependencies", params={"depth": 2}).json()
    assert (len(near["items"]), near["depth"], near["truncated"]) == (2, 2, True)
    down = reader.get(f"/api/groups/{chain[2]}/dependencies", params={"direction": "down"}).json()
    assert [item["group_id"] for item in down["items"]] == [chain[1], chain[0]]
    both = reader.get(f"/api/groups/{chain[1]}/dependencies", params={"direction": "both", "link_type": "any"}).json()
    assert {item["direction"] for item in both["items"]} == {"up", "down"}
    for wrong in ({"depth": 0}, {"direction": "left"}, {"link_type": "likes"}):
        refused = reader.get(f"/api/groups/{chain[0]}/dependencies", params=wrong)
        assert (refused.status_code, refused.json()["fields"]) == (400, list(wrong))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"group_type": "a/b", "name": "n"}, "group_type"),
        ({"group_type": "", "name": "n"}, "group_type"),
        ({"group_type": "t", "name": "n" * 301}, "name"),
        ({"group_type": "t", "name": "a\0b"}, "name"),
        ({"group_type": "t", "name": "n", "metadata": {"m": "x" * 100_000}}, "metadata"),
        ({"group_type": "t", "name": "n", "descripton": ""}, "descripton"),
    ],
)
def test_a_group_that_can_not_be_is_refused(reader: httpx.Client, body: dict[str, Any], field: str) -> None:
    refused = reader.post("/api/groups", json=body)
    assert (refused.status_code, refused.json()["fields"]) == (400, [field])


def test_an_address_without_an_id_leads_nowhere(reader: httpx.Client) -> None:
    for path in ("none", str(UUID(int=1))):
        assert reader.get(f"/api/groups/{path}").status_code == 404
