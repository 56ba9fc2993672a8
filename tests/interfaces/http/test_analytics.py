"""Many calls at once over HTTP: what is promised, after calls that succeeded and calls that didn't."""

from pathlib import Path

import httpx
import pytest

import study_query_llm as sq
from infrastructure.providers.openai_compatible import OpenAICompatible
from tests.conftest import Database

LOCAL = {"provider": "local", "model": "local-extract"}


@pytest.fixture(scope="module")
def asked(reader: httpx.Client) -> httpx.Client:
    """Three calls, one of which is given again."""
    for number, more in enumerate(({}, {}, {"temperature": 0, "cache": "1h"}, {"temperature": 0, "cache": "1h"})):
        body = {"prompt": f"The cat sat {number // 2}. The dog ran.", "share": False, **LOCAL, **more}
        answer = reader.post("/api/calls", json=body)
        assert answer.status_code == 201, answer.text
    reader.get("/api/analytics/summary", params={"at_least": answer.json()["position"]})
    return reader


def get(http: httpx.Client, name: str, **parameters: object) -> dict[str, object]:
    answer = http.get(f"/api/analytics/{name}", params=parameters)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def test_the_summary_adds_everything_up(asked: httpx.Client) -> None:
    summary = get(asked, "summary")
    assert summary.keys() >= {"calls", "success", "failed", "providers", "tokens", "cost", "saved"}
    assert (summary["calls"], summary["success"], summary["failed"], summary["cached"]) == (3, 3, 0, 1)
    assert (summary["providers"], summary["cost"], summary["saved"]) == (["local"], "0", "0")
    assert get(asked, "summary", as_of=2)["calls"] == 1
    assert get(asked, "summary", actor="nobody")["calls"] == 0
    assert get(asked, "summary", until="2020-01-01")["calls"] == 0


def test_models_are_compared_and_seen_over_time(asked: httpx.Client) -> None:
    (model,) = get(asked, "providers", provider="LOCAL")["items"]
    assert model.keys() >= {"provider", "model", "count", "success_rate", "attempts_per_call", "tokens_mean"}
    assert (model["provider"], model["model"], model["count"], model["success_rate"]) == (*LOCAL.values(), 3, 1.0)
    assert model["latency_ms"].keys() == {"mean", "p50", "p95", "p99"}
    series = get(asked, "timeseries", bucket="day", timezone="Asia/Tokyo")
    assert sum(item["calls"] for item in series["items"]) == 3
    assert all(item["at"].endswith("T00:00:00+09:00") for item in series["items"])
    assert series["items"][0].keys() >= {"at", "provider", "calls", "tokens_sum", "tokens_mean", "latency_ms_mean"}
    filled = get(asked, "timeseries", fill=True, detail=True, by="model")
    assert len(filled["items"]) in (168, 169)
    assert filled["items"][-1].keys() >= {"model", "latency_ms_p95", "first_token_ms_p50", "cancelled"}
    assert [len(get(asked, "recent", limit=2)["items"]), get(asked, "errors")["items"]] == [2, []]


@pytest.mark.parametrize(
    ("address", "field"),
    [
        ("summary?since=2026-03-02&until=2026-03-01", "since"),
        ("summary?until=soon", "until"),
        ("providers?status=lost", "status"),
        ("providers?limit=3", "limit"),
        ("timeseries?timezone=Mars/Base", "timezone"),
        ("timeseries?bucket=week", "bucket"),
        ("timeseries?bucket=minute&since=2020-01-01&until=2026-01-01", "bucket"),
        ("errors?since=0001-01-01", "since"),
        ("recent?limit=0", "limit"),
    ],
)
def test_what_makes_no_sense_is_a_problem_that_names_the_field(asked: httpx.Client, address: str, field: str) -> None:
    refused = asked.get(f"/api/analytics/{address}")
    assert refused.status_code == 400, refused.text
    assert field in refused.json()["fields"]


def test_errors_and_numbers_become_data_frames(database: Database, tmp_path: Path) -> None:
    nobody = "http://127.0.0.1:1/v1"
    provider = OpenAICompatible(api_key="k", base_url=nobody, chat_model="m", embedding_model=None)
    with sq.open(database_url=database.application_uri, home=tmp_path, providers={"mine": provider}) as study:
        with pytest.raises(sq.ProviderFailed):
            study.ask("three?", provider="mine", attempts=1)
        answer = study.ask("The cat sat.", provider="local", group="batch/cats")
        frame = study.analytics.providers(at_least=answer.position).to_frame().set_index("model")
        assert frame.loc["local-extract", "latency_ms_p95"] > 0
        assert frame.loc["m", "success_rate"] == 0
        errors = study.analytics.errors(since="2020-01-01").to_frame()
        assert errors[["kind", "attempts", "calls"]].to_numpy().tolist() == [["connection", 1, 1]]
        series = study.analytics.timeseries("day", provider="local").to_frame()
        assert (str(series["at"].dt.tz), series["calls"].tolist(), series["cost"].sum()) == ("UTC", [1], 0.0)
        assert study.analytics.summary(group="batch/cats", at_least=answer.position)["calls"] == 1
        assert study.analytics.recent(limit=1)[0]["provider"] == "local"
        with pytest.raises(sq.Rejected, match="no time"):
            study.analytics.summary(until="soon")
