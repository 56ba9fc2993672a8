"""Which K each rule chooses where the true one is known, and what it costs beyond the clustering itself.

    python -m benchmarks.choosing [--rows 2000] [--seeds 3] [--vectors X.npy --k-max 200]

Made-up rows: 3, 6 and 10 normal clusters in 16 dimensions, whose centres are drawn from a normal distribution `apart`
times as wide; the wider, the easier. With --vectors, a sweep over every tenth K of rows made elsewhere.
"""

import argparse
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from domain.clustering import METHODS, RULES, choose_k
from domain.clustering.step import fitted, measured, prepare
from domain.sweeps import Choosing, Preparation, SweepConfig

Rows = NDArray[np.float32]
ASKED = ("gap", "prediction-strength", "silhouette-euclidean")


def made(n_samples: int, n_clusters: int, apart: float, seed: int) -> Rows:
    """Rows around centres, as many of each."""
    chance = np.random.default_rng(seed)
    centres = apart * chance.normal(size=(n_clusters, 16))
    return (centres[np.arange(n_samples) % n_clusters] + chance.normal(size=(n_samples, 16))).astype(np.float32)


def sweep(rows: Rows, k_values: tuple[int, ...], method: str, pca_dim: int | None) -> tuple[dict[str, int], Any]:
    """The K of every rule, and the seconds that clustering and each further measurement took."""
    plain = SweepConfig(
        method=method,
        k_values=k_values,
        restarts=5,
        pca_dim=pca_dim,
        preparation=Preparation(unit_norm=pca_dim is not None),
    )
    prepared = prepare(rows, plain)
    numbers: dict[int, dict[str, Any]] = {}
    seconds = dict.fromkeys(("clustering", "always", *ASKED), 0.0)
    for k in k_values:
        began = time.perf_counter()
        restarts = fitted(prepared, k, plain)
        seconds["clustering"] += time.perf_counter() - began
        best = min(range(len(restarts)), key=lambda number: restarts[number].objective)
        for asked in (None, *ASKED):
            config = plain if asked is None else SweepConfig(**{**_fields(plain), "choosing": _also(asked)})
            began = time.perf_counter()
            found = measured(prepared, config, None, restarts, best, restarts[best])
            seconds[asked or "always"] += time.perf_counter() - began
            numbers.setdefault(k, {}).update({a: b for a, b in found.metrics.flat().items() if b is not None})
    for asked in ASKED:  # each was measured beside what is always measured
        seconds[asked] -= seconds["always"]
    steps = [SimpleNamespace(**{"stability_ari_mean": None, **numbers[k]}) for k in k_values]
    rules = [name for name in RULES if name != "bic" or METHODS[method].has_bic]
    return {rule: choose_k(steps, rule).k for rule in rules}, seconds


def _fields(config: SweepConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.__struct_fields__}


def _also(rule: str) -> Choosing:
    return Choosing(also_measure=(rule,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--method", default="k-means")
    parser.add_argument("--vectors")
    parser.add_argument("--k-max", type=int, default=200)
    asked = parser.parse_args()
    with threadpool_limits(1):
        if asked.vectors:
            rows = np.load(asked.vectors).astype(np.float32)
            ks = (2, *range(10, asked.k_max + 1, 10))
            report(f"{asked.vectors}, {len(rows)} rows, every tenth K", *sweep(rows, ks, asked.method, 64))
            return
        for apart in (1.0, 2.0, 4.0):
            for true_k in (3, 6, 10):
                for seed in range(asked.seeds):
                    rows = made(asked.rows, true_k, apart, seed)
                    found = sweep(rows, tuple(range(1, 16)), asked.method, None)
                    report(f"K = {true_k}, centres {apart:g} wide, seed {seed}", *found)


def report(what: str, chosen: dict[str, int], seconds: dict[str, float]) -> None:
    print(what)
    print("  " + ", ".join(f"{rule} {k}" for rule, k in chosen.items()))
    print("  " + ", ".join(f"{part} {taken:.2f} s" for part, taken in seconds.items()), flush=True)


if __name__ == "__main__":
    main()
