"""Clustering methods of other distributions, installed as they are: a folder with metadata and a module."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from domain.clustering import METHODS
from infrastructure.method_plug_ins import InstalledMethods

ROOT = Path(__file__).parents[2]

MODULE = """
import numpy as np
from typing import Annotated
from msgspec import Meta, Struct
from domain.clustering import Clustering, Method

class Stripes(Struct, frozen=True, forbid_unknown_fields=True):
    column: Annotated[int, Meta(ge=0, description="Which feature to cut.")] = 0

def stripes(vectors, n_clusters, restarts, max_iterations, seed, parameters):
    order = np.argsort(vectors[:, parameters.column], kind="stable")
    labels = np.empty(len(vectors), dtype=np.int32)
    for cluster, rows in enumerate(np.array_split(order, n_clusters)):
        labels[rows] = cluster
    centroids = np.array([vectors[labels == c].mean(axis=0) for c in range(n_clusters)], dtype=np.float32)
    distances = np.square(vectors - centroids[labels]).sum()
    return [Clustering(labels, centroids, float(distances), 1, True, 0)] * restarts

STRIPES = Method("stripes", Stripes, stripes, "Cuts one feature into equal parts.")
ALIAS = Method("another-name", Stripes, stripes)
UPPER = Method("Upper", Stripes, stripes)
PLAIN = Method("plain", dict, stripes)
MUTE = Method("mute", Stripes, None)

def clumsy(*_):
    return {}["their own mistake"]

CLUMSY = Method("clumsy", Stripes, clumsy, "Breaks when it is run.")
"""
POINTS = {
    "lenders": {
        "stripes": "lenders:STRIPES",
        "clumsy": "lenders:CLUMSY",
        "alias": "lenders:ALIAS",
        "Upper": "lenders:UPPER",
        "plain": "lenders:PLAIN",
        "mute": "lenders:MUTE",
        "function": "lenders:stripes",
        "gone": "nowhere_at_all:METHOD",
        "k-means": "lenders:STRIPES",
        "twice": "lenders:STRIPES",
    },
    "copycats": {"twice": "lenders:CLUMSY"},
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Where two distributions are installed that bring methods, good ones and bad ones."""
    folder = tmp_path / "site"
    for name, points in POINTS.items():
        metadata = folder / f"{name}-1.2.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        (metadata / "entry_points.txt").write_text("\n".join(["[study_query_llm.methods]", *lines, ""]))
    (folder / "lenders.py").write_text(MODULE)
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32))
    return folder


def study(site: Path, *words: str, **settings: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "interfaces.cli.main", *words, "--json"],
        cwd=site.parent,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT}:{site}",
            "STUDY_HOME": str(site.parent / "home"),
            **settings,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout)


def test_methods_are_listed_and_what_is_wrong_with_one_stands_in_nobodys_way(site: Path) -> None:
    code, listed = study(site, "sweep", "methods")
    assert code == 0
    by_name = {each["method"]: each for each in listed["items"]}
    assert list(by_name)[: len(METHODS)] == list(METHODS)
    stripes = by_name["stripes"]
    assert (stripes["installed"], stripes["error"], stripes["distribution"]) == (True, None, "lenders 1.2")
    assert stripes["parameters"]["properties"]["column"]["description"] == "Which feature to cut."
    assert by_name["spectral"]["extra"] == "clustering"
    told = {name: each["error"] for name, each in by_name.items() if each.get("error")}
    for name, why in {
        "alias": "both names must be the same",
        "Upper": "of a-z, 0-9",
        "plain": "no msgspec.Struct",
        "mute": "can't be called",
        "function": "is a function, not a domain.clustering.Method",
        "gone": "ModuleNotFoundError",
        "k-means": "can't take the name of ours",
        "twice": "two distributions offer a method of this name",
    }.items():
        assert why in told.pop(name), name
    assert told == {}


def test_a_method_is_run_like_our_own_and_a_mistake_is_told_by_its_name(site: Path, database: Any) -> None:
    store = {"DATABASE_URL": database.application_uri}
    words = ("sweep", "run", "--vectors", "v.npy", "--pca-dim", "0", "--restarts", "1", "--k-max", "3")
    code, sweep = study(site, *words, "--method", "stripes", "--param", "column=1", **store)
    assert code == 0, sweep
    assert (sweep["method"], sweep["config"]["parameters"]) == ("stripes", {"column": 1})
    assert sweep["software"]["lenders"] == "1.2"
    assert [cluster["size"] for cluster in sweep["clusters"]] == [24 // sweep["chosen_k"]] * sweep["chosen_k"]
    for method, parameters, told in (
        ("stripes", ("--param", "row=1"), "stripes has no parameter 'row'; it takes column"),
        ("clumsy", (), "The method 'clumsy' of lenders 1.2 can't be used: KeyError: 'their own mistake'"),
        ("twice", (), "two distributions offer a method of this name"),
    ):
        code, problem = study(site, *words, "--method", method, *parameters, **store)
        assert code == 2, method
        assert told in problem["detail"]
    code, checked = study(site, "doctor", **store)
    assert code == 1
    told_by_the_doctor = {each["check"] for each in checked["items"] if not each["ok"]}
    assert told_by_the_doctor >= {f"method {name}" for name in ("alias", "gone", "k-means", "mute", "twice")}
    assert "method stripes" not in told_by_the_doctor


def test_our_own_methods_are_there_without_any_plug_in() -> None:
    methods = InstalledMethods()
    assert [name for name in methods if name in METHODS] == list(METHODS)
    assert methods["k-means"] is METHODS["k-means"]
    assert "nobody" not in methods
