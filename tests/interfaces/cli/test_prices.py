"""Costs as a user sees them, from the price file to the tables."""

import json
from decimal import Decimal
from pathlib import Path

from tests.interfaces.cli.conftest import Study
from tests.support.misbehaving_server import MisbehavingServer


def prices(file: Path, amount: str) -> dict[str, str]:
    file.write_text(f"provider,model,input,output\nopenai,gpt-4o-mini,{amount},{amount}\n")
    return {"STUDY_PRICES": str(file)}


def test_a_cost_stays_what_it_was_whatever_the_price_file_says_later(study_here: Study, tmp_path: Path) -> None:
    file = tmp_path / "prices.csv"
    with MisbehavingServer() as server:
        settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-test", **prices(file, "1000")}
        asked = study_here("ask", "?", "--provider", "openai", "--model", "gpt-4o-mini", "--json", **settings).document
        shown = study_here("ask", "??", "--provider", "openai", "--model", "gpt-4o-mini", **settings)
        tokens = asked["tokens"]
        assert float(asked["cost"]) == (tokens["prompt"] + tokens["completion"]) / 1000
        assert f"${asked['cost'][:3]}" in shown.err
        before = study_here("calls", "--json", **settings).document["items"]
        prices(file, "1")
        assert study_here("projections", "rebuild", "raw_calls", **settings).code == 0
        assert study_here("calls", "--json", **settings).document["items"] == before
        call = study_here("call", asked["call_id"], "--json", **settings).document
    assert (call["cost"], call["price"]["input"]) == (asked["cost"], "1000")
    assert "USD" in study_here("calls").out


def test_the_local_provider_costs_nothing_and_a_model_without_a_price_is_unknown(study_here: Study) -> None:
    assert study_here("ask", "Where is Rome?", "--provider", "local", "--json").document["cost"] == "0"
    with MisbehavingServer() as server:
        settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-test"}
        asked = study_here("ask", "?", "--provider", "openai", "--model", "gpt-4o-mini", "--json", **settings)
    assert asked.document["cost"] is None  # it is not OpenAI's endpoint


def test_a_batch_says_what_it_cost_and_saved_together_and_of_how_much_that_is_unknown(
    study_here: Study, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.jsonl"
    models = ("gpt-4o-mini", "gpt-4o-mini", "tiny")
    file.write_text("".join(json.dumps({"prompt": f"{at}", "model": model}) + "\n" for at, model in enumerate(models)))
    words = ("ask", "--file", str(file), "--provider", "openai")
    with MisbehavingServer() as server:
        server.behave("ok", "ok", "ok")
        settings = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": "sk-test", **prices(tmp_path / "p.csv", "1000")}
        asked = study_here(*words, **settings)
        again = study_here(*words, "--json", **settings)
        only = tmp_path / "only.jsonl"
        only.write_text(json.dumps({"prompt": "2", "model": "tiny"}))
        unknown = study_here("ask", "--file", str(only), "--provider", "openai", **settings)
        document = again.document
    paid = [Decimal(json.loads(line)["cost"]) for line in asked.out.splitlines()[:2]]
    total = f"{sum(paid).normalize():f}"
    assert f"3 asked; cost ${total} (1 unknown); study calls" in asked.err
    assert f"3 of them without a call of their own; cost $0, saved ${total} (1 unknown)" in again.err
    assert (document["cost"], document["cost_unknown"]) == ("0", 0)
    assert (document["saved"], document["saved_unknown"]) == (total, 1)
    assert "1 asked; cost unknown; study calls" in unknown.err


def test_a_dataset_that_is_embedded_says_what_it_cost_and_again_what_it_saved(
    study_here: Study, tmp_path: Path
) -> None:
    (tmp_path / "lines.txt").write_text("a cat\na dog\n")
    file = tmp_path / "prices.csv"
    file.write_text("provider,model,input\nopenai,tiny,1000\n")
    words = ("embed", "lines", "--provider", "openai", "--model", "tiny")
    with MisbehavingServer() as server:
        settings = {"OPENAI_BASE_URL": server.url, "STUDY_PRICES": str(file)}
        study_here("dataset", "import", str(tmp_path / "lines.txt"), "--name", "lines")
        first = study_here(*words, "--json", **settings).document
        again = study_here(*words, "--json", **settings).document
        told = study_here(*words, **settings).out
    assert Decimal(first["cost"]) > 0
    assert (first["saved"], again["cost"], again["saved"]) == ("0", "0", first["cost"])
    assert f"They cost $0, and ${first['cost']} were saved." in told


def test_a_price_file_that_cannot_be_read_ends_the_start(study_here: Study, tmp_path: Path) -> None:
    settings = prices(tmp_path / "prices.csv", "cheap")
    refused = study_here("ask", "?", **settings)
    assert refused.code == 2
    assert "prices.csv, line 2, column input: 'cheap' is no amount" in refused.err
    assert study_here("calls", "--json").document["items"] == []


def test_the_doctor_says_where_prices_come_from(study_here: Study, tmp_path: Path) -> None:
    settings = prices(tmp_path / "prices.csv", "1")
    checks = {check["check"]: check["detail"] for check in study_here("doctor", "--json", **settings).document["items"]}
    assert checks["prices"] == f"{tmp_path / 'prices.csv'}, then the list prices that come with this version"
