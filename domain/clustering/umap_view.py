"""A second look at the rows: two dimensions that keep neighbours together, by UMAP."""

import numpy as np
from numpy.typing import ArrayLike

from domain.clustering.methods import how_to_install, importable
from domain.clustering.vectors import Vectors, check_vectors
from domain.errors import Rejected

FEWEST_ROWS = 4  # beneath, there are no neighbours to keep together


def check_umap_installed() -> None:
    """Raise Rejected, with what to install, if umap-learn is missing."""
    if not importable("umap"):
        raise Rejected(
            f"The view umap needs umap-learn, which is not installed: {how_to_install('clustering')}", fields=("view",)
        )


def umap_view(vectors: ArrayLike, seed: int = 0, *, neighbours: int = 15, min_distance: float = 0.1) -> Vectors:
    """Lay rows out in a plane; distances between far points mean little.

    vectors: (n_samples, n_features); neighbours: clipped to the rows there are
    Returns (n_samples, 2) float32, the same for the same seed. Fewer than 4 rows all lie at the origin.
    Raises Rejected if umap-learn is missing. Source: McInnes, Healy & Melville 2018, by umap-learn.
    """
    check_umap_installed()
    rows = check_vectors(vectors)
    if len(rows) < FEWEST_ROWS:
        return np.zeros((len(rows), 2), dtype=np.float32)
    from umap import UMAP

    # A start along principal components is the same everywhere; the spectral one warns where the graph falls apart.
    layout = UMAP(
        n_neighbors=min(neighbours, len(rows) - 1),
        min_dist=min_distance,
        init="random" if rows.shape[1] < 2 else "pca",
        random_state=seed,
        n_jobs=1,
    )
    return np.ascontiguousarray(layout.fit_transform(rows), dtype=np.float32)
