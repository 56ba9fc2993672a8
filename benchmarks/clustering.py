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
import asyncio
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks.server import show
from domain.clustering import adjusted_rand_index, best, clustering_accuracy, k_means, normalized_mutual_information
from domain.clustering.kmeans import k_means_of_each
from domain.clustering.ready_rows import ReadyRows
from domain.clustering.step import Prepared, StepResult, prepare, run_step
from domain.clustering.threads import in_parts, thread_count
from domain.sweeps import SweepConfig
from infrastructure.compute import LocalCompute

PARTS = ("sweep", "whole", "large", "quality", "metrics", "cold")
KINDS = ("blobs", "overlapping", "unit", "none")
K_VALUES = tuple(range(2, 21))
RESTARTS = 10
COMPONENTS = 64
LARGE = (50_000, 1_536)
SEEDS = range(5)


def made_up(kind: str, n_samples: int, n_features: int = COMPONENTS) -> Any:
    """(n_samples, n_features) float32 of one of KINDS."""
    chance = np.random.default_rng(0)
    n_centres, nearness = {"blobs": (12, 3.0), "overlapping": (12, 0.5), "unit": (150, 1.25), "none": (1, 0.0)}[kind]
    centres = np.float32(nearness) * chance.standard_normal((n_centres, n_features), dtype=np.float32)
    rows = np.empty((n_samples, n_features), dtype=np.float32)
    # Some at a time, so that making them takes no more memory than having them.
    for start in range(0, n_samples, 1_000):
        part = rows[start : start + 1_000]
        chance.standard_normal(dtype=np.float32, out=part)
        part += centres[chance.integers(0, n_centres, len(part))]
        if kind == "unit":
            part *= np.exp(-np.arange(n_features, dtype=np.float32) / 20)
            part /= np.linalg.norm(part, axis=1, keepdims=True)
    return rows


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """How long it takes, and what comes out."""
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def gemm_speed() -> float:
    """Floating-point operations a second of a float32 product that fits the caches, in as many threads as we use."""
    sides = [np.random.default_rng(0).standard_normal((512, 512), dtype=np.float32) for _ in range(thread_count())]

    def multiply(side: Any) -> None:
        for _ in range(20):
            side @ side

    in_parts(multiply, sides)
    took, _ = seconds(lambda: in_parts(multiply, sides))
    return len(sides) * 20 * 2 * 512**3 / took


def our_sweep(rows: Any) -> list[list[Any]]:
    """Every restart of every K."""
    return k_means_of_each(ReadyRows(rows), K_VALUES, restarts=RESTARTS, max_iterations=300, seed=0)


def sklearn_sweep(rows: Any) -> list[list[Any]]:
    """The same of scikit-learn."""
    from sklearn.cluster import KMeans

    return [[KMeans(k, n_init=1, random_state=restart).fit(rows) for restart in range(RESTARTS)] for k in K_VALUES]


def faiss_sweep(rows: Any, iterations: Sequence[int]) -> list[float] | None:
    """The best inertia of each K; None without faiss."""
    try:
        import faiss
    except ImportError:
        return None
    inertias = []
    for k, niter in zip(K_VALUES, iterations, strict=True):
        found = faiss.Kmeans(
            rows.shape[1], k, niter=niter, nredo=RESTARTS, seed=1, max_points_per_centroid=len(rows),
            min_points_per_centroid=1,
        )  # fmt: skip
        found.train(rows)
        inertias.append(float(found.index.search(rows, 1)[0].sum()))
    return inertias


def sweep(rows: Any, kind: str, rounds: int, speed: float) -> dict[str, Any]:
    """One line: a sweep of ours, of scikit-learn and of faiss, in turn."""
    times: dict[str, list[float]] = {"ours": [], "sklearn": [], "faiss": []}
    for _ in range(rounds):
        took, found = seconds(lambda: our_sweep(rows))
        times["ours"].append(took)
        took, theirs = seconds(lambda: sklearn_sweep(rows))
        times["sklearn"].append(took)
        iterations = [round(statistics.mean(each.iterations for each in restarts)) for restarts in found]
        took, of_faiss = seconds(lambda iterations=iterations: faiss_sweep(rows, iterations))
        times["faiss"].append(took if of_faiss else float("nan"))
    inertias = np.array([best(restarts).objective for restarts in found])
    beside = np.array([min(fit.inertia_ for fit in fits) for fits in theirs])
    products = sum(each.iterations * k for k, restarts in zip(K_VALUES, found, strict=True) for each in restarts)
    return {
        "data": kind,
        "n": len(rows),
        "d": rows.shape[1],
        "ours_s": statistics.median(times["ours"]),
        "sklearn_s": statistics.median(times["sklearn"]),
        "ratio": _ratio(times["sklearn"], times["ours"]),
        "faiss_s": statistics.median(times["faiss"]),
        "faiss_ratio": _ratio(times["faiss"], times["ours"]),
        "inertia_mean": float(np.mean(inertias / beside)),
        "inertia_worst": float(np.max(inertias / beside)),
        "faiss_inertia_mean": float(np.mean(np.array(of_faiss) / beside)) if of_faiss else None,
        "iterations": statistics.mean(iterations),
        "sklearn_iterations": statistics.mean(fit.n_iter_ for fits in theirs for fit in fits),
        "of_gemm": 2 * products * rows.size / speed / statistics.median(times["ours"]),
    }


