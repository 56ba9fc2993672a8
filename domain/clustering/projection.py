"""From token vectors to the rows that are clustered: pooling, unit length, principal components."""

from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray

from domain.clustering.directions import complete, leading_directions
from domain.clustering.threads import in_parts
from domain.clustering.vectors import (
    Doubles,
    Rows,
    UnitRows,
    Vectors,
    check_vectors,
    row_parts,
    row_slices,
    slices_of,
    unit_rows,
)
from domain.errors import Rejected

__all__ = ["Projection", "check_vectors", "mean_pool", "pca", "unit_rows"]


class Projection(Struct, frozen=True, eq=False):
    """Vectors seen along their principal components; n_components is what was found, not what was asked for."""

    projected: Vectors  # (n_samples, n_components)
    components: Doubles  # (n_components, n_features), orthonormal rows
    mean: Doubles  # (n_features,), zeros if not centred
    explained_variance_ratio: Doubles  # (n_components,), fractions of the sum of squares about the mean
    explained_variance: Doubles  # (n_components,), sums of squares over n_samples − 1; zeros for one sample
    singular_values: Doubles  # (n_components,), falling: roots of the sums of squares, those of the centred vectors


def mean_pool(token_vectors: ArrayLike, mask: ArrayLike | None = None) -> Vectors:
    """Average the vectors of a text's tokens, leaving out masked ones such as padding.

    token_vectors: (n_texts, n_tokens, n_features), or (n_tokens, n_features) for one text
    mask: (n_texts, n_tokens) or (n_tokens,), 0 leaves a token out; None keeps all
    Returns (n_texts, n_features) or (n_features,) float32, summed in float64. Masked tokens may hold anything.
    Raises Rejected if the shapes disagree, a text has no token left, or a kept token is not finite.
    """
    tokens = np.asarray(token_vectors)
    if tokens.ndim not in (2, 3) or tokens.dtype.kind not in "fiub":
        raise Rejected(
            f"token_vectors must be real, (n_texts, n_tokens, n_features) or (n_tokens, n_features), "
            f"not {tokens.dtype} of shape {tokens.shape}",
            fields=("token_vectors",),
        )
    kept = np.ones(tokens.shape[:-1], dtype=bool) if mask is None else np.asarray(mask) != 0
    if kept.shape != tokens.shape[:-1]:
        raise Rejected(f"mask must be of shape {tokens.shape[:-1]}, not {kept.shape}", fields=("mask",))
    if tokens.ndim == 2:
        pooled: Vectors = _pool(tokens[None], kept[None])[0]
        return pooled
    return _pool(tokens, kept)


def _pool(tokens: NDArray[Any], kept: NDArray[np.bool_]) -> Vectors:
    counts = kept.sum(axis=1)
    if not counts.all():
        raise Rejected(f"Text {int(counts.argmin())} has no token that the mask keeps", fields=("mask",))
    pooled = np.empty((len(tokens), tokens.shape[2]))
    for text, (vectors, keep) in enumerate(zip(tokens, kept, strict=True)):
        pooled[text] = vectors[keep].astype(np.float64).sum(axis=0) / counts[text]
    return check_vectors(pooled, "token_vectors")


def pca(vectors: ArrayLike, n_components: int, centre: bool = True, unit: bool = False) -> Projection:
    """Project onto the principal components, exactly, by covariance and eigenvectors in float64.

    vectors: (n_samples, n_features); n_components: at least 1, clipped to min(n_samples, n_features)
    centre: subtract the mean first; without it, directions are those of the sum of squares about the origin
    unit: bring rows to length 1 before, as unit_rows does, but without another copy of them
    Each component's entry of largest magnitude is positive. Constant data project to zeros with ratios of zero;
    components beyond the data's rank are any orthonormal directions and their coordinates are zero.
    Rows of `projected` for n_components=2 are the coordinates of a scatter plot.
    Memory beyond the vectors is that of a few slices of rows and of some (n_features, n_features) in float64.
    The same bits for any number of threads. Raises Rejected for n_components below 1 and as check_vectors does.
    """
    checked = check_vectors(vectors)
    rows = UnitRows(checked) if unit else checked
    if n_components < 1:
        raise Rejected(f"n_components must be at least 1, not {n_components}", fields=("n_components",))
    rank = min(n_components, *rows.shape)
    mean = _mean(rows) if centre else np.zeros(rows.shape[1])
    found = leading_directions(rows, mean, rank)
    projected = np.empty((len(rows), rank), dtype=np.float32)

    def project(part: slice) -> None:
        projected[part] = (rows[part] - mean) @ found.directions.T

    in_parts(project, row_slices(len(rows)))
    return Projection(
        projected=projected,
        components=complete(found.directions, int(np.count_nonzero(found.squares))),
        mean=mean,
        explained_variance_ratio=np.minimum(found.squares / (found.total or 1.0), 1.0),
        explained_variance=found.squares / max(len(rows) - 1, 1),
        singular_values=np.sqrt(found.squares),
    )


def _mean(rows: Rows) -> Doubles:
    first = rows[:1][0]

    def look(part: slice) -> tuple[Doubles, NDArray[np.bool_]]:
        total, constant = np.zeros(rows.shape[1]), np.ones(rows.shape[1], dtype=np.bool_)
        for inner in slices_of(part):
            some = rows[inner]
            total += some.sum(axis=0, dtype=np.float64)
            constant &= (some == first).all(axis=0)
        return total, constant

    looked = in_parts(look, row_parts(len(rows)))
    mean: Doubles = sum((total for total, _ in looked), np.zeros(())) / len(rows)
    # A mean of equal numbers can miss them by one rounding, which would leave noise in a constant column.
    constant = np.logical_and.reduce([same for _, same in looked])
    mean[constant] = first[constant]
    return mean
