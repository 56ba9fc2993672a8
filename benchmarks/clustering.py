"""K-means, sweeps and whole studies of clusters, beside scikit-learn and faiss.

    python -m benchmarks.clustering [--only sweep,whole,large,quality,metrics,cold] [--quick] [--samples 10000,50000]
        [--kinds blobs,overlapping,unit,none] [--rounds 3] [--vectors FILE.npy [--labels FILE.csv:COLUMN]] [--json]

Ours and theirs take turns in one run, kernels compiled; times are medians over the rounds, a ratio is the median of
theirs over ours, round by round. Data are made up, in 64 dimensions: `blobs` around 12 centres far apart, `overlapping`
ones, `unit` rows of length 1 around 150 directions as of embeddings, `none` without any structure. With --vectors they
are what the file holds instead (projected to 64 dimensions where it has more); nothing else changes.

- sweep: K 2 to 20, 10 restarts each. scikit-learn: KMeans(K, n_init=1) ten times, its defaults, its own threads.
  faiss: Kmeans(niter = our mean iterations, nredo=10, all points used), which begins at random rows, never stops early
  and keeps the best run only, in its own threads. Of the inertias the best of ten is compared, K by K. `of_gemm` is the
  time that the products of plain Lloyd's iterations take at the speed of this machine's matrix product, over ours:
  what skipping rows gains, less what everything beside the products costs.
- whole: 4,500 rows (or the file's), unit length, PCA to 64, the sweep, and for each K the agreement of all pairs of
  restarts, cosine silhouette, dispersion, coverage, Caliński-Harabasz, Davies-Bouldin, and agreement with labels
  where there are some (ACC, NMI, ARI, V-measure); beside the same composed from scikit-learn (PCA, KMeans,
  adjusted_rand_score, silhouette_score …).
- large: 50,000 × 1,536, unit length, PCA to 64, sweep and metrics, in a process of its own whose resident memory at
  its highest is told, the vectors themselves included.
- quality: with --vectors and --labels, as many clusters as labels, all dimensions, best of 10, for 5 seeds, likewise
  beside scikit-learn.
- metrics: every measure, principal components and K-subspaces beside scikit-learn and obvious numpy, as of
  `python -m benchmarks.clustering_metrics`, which says more.
- cold: how long a first process waits for kernels to be compiled, and the next ones for them to be loaded.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.clustering_data import COMPONENTS, KINDS, made_up, seconds
from benchmarks.clustering_studies import large, our_study, whole
from benchmarks.clustering_sweeps import RESTARTS, gemm_speed, sweep
from benchmarks.server import show
from domain.clustering import adjusted_rand_index, best, clustering_accuracy, k_means, normalized_mutual_information
from domain.clustering.step import prepare
from domain.clustering.threads import thread_count
from domain.sweeps import SweepConfig

PARTS = ("sweep", "whole", "large", "quality", "metrics", "cold")
LARGE = (50_000, 1_536)
SEEDS = range(5)


def quality(vectors: Any, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Agreement with labels of the best of ten, for five seeds."""
    from sklearn.cluster import KMeans

    _, truth = np.unique(np.asarray(labels), return_inverse=True)
    n_clusters = int(truth.max()) + 1
    lines = []
    for name, cluster in (
        ("ours", lambda seed: best(k_means(vectors, n_clusters, restarts=RESTARTS, seed=seed)).labels),
        ("sklearn", lambda seed: KMeans(n_clusters, n_init=RESTARTS, random_state=seed).fit(vectors).labels_),
    ):
        took, found = seconds(lambda cluster=cluster: [cluster(seed) for seed in SEEDS])
        lines.append({
            "by": name,
            "k": n_clusters,
            "seconds_each": took / len(SEEDS),
            "nmi": statistics.mean(normalized_mutual_information(truth, each) for each in found),
            "ari": statistics.mean(adjusted_rand_index(truth, each) for each in found),
            "acc": statistics.mean(clustering_accuracy(each, truth) for each in found),
        })  # fmt: skip
    return lines


