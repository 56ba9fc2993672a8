"""Methods, rules and their parameters on the command line; and what is told where a library is missing."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from domain.clustering import METHODS, RULES
from tests.interfaces.cli.conftest import Study

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        return None

sys.meta_path.insert(0, Missing())
"""


EVERY_METHOD = """
import json, numpy
from domain.clustering import METHODS, umap_view
from domain.errors import Rejected

def told(work):
    try:
        work()
    except Rejected as error:
        return str(error)

rows = numpy.eye(6)
found = {name: told(lambda: method.fit(rows, 2, 1, 10, 0, {})) for name, method in METHODS.items()}
print(json.dumps({**found, "umap": told(lambda: umap_view(rows))}))
"""


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    """Three clusters, far apart, one longer than the others."""
    chance = np.random.default_rng(0)
    rows = np.repeat(np.eye(3, 5), 12, axis=0) * np.repeat([1, 1, 4], 12)[:, None] + chance.normal(0, 0.05, (36, 5))
    np.save(tmp_path / "v.npy", rows.astype(np.float32))
    texts = [f'"{what} number {n}"' for what in ("train", "bread", "kitten") for n in range(12)]
    (tmp_path / "t.csv").write_text("text\n" + "\n".join(texts) + "\n")
    return tmp_path


WORDS = (
    "sweep",
    "run",
    "--vectors",
    "v.npy",
    "--texts",
    "t.csv:text",
    "--k-min",
    "2",
    "--k-max",
    "5",
    "--restarts",
    "2",
)


def test_methods_and_rules_are_listed_with_their_parameters(study_here: Study) -> None:
    methods = study_here("sweep", "methods", "--json").document["items"]
    assert [each["method"] for each in methods] == list(METHODS)
    assert all(each["installed"] for each in methods)
    rules = study_here("sweep", "rules", "--json").document["items"]
    assert [each["rule"] for each in rules] == list(RULES)
    assert rules[3]["parameters"]["properties"]["references"]["default"] == 10
    assert "min_cluster_size=5" in study_here("sweep", "methods").out
    assert "threshold=0.8" in study_here("sweep", "rules").out


def test_a_rule_chooses_with_its_parameters_and_the_command_on_the_report_makes_the_same_sweep(
    study_here: Study, vectors: Path
) -> None:
    asked = ("--choose-by", "gap", "--choose-param", "references=3", "--also-measure", "prediction-strength")
    prepared = ("--no-unit-norm", "--no-centre", "--unit-norm-after", "--pca-dim", "4")
    sweep = study_here(*WORDS, *asked, *prepared, "--json").document
    assert (sweep["chosen_k"], sweep["chosen_by"]) == (3, "gap")
    assert sweep["config"]["choosing"] == {"parameters": {"references": 3}, "also_measure": ["prediction-strength"]}
    assert sweep["config"]["preparation"] == {"unit_norm": False, "centre": False, "unit_norm_after": True}
    assert all(step["gap"] is not None and step["prediction_strength"] is not None for step in sweep["steps"])
    assert {"train", "bread", "kitten"} == {cluster["keywords"][0] for cluster in sweep["clusters"]}
    assert study_here("report", sweep["sweep_id"], "--out", "r.html").code == 0
    page = (vectors / "r.html").read_text()
    assert "Tibshirani, Walther &amp; Hastie 2001" in page
    command = next(line for line in page.splitlines() if "<code>study sweep run" in line)
    again = shlex.split(command.split("<code>")[1].split("</code>")[0])[1:]
    again[again.index("VECTORS.npy")] = "v.npy"
    assert study_here(*again, "--texts", "t.csv:text", "--json").document["sweep_id"] == sweep["sweep_id"]
    shown = study_here("sweep", "show", sweep["sweep_id"]).out
    assert "keywords" in shown
    assert "gap" in shown


def test_what_finds_the_number_of_clusters_takes_no_k_and_says_what_is_noise(study_here: Study, vectors: Path) -> None:
    words = ("sweep", "run", "--vectors", "v.npy", "--method", "hdbscan", "--param", "min_cluster_size=6")
    refused = study_here(*words, "--k-max", "5", "--json")
    assert refused.code == 2
    assert "finds the number of clusters itself" in refused.document["detail"]
    sweep = study_here(*words, "--json").document
    assert (sweep["chosen_k"], sweep["chosen_by"], len(sweep["steps"])) == (3, "hdbscan", 1)
    assert sweep["steps"][0]["noise"] + sum(cluster["size"] for cluster in sweep["clusters"]) == 36
    assert study_here("report", sweep["sweep_id"], "--out", "r.html").code == 0
    assert "found by the method" in (vectors / "r.html").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--method", "k-medoids"), "No clustering method 'k-medoids'; there are k-means"),
        (("--param", "rank=2"), "k-means has no parameter 'rank'"),
        (("--param", "rank"), "--param is written NAME=VALUE"),
        (("--method", "k-subspaces", "--param", "rank=1", "--param", "rank=2"), "rank is given twice"),
        (("--method", "k-subspaces", "--param", "rank=1", "--rank", "2"), "rank is given twice"),
        (("--choose-by", "elbow"), "No rule 'elbow' to choose K by; there are silhouette"),
        (("--choose-by", "gap", "--choose-param", "draws=3"), "gap has no parameter 'draws'"),
        (("--choose-by", "bic"), "k-means has no likelihood"),
        (("--method", "agglomerative", "--choose-by", "stability"), "agglomerative leaves nothing to chance"),
    ],
)
def test_an_unknown_method_rule_or_parameter_is_never_replaced_by_another(
    study_here: Study, vectors: Path, words: tuple[str, ...], told: str
) -> None:
    refused = study_here(*WORDS, *words, "--json")
    assert refused.code == 2
    assert told in refused.document["detail"]
    assert study_here("sweep", "list", "--json").document["items"] == []


def test_where_a_library_is_missing_the_error_says_which_extra_brings_it(study: Study, vectors: Path) -> None:
    (vectors / "sitecustomize.py").write_text(WITHOUT.format(names={"sklearn", "umap"}))
    settings = {"PYTHONPATH": f"{vectors}:{Path(__file__).parents[3]}"}
    refused = study(*WORDS, "--method", "spectral", "--json", **settings)
    assert refused.code == 2, refused.err
    assert (
        "spectral needs sklearn, which is not installed: pip install 'study-query-llm[clustering]'"
        in (refused.document["detail"])
    )
    done = subprocess.run(
        [sys.executable, "-c", EVERY_METHOD],
        cwd=vectors,
        env={**os.environ, **settings},
        capture_output=True,
        check=True,
        text=True,
    )
    told = json.loads(done.stdout)
    assert {name: error is None for name, error in told.items()} == {
        **dict.fromkeys(("k-means", "spherical-k-means", "k-subspaces", "agglomerative", "k-llmmeans"), True),
        **dict.fromkeys(("spectral", "gaussian-mixture", "hdbscan", "umap"), False),
    }
    assert all("pip install 'study-query-llm[clustering]'" in error for error in told.values() if error)
