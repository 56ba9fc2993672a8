"""Made-up rows whose clusters are known."""

import hashlib

import numpy as np


def blobs(n_samples=60, n_features=5, n_clusters=3, seed=0, spread=0.3):
    """Rows around n_clusters centres, and which centre each came from."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(n_clusters, n_features))
    classes = np.arange(n_samples) % n_clusters
    rows = centres[classes] + spread * chance.normal(size=(n_samples, n_features))
    return rows.astype(np.float32), classes


def planes(n_per_plane=40, n_features=6, rank=2, n_planes=3, seed=0):
    """Rows on n_planes random subspaces, with a little noise."""
    chance = np.random.default_rng(seed)
    parts = [
        chance.normal(size=(n_per_plane, rank)) @ np.linalg.qr(chance.normal(size=(n_features, rank)))[0].T
        for _ in range(n_planes)
    ]
    rows = np.concatenate(parts) + 0.01 * chance.normal(size=(n_per_plane * n_planes, n_features))
    return rows.astype(np.float32), np.repeat(np.arange(n_planes), n_per_plane)


def fingerprint(clusterings):
    """SHA-256 of the labels and centroids of every restart."""
    digest = hashlib.sha256()
    for clustering in clusterings:
        digest.update(clustering.labels.tobytes())
        digest.update(clustering.centroids.tobytes())
    return digest.hexdigest()
