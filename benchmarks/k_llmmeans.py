"""k-llmmeans with extractive summaries against k-means, from the same starts: how well both find the labels.

    python -m benchmarks.k_llmmeans --vectors X.npy --texts T.csv[:COLUMN] [--labels T.csv[:COLUMN]] [--k 150]
        [--seeds 5] [--restarts 10] [--rounds 5] [--iterations 20] [--sample 10] [--pca-dim 64] [--spherical] [--json]

Two ways, neither with a language model: the given vectors, with the text nearest to a sample's mean as its summary,
whose vector is known; and vectors of the bundled local-ngrams, with summaries by the bundled local-extract, which are
embedded like the texts. No store and no calls: the pure functions of a sweep's step, in its order.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import structs
from numpy.typing import NDArray

from application.summarise_texts import SHARED_BY_TEXTS
from domain.clustering.clusterings import Clustering, best
from domain.clustering.llm_means import Drawn, draw, go_on_from_rows, go_on_from_summaries, parameters_of
from domain.clustering.stability import adjusted_rand_index, normalized_mutual_information
from domain.clustering.step import Prepared, fitted, prepare
from domain.sweeps import SweepConfig
from infrastructure.providers.local_extract import answer
from infrastructure.providers.local_ngrams import embed_ngrams
from infrastructure.table_files import read_vectors
from interfaces.cli.sweeps import column_of

GoOn = Callable[[Clustering, Drawn], Clustering]


def by_medoid(prepared: Prepared, config: SweepConfig) -> GoOn:
    """The text nearest to a sample's mean is its summary."""

    def go_on(before: Clustering, drawn: Drawn) -> Clustering:
        clusters = [cluster for cluster, row in enumerate(drawn.medoids) if row is not None]
        rows = [row for row in drawn.medoids if row is not None]
        return go_on_from_rows(prepared, before.centroids, clusters, rows, config)

    return go_on


def by_extract(prepared: Prepared, config: SweepConfig, texts: tuple[str, ...]) -> GoOn:
    """What local-extract says of a sample, embedded by local-ngrams."""

    def go_on(before: Clustering, drawn: Drawn) -> Clustering:
        clusters = [cluster for cluster, sample in enumerate(drawn.samples) if len(sample)]
        listed = ["\n".join(f"- {texts[row]}" for row in drawn.samples[cluster]) for cluster in clusters]
        said = [answer(SHARED_BY_TEXTS.format(texts=each)) for each in listed]
        return go_on_from_summaries(prepared, before.centroids, clusters, embed_ngrams(said), config)

    return go_on


def compared(
    vectors: NDArray[np.float32],
    classes: NDArray[np.int64],
    config: SweepConfig,
    seeds: int,
    way: Callable[[Prepared, SweepConfig], GoOn],
) -> dict[str, dict[str, list[float]]]:
    """NMI, ARI and objective of both, a value a seed."""
    prepared = prepare(vectors, config)
    found: dict[str, dict[str, list[float]]] = {name: {} for name in ("k-means", "k-llmmeans")}
    for seed in range(seeds):
        seeded = structs.replace(config, seed=seed)
        current = best(fitted(prepared, config.k_values[0], seeded))
        note(found["k-means"], current, classes)
        go_on = way(prepared, seeded)
        for number in range(1, parameters_of(config).rounds + 1):
            current = go_on(current, draw(prepared, current.labels, current.centroids, seeded, number))
        note(found["k-llmmeans"], current, classes)
    return found


def note(values: dict[str, list[float]], clustering: Clustering, classes: NDArray[np.int64]) -> None:
    """Write down how good a clustering is."""
    values.setdefault("nmi", []).append(normalized_mutual_information(classes, clustering.labels))
    values.setdefault("ari", []).append(adjusted_rand_index(classes, clustering.labels))
    values.setdefault("objective", []).append(clustering.objective)


def main() -> None:
    """Run both ways and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=Path, required=True)
    parser.add_argument("--texts", required=True)
    parser.add_argument("--labels")
    for name, default in (
        ("k", 150),
        ("seeds", 5),
        ("restarts", 10),
        ("rounds", 5),
        ("iterations", 20),
        ("sample", 10),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--pca-dim", type=int, default=64)
    parser.add_argument("--spherical", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    texts = column_of(options.texts, "texts", last=False)
    labels = column_of(options.labels or options.texts.rpartition(":")[0] or options.texts, "labels", last=True)
    _, classes = np.unique(np.asarray(labels), return_inverse=True)
    config = SweepConfig(
        method="k-llmmeans",
        k_values=(options.k,),
        restarts=options.restarts,
        pca_dim=options.pca_dim or None,
        parameters={
            "rounds": options.rounds,
            "iterations": options.iterations,
            "sample": options.sample,
            "spherical": options.spherical,
        },
    )
    ways: tuple[tuple[str, NDArray[np.float32], Callable[[Prepared, SweepConfig], GoOn]], ...] = (
        ("given vectors, medoid of the sample", read_vectors(options.vectors), by_medoid),
        ("local-ngrams, local-extract", embed_ngrams(texts), lambda *how: by_extract(*how, texts)),
    )
    for name, vectors, way in ways:
        began = time.perf_counter()
        for method, values in compared(vectors, classes, config, options.seeds, way).items():
            means = {key: round(float(np.mean(each)), 4) for key, each in values.items()}
            spread = {f"{key}_std": round(float(np.std(each)), 4) for key, each in values.items()}
            seconds = round(time.perf_counter() - began, 1)
            line: dict[str, Any] = {"way": name, "method": method, **means, **spread, "seconds": seconds}
            told = json.dumps(line) if options.json else "  ".join(f"{key}={value}" for key, value in line.items())
            print(told, flush=True)


if __name__ == "__main__":
    main()
