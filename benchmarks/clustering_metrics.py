"""How fast clusterings are measured, vectors prepared and subspaces found, beside scikit-learn and obvious numpy.

    python -m benchmarks.clustering_metrics [--samples 10000] [--features 64] [--clusters 20] [--repeats 7]
        [--pca-samples 50000] [--pca-features 1536] [--vectors FILE.npy --labels FILE.csv:COLUMN] [--json]

Rows are made up around as many centres as there are clusters. Ours and theirs are called in turn in one run, kernels
compiled; times are medians, `ratio` is theirs over ours, `difference` that of the two results (relative, where they may
be above 1). Then:

- of_limit: the least time that the machine's matrix product or memory allows for what has to be done, over ours. The
  limits are measured in the same run, with as many threads, each with one BLAS thread: `work` says what is counted.
- k-subspaces: one restart of at most 12 iterations, beside a reference from the same labels that is here in full; it
  takes seconds, so it is run once, and ours as often as everything else.
- pca: a process of its own, whose resident memory at its highest is told, the vectors themselves included.
- quality: with --vectors and --labels, k-subspaces of rank 2 on 64 principal components of unit rows, as many clusters
  as labels, best of 10 restarts, for 5 seeds. The files are not part of the project.
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from sklearn import metrics as theirs

from benchmarks.server import show
from domain import clustering as ours
from domain.clustering.clusterings import restart_generator
from domain.clustering.threads import in_parts, one_blas_thread, thread_count

RANK = 2
ITERATIONS = 12
SEEDS = range(5)
COMPONENTS = 64


def made_up(n_samples: int, n_features: int, n_clusters: int) -> tuple[Any, Any]:
    """Rows around centres, and the centre of each."""
    chance = np.random.default_rng(1)
    centres = chance.normal(size=(n_clusters, n_features))
    labels = chance.integers(0, n_clusters, n_samples)
    rows = centres[labels] + 1.5 * chance.normal(size=(n_samples, n_features))
    return rows.astype(np.float32), labels


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what comes out."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def limits() -> dict[str, float]:
    """What all threads reach together: products in 10⁹ operations, and copied bytes in 10⁹, a second."""

    def best(work: Callable[[int], None]) -> float:
        return min(seconds(lambda: in_parts(work, range(thread_count())))[0] for _ in range(5))

    found = {}
    for name, dtype in (("float32", np.float32), ("float64", np.float64)):
        square = np.ones((1024, 1024), dtype=dtype)
        taken = best(lambda _, square=square: [square @ square for _ in range(4)])  # type: ignore[misc]
        found[f"gflops_{name}"] = thread_count() * 4 * 2 * 1024**3 / taken / 1e9
    source = np.ones((thread_count(), 2**25), dtype=np.float32)
    target = np.empty_like(source)
    taken = best(lambda part: np.copyto(target[part], source[part]))
    found["gbytes"] = 2 * source.nbytes / taken / 1e9
    return found


def subspaces_in_obvious_numpy(rows: Any, labels: Any, n_clusters: int, rank: int, iterations: int) -> Any:
    """K-subspaces as one writes it first: everything left over of every row by every subspace, (n, K, d) float64."""
    rows = rows.astype(np.float64)
    for _ in range(iterations + 1):
        # Matrices this small gain nothing from a second thread of BLAS, and wait long for it beside other processes.
        with one_blas_thread():
            bases = [np.linalg.svd(rows[labels == k], full_matrices=False)[2][:rank] for k in range(n_clusters)]
        along = np.einsum("nd,krd->nkr", rows, np.stack(bases))
        left_over = rows[:, None, :] - np.einsum("nkr,krd->nkd", along, np.stack(bases))
        squares = (left_over**2).sum(axis=2)
        before, labels = labels, squares.argmin(axis=1)
        if (before == labels).all():
            break
    return squares.min(axis=1).sum()


def pairwise_by_scikit_learn(labelings: list[Any]) -> float:
    pairs = [(i, j) for i in range(len(labelings)) for j in range(i)]
    return float(np.mean([theirs.adjusted_rand_score(labelings[i], labelings[j]) for i, j in pairs]))


def compared(rows: Any, labels: Any, n_clusters: int, repeats: int, machine: dict[str, float]) -> list[dict[str, Any]]:
    """Each function beside its reference."""
    n, d = rows.shape
    chance = np.random.default_rng(2)
    other = np.where(chance.random(n) < 0.3, chance.integers(0, n_clusters, n), labels)
    labelings = [np.where(chance.random(n) < 0.2, chance.permutation(labels), labels) for _ in range(10)]
    product = {name: 1 / (machine[f"gflops_{name}"] * 1e9) for name in ("float32", "float64")}
    byte = 1 / (machine["gbytes"] * 1e9)
    table = rows.nbytes * byte
    cases: list[tuple[str, Callable[[], Any], Callable[[], Any], float, str]] = [
        (
            "silhouette, cosine",
            lambda: ours.silhouette_cosine(rows, labels),
            lambda: theirs.silhouette_score(rows, labels, metric="cosine"),
            2 * n * d * n_clusters * product["float64"] + 3 * table,
            "2·n·d·K float64, rows read 3 times",
        ),
        (
            "silhouette, Euclidean",
            lambda: ours.silhouette_euclidean(rows, labels),
            lambda: theirs.silhouette_score(rows, labels),
            n * n * d * product["float32"],
            "n²·d float32",
        ),
        (
            "Caliński-Harabasz",
            lambda: ours.calinski_harabasz(rows, labels),
            lambda: theirs.calinski_harabasz_score(rows, labels),
            3 * table,
            "rows read 3 times",
        ),
        (
            "Davies-Bouldin",
            lambda: ours.davies_bouldin(rows, labels),
            lambda: theirs.davies_bouldin_score(rows, labels),
            3 * table,
            "rows read 3 times",
        ),
        (
            "ARI",
            lambda: ours.adjusted_rand_index(labels, other),
            lambda: theirs.adjusted_rand_score(labels, other),
            32 * n * byte,
            "labels read twice",
        ),
        (
            "ARI, 45 pairs",
            lambda: ours.pairwise_ari(labelings).ari_mean,
            lambda: pairwise_by_scikit_learn(labelings),
            45 * 8 * n * byte,
            "labels of each pair read",
        ),
        (
            "NMI",
            lambda: ours.normalized_mutual_information(labels, other),
            lambda: theirs.normalized_mutual_info_score(labels, other),
            32 * n * byte,
            "labels read twice",
        ),
        (
            "V-measure",
            lambda: ours.v_measure(other, labels),
            lambda: theirs.v_measure_score(labels, other),
            32 * n * byte,
            "labels read twice",
        ),
    ]
    found = [in_turn(*case, repeats=repeats) for case in cases]
    return [*found, *(subspaces(rows, n_clusters, start, repeats, product) for start in ("random", "k-means"))]


def in_turn(
    name: str,
    mine: Callable[[], Any],
    other: Callable[[], Any],
    least: float,
    work: str,
    *,
    repeats: int,
    references: int | None = None,
) -> dict[str, Any]:
    """Ours and theirs one after the other, again and again; theirs no more often than `references`."""
    print(f"{name} …", file=sys.stderr)
    mine()
    own_times, their_times = [], []
    for turn in range(repeats):
        took, value = seconds(mine)
        own_times.append(took)
        if references is None or turn < references:
            took, expected = seconds(other)
            their_times.append(took)
    own, their = statistics.median(own_times), statistics.median(their_times)
    return {
        "what": name,
        "ours_ms": round(own * 1000, 3),
        "theirs_ms": round(their * 1000, 2),
        "ratio": round(their / own, 1),
        "difference": f"{abs(value - expected) / max(1.0, abs(expected)):.0e}",
        "of_limit": f"{least / own:.0%}",
        "work": work,
    }


def subspaces(rows: Any, n_clusters: int, start: Any, repeats: int, product: dict[str, float]) -> dict[str, Any]:
    """K-subspaces beside the reference, which starts from the same labels; where k-means starts them, it is in both."""
    n, d = rows.shape
    counted: list[int] = []

    def mine() -> float:
        found = ours.k_subspaces(rows, n_clusters, RANK, start=start, restarts=1, max_iterations=ITERATIONS, seed=0)[0]
        counted[:] = [found.iterations]
        return found.objective

    def other() -> float:
        if start == "random":
            groups = np.arange(n, dtype=np.int32) % n_clusters
            first = restart_generator(0, n_clusters, 0).permutation(groups)
        else:
            first = ours.k_means(rows, n_clusters, restarts=1, max_iterations=ITERATIONS, seed=0)[0].labels
        return float(subspaces_in_obvious_numpy(rows, first, n_clusters, RANK, ITERATIONS))

    mine()
    iteration = 2 * n * d * n_clusters * RANK * product["float32"] + 2 * n * d * d * product["float64"]
    return in_turn(
        f"k-subspaces from {start}",
        mine,
        other,
        (counted[0] + 1) * iteration,
        f"{counted[0]} iterations of 2·n·d·K·r float32, 2·n·d² float64",
        repeats=repeats,
        references=1,
    )


def prepared(n_samples: int, n_features: int) -> dict[str, Any]:
    """PCA by a process of its own."""
    print("pca …", file=sys.stderr)
    command = [sys.executable, "-m", "benchmarks.clustering_metrics", "--pca", str(n_samples), str(n_features)]
    found: dict[str, Any] = msgspec.json.decode(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def project(n_samples: int, n_features: int) -> dict[str, Any]:
    """Project made-up rows of falling variance, and tell what it took."""
    chance = np.random.default_rng(3)
    rows = np.empty((n_samples, n_features), dtype=np.float32)
    falling = (1 / np.sqrt(np.arange(1, n_features + 1))).astype(np.float32)
    for part in range(0, n_samples, 5000):
        rows[part : part + 5000] = falling * chance.standard_normal((len(rows[part : part + 5000]), n_features))
    ours.pca(rows[:100], 2)
    before = resident_mb()
    taken, found = seconds(lambda: ours.pca(rows, COMPONENTS, unit=True))
    most = resident_mb()
    machine = limits()
    least = n_samples * n_features * (n_features + 2 * COMPONENTS) / (machine["gflops_float64"] * 1e9)
    few = rows[:1000, :256]
    values = ours.pca(few, COMPONENTS).singular_values
    with one_blas_thread():
        exact = np.linalg.svd(few.astype(np.float64) - few.mean(axis=0, dtype=np.float64), compute_uv=False)
    return {
        "rows": n_samples,
        "features": n_features,
        "seconds": round(taken, 2),
        "of_limit": f"{least / taken:.0%}",
        "work": "n·d² and 2·n·d·r float64",
        "resident_mb_before": round(before),
        "resident_mb_most": round(most),
        "explained": round(float(found.explained_variance_ratio.sum()), 3),
        "singular_values_differ": f"{np.abs(values / exact[:COMPONENTS] - 1).max():.0e}",
    }


def resident_mb() -> float:
    """The most memory that this process has held."""
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024


def quality(vectors: Path, labels: str) -> list[dict[str, Any]]:
    """K-subspaces against known labels."""
    file, _, column = labels.rpartition(":")
    with Path(file).open(newline="", encoding="utf-8") as lines:
        classes = [row[column] for row in csv.DictReader(lines)]
    rows = ours.pca(np.load(vectors), COMPONENTS, unit=True).projected
    found = []
    for start in ("k-means", "random"):
        print(f"quality from {start} …", file=sys.stderr)
        scores = []
        for seed in SEEDS:
            taken, restarts = seconds(
                lambda start=start, seed=seed: ours.k_subspaces(  # type: ignore[misc]
                    rows, len(set(classes)), RANK, start=start, seed=seed
                )
            )
            best = ours.best(restarts).labels
            scores.append(
                (
                    ours.clustering_accuracy(best, classes),
                    ours.normalized_mutual_information(best, classes),
                    ours.adjusted_rand_index(best, classes),
                    taken,
                )
            )
        means = np.mean(scores, axis=0)
        names = ("acc", "nmi", "ari", "seconds")
        found.append({"start": start} | {name: round(float(mean), 4) for name, mean in zip(names, means, strict=True)})
    return found


def measured(asked: argparse.Namespace) -> tuple[dict[str, float], dict[str, Any]]:
    """Measure all that was asked for: the machine's limits, and a table of each part."""
    machine = {name: round(value, 1) for name, value in limits().items()}
    rows, labels = made_up(asked.samples, asked.features, asked.clusters)
    tables = {
        "beside scikit-learn and numpy": compared(rows, labels, asked.clusters, asked.repeats, machine),
        "pca": [prepared(asked.pca_samples, asked.pca_features)],
    }
    if asked.vectors:
        tables["quality"] = quality(asked.vectors, asked.labels)
    return machine, tables


def arguments() -> argparse.ArgumentParser:
    """What can be asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("samples", 10_000),
        ("features", 64),
        ("clusters", 20),
        ("repeats", 7),
        ("pca-samples", 50_000),
        ("pca-features", 1536),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--vectors", type=Path, help="(n, d) vectors in a .npy file, for quality")
    parser.add_argument("--labels", help="their classes: FILE.csv:COLUMN")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--pca"]:
        print(msgspec.json.encode(project(*map(int, sys.argv[2:4]))).decode())
        return
    parser = arguments()
    asked = parser.parse_args()
    if (asked.vectors is None) != (asked.labels is None):
        parser.error("--vectors and --labels belong together")
    machine, tables = measured(asked)
    about = {"samples": asked.samples, "features": asked.features, "clusters": asked.clusters}
    known = {"threads": thread_count(), "load": round(os.getloadavg()[0], 1), **machine}
    show(known | about, tables, as_json=asked.json)


if __name__ == "__main__":
    main()
