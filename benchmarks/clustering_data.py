"""What clusterings are measured on, and how their times are compared."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

KINDS = ("blobs", "overlapping", "unit", "none")
COMPONENTS = 64


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


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> float:
    """How many times as long theirs took, round by round."""
    return statistics.median(there / here for there, here in zip(theirs, ours, strict=True))
