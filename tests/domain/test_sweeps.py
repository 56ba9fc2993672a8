"""A sweep's fingerprint and its numbers: what was asked for before has the same fingerprint for ever."""

import msgspec
import pytest

from domain.sweeps import (
    Choosing,
    ExternalMetrics,
    InternalMetrics,
    Preparation,
    StepMetrics,
    SweepConfig,
    SweepSource,
    fingerprint_of,
)
from projections.sweeps import METRICS

VECTORS = SweepSource(vectors_sha256="ab" * 32, n_samples=10, n_features=3)
TEXTS = msgspec.structs.replace(VECTORS, texts_sha256="cd" * 32, labels_sha256="ef" * 32)
PLAIN = SweepConfig(method="k-means", k_values=(2, 3))
FULL = SweepConfig(
    method="k-subspaces",
    k_values=tuple(range(2, 21)),
    restarts=5,
    pca_dim=None,
    seed=7,
    coverage_threshold=0.3,
    choose_by="knee",
    parameters={"rank": 2},
    summarise="openai/gpt-4o-mini",
)


@pytest.mark.parametrize(
    ("config", "source", "stored"),
    [
        (PLAIN, TEXTS, "3d463deb822ff718273b32d9fedfac81e95532259f19998abaae3b2b587d0c4e"),
        (PLAIN, VECTORS, "21ca7afac157869606ffa9e82975518e2bf71dec6f4b1e3ba0b5447582599d52"),
        (FULL, TEXTS, "6963bfb3380d58a2f96e5cae6d995c29e022dcbda48d81ec0f802038e5375a7a"),
        (FULL, VECTORS, "5cc353694fd5b576fadf86446b5a75a9a4b674646ea9acc782edd97285848182"),
    ],
)
def test_fingerprints_that_were_stored_before_there_were_further_options_still_hold(config, source, stored):
    assert fingerprint_of(config, source) == stored


def test_asking_for_what_holds_anyway_is_the_same_sweep():
    asked = msgspec.structs.replace(PLAIN, preparation=Preparation(), choosing=Choosing())
    assert fingerprint_of(asked, TEXTS) == fingerprint_of(PLAIN, TEXTS)
    assert msgspec.to_builtins(asked) == msgspec.to_builtins(PLAIN)


@pytest.mark.parametrize(
    "change",
    [
        {"preparation": Preparation(unit_norm=False)},
        {"preparation": Preparation(centre=False)},
        {"preparation": Preparation(centre=True)},
        {"preparation": Preparation(unit_norm_after=True)},
        {"choosing": Choosing(parameters={"references": 20})},
        {"choosing": Choosing(also_measure=("gap",))},
        {"view": "umap"},
    ],
)
def test_every_option_makes_another_sweep_and_is_read_back(change):
    changed = msgspec.structs.replace(PLAIN, **change)
    assert fingerprint_of(changed, TEXTS) != fingerprint_of(PLAIN, TEXTS)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(changed), type=SweepConfig) == changed


def test_a_steps_numbers_are_flat_whether_it_has_the_later_ones_or_not():
    early = StepMetrics(
        k=3, objective=1.0, iterations=2, converged=True, empty_clusters=0, silhouette=0.5, stability_ari_mean=None,
        stability_ari_std=None, dispersion=0.1, coverage=0.9,
    )  # fmt: skip
    late = msgspec.structs.replace(
        early,
        internal=InternalMetrics(gap=0.25, noise=4),
        external=ExternalMetrics(homogeneity=0.1, completeness=0.2, v_measure=0.3),
    )
    assert set(early.flat()) == set(late.flat()) == {"k", *METRICS}
    assert (early.flat()["gap"], early.flat()["v_measure"], early.flat()["noise"]) == (None, None, 0)
    assert (late.flat()["gap"], late.flat()["v_measure"], late.flat()["noise"]) == (0.25, 0.3, 4)