def our_study(vectors: Any, labels: Sequence[str] | None) -> Any:
    """Preparation, sweep and metrics, as a sweep's steps compute them."""
    config = SweepConfig(
        method="k-means", k_values=K_VALUES, restarts=RESTARTS, pca_dim=min(COMPONENTS, *vectors.shape), seed=0
    )
    return run_steps(prepare(vectors, config), config, labels)


def run_steps(prepared: Prepared, config: SweepConfig, labels: Sequence[str] | None) -> list[StepResult]:
    """As a sweep runs them here: one task each, the longest first."""

    async def all_steps() -> list[StepResult]:
        compute = LocalCompute()
        try:
            return await asyncio.gather(
                *(compute.run(run_step, prepared, k, config, labels) for k in sorted(config.k_values, reverse=True))
            )
        finally:
            compute.close()

    return asyncio.run(all_steps())


def sklearn_study(vectors: Any, labels: Sequence[str] | None) -> Any:
    """The same numbers, composed from scikit-learn."""
    from itertools import combinations

    from scipy.optimize import linear_sum_assignment
    from sklearn import metrics
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import normalize

    rows = PCA(min(COMPONENTS, *vectors.shape), svd_solver="covariance_eigh").fit_transform(normalize(vectors))
    measured = []
    for k in K_VALUES:
        fits = [KMeans(k, n_init=1, random_state=restart).fit(rows) for restart in range(RESTARTS)]
        chosen = min(fits, key=lambda fit: fit.inertia_)
        distances = metrics.pairwise.paired_cosine_distances(rows, chosen.cluster_centers_[chosen.labels_])
        measured.append([
            statistics.mean(metrics.adjusted_rand_score(a.labels_, b.labels_) for a, b in combinations(fits, 2)),
            metrics.silhouette_score(rows, chosen.labels_, metric="cosine"),
            distances.mean(),
            (distances <= 0.2).mean(),
            metrics.calinski_harabasz_score(rows, chosen.labels_),
            metrics.davies_bouldin_score(rows, chosen.labels_),
        ])  # fmt: skip
        if labels is not None:
            linear_sum_assignment(metrics.cluster.contingency_matrix(labels, chosen.labels_), maximize=True)
            metrics.homogeneity_completeness_v_measure(labels, chosen.labels_)
            metrics.normalized_mutual_info_score(labels, chosen.labels_)
            metrics.adjusted_rand_score(labels, chosen.labels_)
    return measured


def whole(vectors: Any, labels: Sequence[str] | None, rounds: int) -> dict[str, Any]:
    """One line: a whole study of ours and of scikit-learn, in turn; and ours step by step."""
    config = SweepConfig(
        method="k-means", k_values=K_VALUES, restarts=RESTARTS, pca_dim=min(COMPONENTS, *vectors.shape), seed=0
    )
    ours, theirs, by_step = [], [], []
    for _ in range(rounds):
        took, found = seconds(lambda: our_study(vectors, labels))
        ours.append(took)
        took, beside = seconds(lambda: sklearn_study(vectors, labels))
        theirs.append(took)
        prepared = prepare(vectors, config)
        took, _ = seconds(lambda prepared=prepared: [run_step(prepared, k, config, labels) for k in K_VALUES])
        by_step.append(took)
    silhouettes = [step.metrics.silhouette for step in found]
    return {
        "n": len(vectors),
        "d": vectors.shape[1],
        "ours_s": statistics.median(ours),
        "step_by_step_s": statistics.median(by_step),
        "sklearn_s": statistics.median(theirs),
        "ratio": _ratio(theirs, ours),
        "silhouette_mean": statistics.mean(silhouettes),
        "sklearn_silhouette": statistics.mean(each[1] for each in beside),
        "stability_mean": statistics.mean(step.metrics.stability_ari_mean for step in found),
        "sklearn_stability": statistics.mean(each[0] for each in beside),
    }


def large(kind: str, n_samples: int, n_features: int) -> dict[str, Any]:
    """Run in a process of its own: a whole study, and how much memory it took at its highest."""
    our_study(made_up("blobs", 200), None)
    vectors = made_up(kind, n_samples, n_features)
    before = _peak_mb()
    config = SweepConfig(method="k-means", k_values=K_VALUES, restarts=RESTARTS, pca_dim=COMPONENTS, seed=0)
    preparing, prepared = seconds(lambda: prepare(vectors, config))
    steps, found = seconds(lambda: run_steps(prepared, config, None))
    return {
        "data": kind,
        "n": n_samples,
        "d": n_features,
        "prepare_s": preparing,
        "steps_s": steps,
        "together_s": preparing + steps,
        "vectors_mb": vectors.nbytes / 1e6,
        "before_mb": before,
        "peak_mb": _peak_mb(),
        "chosen_silhouette": max(step.metrics.silhouette for step in found),
    }


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


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    return statistics.median(there / here for there, here in zip(theirs, ours, strict=True))


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
