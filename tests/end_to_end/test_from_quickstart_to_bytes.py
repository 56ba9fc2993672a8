"""From a cluster of `study quickstart` to the exact bytes behind it, over HTTP, with nothing but links."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from infrastructure.settings import read_settings
from tests.conftest import Database, fresh_database
from tests.interfaces.cli.conftest import ROOT
from tests.interfaces.http.conftest import serving
from tests.interfaces.http.test_provenance import bytes_at, got, root_of, step

MOST_STEPS = 8

Json = dict[str, Any]


class Quickstarted(NamedTuple):
    """A server over what `study quickstart` left."""

    http: httpx.Client
    sweep: Json

    @property
    def clusters(self) -> list[tuple[str, Json]]:
        """Each cluster of the chosen K, and where a walk from its label begins."""
        place = f"/api/provenance/cluster/{self.sweep['sweep_id']}"
        return [(f"{place}/{cluster['cluster']}", cluster) for cluster in self.sweep["clusters"]]

    def walked(self, place: str, *links: str) -> str:
        """Where links lead, one after the other."""
        assert len(links) <= MOST_STEPS
        for link in links:
            place = step(self.http, place, link)
        return place


@pytest.fixture(scope="module")
def study(server: tuple[str, str], template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quickstarted]:
    folder = tmp_path_factory.mktemp("quickstarted")
    with fresh_database(server, template) as database:
        done = _quickstart(database, folder)
        settings = read_settings(database_url=database.application_uri, study_home=folder / "home")
        with serving(settings) as address, httpx.Client(base_url=address, timeout=20) as http:
            yield Quickstarted(http, done["sweep"])


def _quickstart(database: Database, folder: Path) -> Json:
    told = {"PYTHONPATH": str(ROOT), "DATABASE_URL": database.application_uri, "STUDY_HOME": str(folder / "home")}
    done = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", "quickstart", "--json"],
        cwd=folder,
        env={**{name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    document: Json = json.loads(done.stdout)
    return document


def test_a_label_leads_through_the_sweep_to_the_bytes_of_the_embeddings(study: Quickstarted) -> None:
    place, _ = study.clusters[0]
    way = ("labels", "step", "sweep", "embedding_batch", "embeddings", "call", "attempts")
    attempt = study.walked(place, *way)
    answer = json.loads(bytes_at(study.http, study.walked(attempt, "received")))
    asked = json.loads(bytes_at(study.http, study.walked(attempt, "request")))
    assert len(answer["data"]) == len(asked["input"]) > 100
    assert len((*way, "received")) == MOST_STEPS


def test_every_label_leads_in_four_steps_to_the_bytes_of_the_embedding_of_its_first_example(
    study: Quickstarted,
) -> None:
    for place, cluster in study.clusters:
        embedding = study.walked(place, "representatives")
        attempt = study.walked(embedding, "call", "attempts")
        index = root_of(got(study.http, embedding))["facts"]["input_index"]
        asked = json.loads(bytes_at(study.http, study.walked(attempt, "request")))
        assert asked["input"][index] == cluster["representatives"][0]
        answer = json.loads(bytes_at(study.http, study.walked(attempt, "received")))
        assert answer["data"][index]["index"] == index
        assert len(answer["data"][index]["embedding"]) > 1


def test_every_label_leads_in_three_steps_to_the_bytes_of_its_summary(study: Quickstarted) -> None:
    for place, cluster in study.clusters:
        attempt = study.walked(place, "name", "attempts")
        asked = json.loads(bytes_at(study.http, study.walked(attempt, "request")))
        assert all(text in asked["messages"][-1]["content"] for text in cluster["representatives"])
        answer = json.loads(bytes_at(study.http, study.walked(attempt, "received")))
        assert answer["choices"][0]["message"]["content"].strip() == cluster["name"]
