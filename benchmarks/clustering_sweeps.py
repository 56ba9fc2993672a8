"""Sweeps of k-means alone, beside scikit-learn and faiss."""

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.clustering_data import ratio, seconds
from domain.clustering import best
from domain.clustering.kmeans import k_means_of_each
from domain.clustering.ready_rows import ReadyRows
from domain.clustering.threads import in_parts, thread_count

K_VALUES = tuple(range(2, 21))
RESTARTS = 10


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
        "ratio": ratio(times["sklearn"], times["ours"]),
        "faiss_s": statistics.median(times["faiss"]),
        "faiss_ratio": ratio(times["faiss"], times["ours"]),
        "inertia_mean": float(np.mean(inertias / beside)),
        "inertia_worst": float(np.max(inertias / beside)),
        "faiss_inertia_mean": float(np.mean(np.array(of_faiss) / beside)) if of_faiss else None,
        "iterations": statistics.mean(iterations),
        "sklearn_iterations": statistics.mean(fit.n_iter_ for fits in theirs for fit in fits),
        "of_gemm": 2 * products * rows.size / speed / statistics.median(times["ours"]),
    }