COLD = """
import time
began = time.perf_counter()
import numba, scipy.linalg
libraries = time.perf_counter()
import domain.clustering.lloyd, domain.clustering.seeding
print(libraries - began, time.perf_counter() - libraries)
"""


def cold() -> list[dict[str, Any]]:
    """What a process waits for before its first k-means."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        lines = []
        for process in ("first", "second", "third"):
            command = [sys.executable, "-c", COLD]
            printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
            libraries, kernels = map(float, printed.split())
            lines.append({"process": process, "import_numba_and_scipy_s": libraries, "kernels_s": kernels})
        return lines


def _rounded(tables: dict[str, Any]) -> dict[str, Any]:
    return {
        title: [
            {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in line.items()}
            for line in lines
        ]
        for title, lines in tables.items()
    }


def _read_labels(asked: str) -> list[str]:
    import csv

    path, _, column = asked.rpartition(":")
    with Path(path).open(newline="", encoding="utf-8") as file:
        return [line[column] for line in csv.DictReader(file)]


def _in_process(kind: str, samples: int, features: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.clustering", "--large", kind, str(samples), str(features)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    line: dict[str, Any] = msgspec.json.decode(printed)
    return line


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """All parts that were asked for."""
    vectors = np.load(asked.vectors).astype(np.float32) if asked.vectors else None
    labels = _read_labels(asked.labels) if asked.labels else None
    our_study(made_up("blobs", 200), None)
    tables: dict[str, Any] = {}
    if "sweep" in asked.only:
        speed = gemm_speed()
        tables["gemm"] = [{"threads": thread_count(), "gflop_per_s": speed / 1e9}]
        if vectors is None:
            data = [(kind, made_up(kind, n)) for n in asked.samples for kind in asked.kinds]
        else:
            narrow = vectors.shape[1] <= COMPONENTS
            config = SweepConfig(method="k-means", k_values=(2,), restarts=1, pca_dim=COMPONENTS)
            data = [(asked.vectors.name, vectors if narrow else prepare(vectors, config).vectors)]
        tables["sweep, K 2 to 20 × 10"] = [sweep(rows, kind, asked.rounds, speed) for kind, rows in data]
    if "whole" in asked.only:
        rows = made_up("unit", 1_500 if asked.quick else 4_500, 384) if vectors is None else vectors
        tables["whole study"] = [whole(rows, labels, asked.rounds)]
    if "large" in asked.only:
        samples, features = (10_000, 256) if asked.quick else LARGE
        tables["large study"] = [_in_process(kind, samples, features) for kind in asked.kinds]
    if "quality" in asked.only and vectors is not None and labels is not None:
        tables["quality, mean of 5 seeds"] = quality(vectors, labels)
    if "metrics" in asked.only:
        from benchmarks import clustering_metrics

        options = ["--samples", "2000", "--pca-samples", "3000", "--repeats", "1"] if asked.quick else []
        if asked.vectors and asked.labels:
            options += ["--vectors", str(asked.vectors), "--labels", asked.labels]
        limits, found = clustering_metrics.measured(clustering_metrics.arguments().parse_args(options))
        tables["limits"] = [{"threads": thread_count()} | limits]
        tables |= found
    if "cold" in asked.only:
        tables["first k-means of a process"] = cold()
    return tables


def main() -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    if sys.argv[1:2] == ["--large"]:
        print(msgspec.json.encode(large(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))).decode())
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS), help=", ".join(KINDS))
    parser.add_argument("--samples", type=lambda text: [int(n) for n in text.split(",")], default=[10_000, 50_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="small data and one round, to see that it runs")
    parser.add_argument("--vectors", type=Path, help="an NPY file of vectors to use instead of made-up ones")
    parser.add_argument("--labels", help="a CSV file and its column of the vectors' true labels: FILE.csv:COLUMN")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    asked = parser.parse_args()
    unknown = [part for part in asked.only if part not in PARTS]
    if unknown:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    if asked.quick:
        asked.samples, asked.rounds = [3_000], 1
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    show(machine, _rounded(measure(asked)), as_json=asked.json)


if __name__ == "__main__":
    main()
